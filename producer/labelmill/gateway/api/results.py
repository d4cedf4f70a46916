"""``GET /v1/results``: what came out, page by page or counted."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Depends, Query

from labelmill.core.states import Status
from labelmill.db.cursor import PageCursor
from labelmill.db.filters import ResultFilter
from labelmill.gateway.dependencies import Reader
from labelmill.gateway.openapi import problems
from labelmill.gateway.problems import Problem
from labelmill.gateway.requests import Moment
from labelmill.gateway.schemas import ErrorCount, LabelCount, ResultsOut, ScoreHistogram, Summary
from labelmill.gateway.services import Shared

router = APIRouter(tags=["results"])

Limit: TypeAlias = Annotated[int, Query(ge=1, le=500)]
_Text = Annotated[str | None, Query(max_length=1000)]
_Score = Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)]


def _wanted(
    model: _Text = None,
    label: _Text = None,
    status: Literal["succeeded", "failed"] | None = None,
    run: _Text = None,
    error_code: _Text = None,
    min_score: _Score = None,
    max_score: _Score = None,
    since: Annotated[Moment | None, Query(description="Finished then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Finished before.")] = None,
    q: Annotated[
        str | None,
        Query(max_length=1000, description="In the text or the image's name; or a job's id."),
    ] = None,
) -> ResultFilter:
    return ResultFilter(
        model=model,
        label=label,
        status=Status(status) if status else None,
        run_id=run,
        error_code=error_code,
        min_score=min_score,
        max_score=max_score,
        since=since,
        until=until,
        text=q or None,
    )


_Wanted = Annotated[ResultFilter, Depends(_wanted)]


def cursor(
    text: Annotated[str | None, Query(alias="cursor", max_length=1000)] = None,
) -> PageCursor | None:
    """The cursor of a page.

    Raises:
        Problem: it is none of ours.
    """
    try:
        return None if text is None else PageCursor.parse(text)
    except ValueError:
        raise Problem(422, "invalid_cursor", "take cursor from next of the page before") from None


After: TypeAlias = Annotated[PageCursor | None, Depends(cursor)]


@router.get("/v1/results", responses=problems())
async def get_results(
    services: Shared, _caller: Reader, wanted: _Wanted, after: After, limit: Limit = 50
) -> ResultsOut:
    """Jobs that have their rows, the newest first."""
    page = await services.executors.database.run(
        services.database.results.page, wanted, limit, after
    )
    return ResultsOut(
        results=await services.job_finder.of_results(page.results),
        next=None if page.next is None else str(page.next),
    )


@router.get("/v1/results/summary", responses=problems())
async def get_summary(services: Shared, _caller: Reader, wanted: _Wanted) -> Summary:
    """What a filter finds, counted by label, score and error."""
    found = await services.summaries.of(wanted)
    bins = len(found.scores)
    return Summary(
        total=found.succeeded + found.failed,
        succeeded=found.succeeded,
        failed=found.failed,
        labels=[LabelCount(label=label, count=count) for label, count in found.labels],
        scores=ScoreHistogram(
            edges=[number / bins for number in range(bins + 1)], counts=found.scores
        ),
        errors=ErrorCount.of(found),
        complete=found.complete,
    )
