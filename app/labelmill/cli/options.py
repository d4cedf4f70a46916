"""Command-line options by which results are chosen; several commands have them."""

from __future__ import annotations

from typing import Annotated

import typer

from labelmill.cli.moments import parse_moment
from labelmill.core.errors import ConfigurationError
from labelmill.core.states import Status
from labelmill.db.filters import ResultFilter

Run = Annotated[str | None, typer.Option(help="Only this run.")]
Model = Annotated[str | None, typer.Option(help="Only this model.")]
StatusOption = Annotated[Status | None, typer.Option("--status", help="Only these.")]
Label = Annotated[str | None, typer.Option(help="Only this label.")]
ErrorCode = Annotated[str | None, typer.Option(help="Only failures of this code.")]
MinScore = Annotated[float | None, typer.Option(help="Only scores from this one on.")]
MaxScore = Annotated[float | None, typer.Option(help="Only scores up to this one.")]
Since = Annotated[
    str | None, typer.Option(help="Only what was finished since: 2026-05-17, or 24h for a day ago.")
]
Until = Annotated[str | None, typer.Option(help="Only what was finished before.")]
Search = Annotated[
    str | None, typer.Option(help="Only inputs with this text or file name in them.")
]


def result_filter(
    *,
    run: str | None,
    model: str | None,
    status: Status | None,
    label: str | None,
    error_code: str | None,
    min_score: float | None,
    max_score: float | None,
    since: str | None,
    until: str | None,
    search: str | None,
) -> ResultFilter:
    """The filter that the options say.

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    try:
        return ResultFilter(
            run_id=run,
            model=model,
            status=status,
            label=label,
            error_code=error_code,
            min_score=min_score,
            max_score=max_score,
            since=parse_moment(since) if since else None,
            until=parse_moment(until) if until else None,
            text=search or None,
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
