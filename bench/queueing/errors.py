"""The error of the benchmark."""

from __future__ import annotations


class BenchmarkError(RuntimeError):
    """A measurement is void: rows are missing, or a worker ended or stands still."""
