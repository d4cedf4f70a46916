"""The command ``labelmill submit``."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelmill.bulk.preview import Preview, input_of
from labelmill.bulk.submit import SubmitOptions, SubmitRun
from labelmill.bulk.target import kind_taken, warn_unserved
from labelmill.cli.lines import print_json, print_line
from labelmill.cli.progress import ViewKind, view_of
from labelmill.cli.single import submit_one
from labelmill.core import exit_codes
from labelmill.core.errors import ConfigurationError
from labelmill.core.job import MAX_TOP_K
from labelmill.core.settings import BrokerSettings, ImageSettings
from labelmill.sources.base import Format, Kind
from labelmill.sources.columns import ColumnOptions
from labelmill.sources.plan import Plan, absolute
from labelmill.sources.readers import FORMATS, expand

_LONGEST = 80  # characters of an input in a preview

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

_stderr = Console(stderr=True)


_Model: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="The model's alias, which is its queue. With --resume, a run's id.",
        show_default=False,
    ),
]
_Sources: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help="Files, folders, URLs, patterns such as 'day-*.csv.gz', or - for standard input.",
        show_default=False,
    ),
]
_Text: TypeAlias = Annotated[str | None, typer.Option(help="Submit this one text instead.")]
_Image: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Submit this one image instead.", exists=True, dir_okay=False),
]
_TextColumn: TypeAlias = Annotated[
    str | None, typer.Option(help="The column of the texts; a.b for b in a. Else guessed.")
]
_ImageColumn: TypeAlias = Annotated[
    str | None, typer.Option(help="The column of image paths or uris, instead of texts.")
]
_IdColumn: TypeAlias = Annotated[
    str | None, typer.Option(help="The column of job ids; else they are run:row.")
]
_Form: TypeAlias = Annotated[
    str | None,
    typer.Option("--format", help=f"{', '.join(FORMATS)}; else by the name."),
]
_Delimiter: TypeAlias = Annotated[
    str | None, typer.Option(help="Between the fields of CSV; else guessed.")
]
_Encoding: TypeAlias = Annotated[str | None, typer.Option(help="Of text; else guessed.")]
_Split: TypeAlias = Annotated[str | None, typer.Option(help="Of a data set; all for each.")]
_TopK: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=MAX_TOP_K, help="How many labels to keep.")
]
_Run: TypeAlias = Annotated[
    str | None,
    typer.Option(help="The run's id, else one is made. Again: sends what is missing."),
]
_Resume: TypeAlias = Annotated[
    bool,
    typer.Option("--resume", help="Go on with a run, or with the newest of the same SOURCE."),
]
_AcceptChanges: TypeAlias = Annotated[
    bool,
    typer.Option("--accept-changes", help="Resume though the source is not what it was."),
]
_Inline: TypeAlias = Annotated[
    bool,
    typer.Option("--inline", help="Send images in the messages, at most 1 MiB each."),
]
_Upload: TypeAlias = Annotated[
    bool,
    typer.Option("--upload", help="Put images into the upload store, for workers elsewhere."),
]
_MaxWaiting: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Pause while so many jobs wait; else LABELMILL_MAX_WAITING."),
]
_Rejects: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="List all rows that are not sent here, as .csv or JSON lines."),
]
_DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Read everything, show what it is, send nothing.")
]
_Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Wait until every job has its row.")]
_Progress: TypeAlias = Annotated[
    ViewKind,
    typer.Option(help="auto is a bar on a terminal, and a line now and then elsewhere."),
]
_AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="At the end one JSON object, not the run's id.")
]


def submit(
    model: _Model = None,
    sources: _Sources = None,
    text: _Text = None,
    image: _Image = None,
    text_column: _TextColumn = None,
    image_column: _ImageColumn = None,
    id_column: _IdColumn = None,
    form: _Form = None,
    delimiter: _Delimiter = None,
    encoding: _Encoding = None,
    split: _Split = None,
    top_k: _TopK = None,
    run: _Run = None,
    resume: _Resume = False,
    accept_changes: _AcceptChanges = False,
    inline: _Inline = False,
    upload: _Upload = False,
    max_waiting: _MaxWaiting = None,
    rejects: _Rejects = None,
    dry_run: _DryRun = False,
    wait: _Wait = False,
    progress: _Progress = ViewKind.AUTO,
    as_json: _AsJson = False,
) -> None:
    """Submit one job, or many from files, folders and streams of any size.

    It reads CSV, TSV, JSON lines, Parquet, Arrow, lines of text, data sets of Hugging Face and
    folders of images, compressed or not. A row that cannot be read stops no other. Images go as
    absolute paths: the worker reads them under its LABELMILL_IMAGE_ROOT.

    The exit code is 4 if rows were rejected, and with --wait 1 if jobs have failed.

    Examples:

      labelmill submit topics --text "The parcel never came." --wait

      labelmill submit topics messages.csv --text-column body --id-column ticket

      zcat log.jsonl.gz | labelmill submit topics - --format jsonl --text-column data.text

      labelmill submit digits scans/ --wait

      labelmill submit --resume 019aa51c-7d52-7c1e-a5f0-0c5d5f2f1c11
    """
    if inline and upload:
        raise ConfigurationError("give one of --inline and --upload")
    if resume and model is not None and not sources and run is None:
        model, run = None, model  # the one argument is the run
    one = text is not None or image is not None
    if one or not (resume and run):
        _check_what(model, sources, text, image)
    if one and model is not None:
        _check_one(model, text, image, is_path=not (inline or upload))
        warn_unserved(model, lambda why: _stderr.print(f"[yellow]{escape(why)}[/]"))
        submit_one(
            model, text=text, image=image, run=run, top_k=top_k,
            inline=inline, upload=upload, wait=wait, as_json=as_json,
        )  # fmt: skip
        return
    takes = kind_taken(model) if model is not None else None
    form_options = Format(form, delimiter, encoding, split)
    options = SubmitOptions(
        model=model,
        plan=_plan(sources, form_options, inline=inline, upload=upload, top_k=top_k),
        columns=ColumnOptions(text=text_column, image=image_column, id=id_column, takes=takes),
        run=run,
        resume=resume,
        accept_changes=accept_changes,
        max_waiting=max_waiting or BrokerSettings().max_waiting,
        rejects=rejects,
        wait=wait,
        as_json=as_json,
    )
    submission = SubmitRun(options, view_of(progress), print_line)
    if dry_run:
        _preview(submission, as_json=as_json)
    else:
        _submit(submission, wait=wait)


def _check_what(
    model: str | None, sources: list[str] | None, text: str | None, image: Path | None
) -> None:
    if model is None:
        raise ConfigurationError("Missing argument MODEL; see --help")
    if sum(given is not None for given in (sources or None, text, image)) != 1:
        raise ConfigurationError("after MODEL, give one of SOURCE, --text and --image")


def _plan(
    sources: list[str] | None, form: Format, *, inline: bool, upload: bool, top_k: int | None
) -> Plan | None:
    if not sources:
        return None
    names = tuple(absolute(each) for each in expand(sources))
    return Plan(sources=names, form=form, inline=inline, upload=upload, top_k=top_k)


def _preview(submission: SubmitRun, *, as_json: bool) -> None:
    _end_by_interrupt()
    seen = submission.preview()
    if as_json:
        print_json(seen.as_json())
    else:
        _show_preview(seen, Console())


def _submit(submission: SubmitRun, *, wait: bool) -> None:
    """Submit all of it, and end as it ended.

    Raises:
        typer.Exit: it was interrupted, rows were rejected, or awaited jobs have failed.
    """
    _end_by_interrupt()
    try:
        submission.run()
    except KeyboardInterrupt:
        submission.interrupted()
        raise typer.Exit(exit_codes.INTERRUPTED) from None
    if wait and submission.progress.failed:
        raise typer.Exit(exit_codes.FAILURE)
    if submission.progress.rejected:
        raise typer.Exit(exit_codes.REJECTED)


def _end_by_interrupt() -> None:
    # However it is ended, it says how to go on.
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt_once)


def _show_preview(seen: Preview, console: Console) -> None:
    """A table of the first jobs and a line of counts."""
    table = Table(header_style="bold")
    for name in ("row", "id", "input"):
        table.add_column(name, overflow="fold")
    for row in seen.first:
        table.add_row(f"{row.number:,}", escape(row.id), escape(_short(input_of(row.payload))))
    console.print(table)
    if seen.outside:
        console.print(ImageSettings().refusal(f"{seen.outside:,} images are"), markup=False)
    console.print(
        f"{seen.jobs:,} jobs would be sent, {seen.rejected:,} rows rejected", highlight=False
    )
    for code, number in seen.codes.most_common():
        console.print(f"  {number:,} {code}", highlight=False)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _check_one(model: str, text: str | None, image: Path | None, *, is_path: bool) -> None:
    """See that the model takes such a job, and that workers may read its image.

    Raises:
        ConfigurationError: it does not, or they may not.
    """
    takes = kind_taken(model)
    if takes is not None and (takes is Kind.TEXT) != (text is not None):
        raise ConfigurationError(f"{model} takes {takes}s: give --{takes}")
    images = ImageSettings()
    if image is not None and is_path and images.is_outside(str(image)):
        raise ConfigurationError(images.refusal("the image is"))


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    # A second Ctrl-C would end the tidying up of the first, which is short, in the middle. Not
    # SIG_IGN: the interpreter reports a signal that has arrived and finds it.
    for number in _INTERRUPTS:
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt
