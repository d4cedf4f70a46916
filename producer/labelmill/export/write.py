"""Writing an export in the format that is wanted."""

from __future__ import annotations

from typing import IO

from labelmill.export.columns import Export
from labelmill.export.output import Format, as_text, opened_output
from labelmill.export.textual import write_csv, write_jsonl


def write_rows(
    export: Export, wanted: Format, output: str | None, *, spreadsheet: bool = False
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


def _write(export: Export, wanted: Format, file: IO[bytes], *, spreadsheet: bool) -> int:
    if wanted is Format.PARQUET:
        from labelmill.export.parquet import write_parquet

        return write_parquet(export, file)
    with as_text(file) as text:
        if wanted is Format.JSONL:
            return write_jsonl(export, text)
        return write_csv(export, text, spreadsheet=spreadsheet)
