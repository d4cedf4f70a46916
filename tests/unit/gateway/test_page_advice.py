"""What to do about an error is said once, for the page, the reports and the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from labelmill.core.errors import ErrorCode
from labelmill.gateway.app import advice_module

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "errors.md"


def test_the_page_has_the_advice_for_every_error_code() -> None:
    found = re.search(r"const ADVICE = (\{.*?\});", advice_module(), re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == {code: code.advice for code in ErrorCode}


def test_the_reference_has_the_advice_for_every_error_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", REFERENCE.read_text(), re.MULTILINE)
    assert {code: re.sub("`", "", advice) for code, advice in rows} == {
        code: code.advice for code in ErrorCode
    }
