"""Run command lines of labelmill in one process; print how each ended and what it said."""

import io
import json
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout

from labelmill.cli.main import main

outcomes = []
for words in json.loads(os.environ["ASKED"]):
    sys.argv = ["labelmill", *words]
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
    outcomes.append([code, said.buffer.getvalue().decode()])
print(json.dumps(outcomes))  # noqa: T201
