"""Writing an export in the format that is wanted."""

from __future__ import annotations

from typing import IO

from labelmill.export.columns import Export
from labelmill.export.output import OutputFormat, as_text, opened_output
from labelmill.export.textual import write_csv, write_jsonl


def write_rows(
    export: Export, wanted: OutputFormat, output: str | None, *, spreadsheet: bool = False
) -> int:
    """Write rows to a file, or to standard output where ``output`` is None; returns how many.

    Parameters:
        spreadsheet: see :func:`labelmill.export.textual.write_csv`.

    Raises:
        ConfigurationError: the output cannot be used, or a package is missing.
        ExportFailed: it cannot be written.
    """
    with opened_output(output) as file:
        return _write(export, wanted, file, spreadsheet=spreadsheet)


def _write(export: Export, wanted: OutputFormat, file: IO[bytes], *, spreadsheet: bool) -> int:
    if wanted is OutputFormat.PARQUET:
        from labelmill.export.parquet import write_parquet

        return write_parquet(export, file)
    with as_text(file) as text:
        if wanted is OutputFormat.JSONL:
            return write_jsonl(export, text)
        return write_csv(export, text, spreadsheet=spreadsheet)
