"""Jobs that another run has submitted, and that this one waits for too."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator

from labelmill.core.closing import Closeable
from labelmill.db.results import Results

_IDS_A_QUERY = 500


class PendingJobs(Closeable):
    """Their ids, in a temporary file, since there may be more than fit into memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed below
        self._left = 0
        self.count = 0
        self.succeeded = 0
        self.failed = 0

    def add(self, id: str) -> None:
        """Wait for this one."""
        self._file.write(json.dumps(id) + "\n")
        self.count += 1

    def look(self, results: Results) -> bool:
        """Whether all have their rows; asks for those that had none before.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        if not self.count:
            return True
        self._file.flush()
        self._file.seek(self._left)
        for ids, end in self._blocks():
            succeeded, failed = results.counts_of(ids)
            if succeeded + failed < len(set(ids)):
                return False
            self._left = end
            self.succeeded += succeeded
            self.failed += failed
        return True

    def _blocks(self) -> Iterator[tuple[list[str], int]]:
        while lines := list(itertools.islice(iter(self._file.readline, ""), _IDS_A_QUERY)):
            yield [json.loads(line) for line in lines], self._file.tell()

    def close(self) -> None:
        """Give up the file."""
        self._file.close()
