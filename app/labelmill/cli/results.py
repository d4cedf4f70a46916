"""The commands of those who read results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console

from labelmill.cli import options, report
from labelmill.cli.lines import quiet_pipe
from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.core.run import Run
from labelmill.core.settings import BrokerSettings, DatabaseSettings, ImageSettings
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.records import Record
from labelmill.export.columns import export_of
from labelmill.export.join import Rows, joined, source_rows
from labelmill.export.output import OutputFormat, as_text, format_of, opened_output
from labelmill.export.write import write_rows
from labelmill.media.uploads import UploadStore
from labelmill.sources.location import is_url
from labelmill.sources.plan import Plan
from labelmill.sources.readers import STDIN

_stdout = Console()
_stderr = Console(stderr=True)

_TABLE_ROWS = 20
_THUMBNAILS = 150
_THUMBNAIL_BYTES = 3 * 1024 * 1024


_Ids: TypeAlias = Annotated[
    list[str] | None, typer.Argument(help="Only these jobs.", show_default=False)
]
_Limit: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="The newest so many; by default 20 in a table, otherwise all."),
]
_Output: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write to this file or URL: .parquet, .csv, .jsonl (also .gz, .zst) or .html.",
    ),
]
_Form: TypeAlias = Annotated[
    OutputFormat | None, typer.Option("--format", help="What to write, whatever the file's name.")
]
_AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="As --format jsonl.")]
_AsCsv: TypeAlias = Annotated[bool, typer.Option("--csv", help="As --format csv.")]
_Join: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Put each result beside its row of this file; by default, with --output, that "
        "of --run.",
    ),
]
_NoJoin: TypeAlias = Annotated[
    bool, typer.Option("--no-join", help="Write the results alone, in the order they came.")
]
_IdColumn: TypeAlias = Annotated[
    str | None, typer.Option(help="The column of job ids in the file of --join.")
]
_OnlyFinished: TypeAlias = Annotated[
    bool, typer.Option("--only-finished", help="Leave out the file's rows without a result.")
]
_Spreadsheet: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--spreadsheet", help="CSV that Excel opens as it is meant, without live formulas."
    ),
]


def results(
    ids: _Ids = None,
    run: options.Run = None,
    model: options.Model = None,
    status: options.StatusOption = None,
    label: options.Label = None,
    error_code: options.ErrorCode = None,
    min_score: options.MinScore = None,
    max_score: options.MaxScore = None,
    since: options.Since = None,
    until: options.Until = None,
    search: options.Search = None,
    limit: _Limit = None,
    output: _Output = None,
    form: _Form = None,
    as_json: _AsJson = False,
    as_csv: _AsCsv = False,
    join: _Join = None,
    no_join: _NoJoin = False,
    id_column: _IdColumn = None,
    only_finished: _OnlyFinished = False,
    spreadsheet: _Spreadsheet = False,
) -> None:
    """Show or export results.

    A table of the newest on a terminal, otherwise CSV; with --output a file, which gets its name
    when it is whole.

    Examples:

      labelmill results --run 019aa51c-7d52-7c1e-a5f0-0c5d5f2f1c11 --output labels.parquet

      labelmill results --run tickets --join messages.csv --id-column ticket -o labelled.csv.gz

      labelmill results --model topics --status failed --since 24h --json > failed.jsonl
    """
    wanted = options.result_filter(
        run=run, model=model, status=status, label=label, error_code=error_code,
        min_score=min_score, max_score=max_score, since=since, until=until, search=search,
    )  # fmt: skip
    chosen = _format(output, form, as_json=as_json, as_csv=as_csv)
    with Database.open(DatabaseSettings().database_url) as database, quiet_pipe():
        if chosen is None and output is None and _stdout.is_terminal:
            _show(_records(database, ids, wanted, limit or _TABLE_ROWS))
            return
        if chosen is OutputFormat.HTML:
            count = _report(database, wanted, output, is_part=bool(ids or limit))
        else:
            rows = None if ids or no_join else _source_rows(database, run, join, id_column, output)
            export = (
                export_of(_records(database, ids, wanted, limit))
                if rows is None
                else joined(
                    rows, database.results, wanted, only_finished=only_finished, limit=limit
                )
            )
            count = write_rows(export, chosen or OutputFormat.CSV, output, spreadsheet=spreadsheet)
    if output is not None:
        _stderr.print(f"{count:,} rows written", highlight=False)


def _records(
    database: Database, ids: list[str] | None, wanted: ResultFilter, limit: int | None
) -> Iterator[Record]:
    records = database.results
    if ids:
        return iter(list(records.records(ids, wanted).values())[:limit])
    return records.newest_first(wanted, limit) if limit else records.oldest_first(wanted)


def _source_rows(
    database: Database, run: str | None, join: str | None, id_column: str | None, output: str | None
) -> Rows | None:
    """The rows to put results beside, if there are any to be had."""
    if join is not None:
        return source_rows(database, run, join, id_column)
    found = database.runs.get(run) if run is not None and output is not None else None
    if found is None:
        return None
    try:
        rows = Rows.of_run(found)
    except (ConfigurationError, SourceError) as error:
        _stderr.print(
            f"without the source's columns: {error}", highlight=False, markup=False, soft_wrap=True
        )
        return None
    _stderr.print(f"joined to {found.source}", highlight=False, markup=False, soft_wrap=True)
    return rows


def _report(database: Database, wanted: ResultFilter, output: str | None, *, is_part: bool) -> int:
    if is_part:
        raise ConfigurationError("a report is of all results that the options choose")
    from labelmill.export.html import write_html
    from labelmill.export.pictures import Pictures

    uploads = UploadStore.open(BrokerSettings().upload_store)
    run = database.runs.get(wanted.run_id) if wanted.run_id is not None else None
    pictures = Pictures(
        uploads, most=_THUMBNAILS, max_bytes=_THUMBNAIL_BYTES, folders=_picture_folders(run)
    )
    with opened_output(output) as file, as_text(file) as text:
        return write_html(database, wanted, pictures, text)


def _picture_folders(run: Run | None) -> list[Path]:
    """Where a report may read images: the workers' folder, and those a run was submitted of."""
    root = ImageSettings().image_root
    sources = Plan.from_json(run.plan).sources if run is not None and run.plan else ()
    paths = [Path(each) for each in sources if each != STDIN and not is_url(each)]
    own = [path if path.is_dir() else path.parent for path in paths]
    return own if root is None else [root, *own]


def _show(records: Iterator[Record]) -> None:
    found = list(records)
    _stdout.print(report.results_table(found, _stdout.width))
    if not found:
        _stderr.print("nothing found")


def _format(
    output: str | None, given: OutputFormat | None, *, as_json: bool, as_csv: bool
) -> OutputFormat | None:
    chosen = [given] if given else []
    chosen += [OutputFormat.JSONL] * as_json + [OutputFormat.CSV] * as_csv
    if len(chosen) > 1:
        raise ConfigurationError("give one of --format, --json and --csv")
    if chosen:
        return chosen[0]
    return format_of(output) if output is not None else None
