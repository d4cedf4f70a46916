"""The error of the benchmarks."""

from __future__ import annotations

from labelmill.core.errors import LabelmillError


class BenchmarkError(LabelmillError):
    """A measurement is void: rows are missing, answers differ, or a worker stands still."""
