"""The HTML report: one file that needs nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import IO

from labelmill.core.errors import ConfigurationError, ErrorCode
from labelmill.core.run import Run
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.records import Record
from labelmill.db.runs import Runs
from labelmill.export.charts import Histogram, histogram
from labelmill.export.digest import SCORE_BINS, Digest, digest
from labelmill.export.pictures import Pictures

try:
    import jinja2
except ModuleNotFoundError as error:
    raise ConfigurationError("a report needs Jinja2: pip install 'labelmill[bulk]'") from error

_SHOWN_LABELS = 40
_SAMPLED_LABELS = 12
_SAMPLES_EACH = 4
_SHOWN_CHARACTERS = 400
_BUCKETS = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """A job to look at."""

    id: str
    input: str | None
    thumbnail: str | None
    score: float | None
    message: str | None


def write_html(
    database: Database, wanted: ResultFilter, pictures: Pictures, output: IO[str]
) -> int:
    """Write the report of all results that are wanted; returns how many they are."""
    total = digest(database.results.outlines(wanted), _SAMPLES_EACH)
    samples = _Samples(database, pictures)
    run = database.runs.get(wanted.run_id) if wanted.run_id else None
    report = {
        "title": f"Run {wanted.run_id}" if wanted.run_id else "Results",
        "subtitle": _described(wanted),
        "version": version("labelmill"),
        "made_at": _moment(datetime.now(UTC)),
        "tiles": _tiles(total),
        "facts": _facts(total, run, database.runs),
        "labels": _labels(total),
        "other_labels": _others(total),
        "scores": _scores(total),
        "throughput": _throughput(database.runs, run),
        "failures": [
            {
                "code": code,
                "count": f"{count:,}",
                "advice": _advice(code),
                "samples": samples.of(total.failures[code].ids),
            }
            for code, count in total.errors.most_common()
        ],
        "samples": [
            {
                "label": label,
                "count": f"{count:,} jobs",
                "groups": _groups(total, label, samples),
            }
            for label, count in total.labels.most_common(_SAMPLED_LABELS)
            if label in total.samples
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("labelmill.export"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    css = (files("labelmill.export") / "templates" / "report.css").read_text()
    template = environment.get_template("report.html.j2")
    for part in template.generate(report=report, css=css):
        output.write(part)
    return total.succeeded + total.failed


class _Samples:
    """Jobs by their ids, with what they were about."""

    def __init__(self, database: Database, pictures: Pictures) -> None:
        self._database = database
        self._results = database.results
        self._pictures = pictures

    def of(self, ids: Sequence[str]) -> list[Sample]:
        records = self._results.records(ids, ResultFilter())
        jobs = self._database.jobs.get_many(ids)
        return [_sample(records[id], self._pictures.of(jobs.get(id))) for id in records]


def _sample(record: Record, thumbnail: str | None) -> Sample:
    text = record.input
    if text is not None and len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}…"
    result = record.result
    return Sample(result.id, text, thumbnail, result.score, result.error_message)


def _groups(total: Digest, label: str, samples: _Samples) -> list[tuple[str, list[Sample]]]:
    chosen = total.samples[label]
    seen: set[str] = set()
    groups = []
    for name, few in (
        ("Highest scores", chosen.highest),
        ("Lowest scores", chosen.lowest),
        ("By chance", chosen.chance),
    ):
        ids = [id for id in few.ids if id not in seen]
        seen.update(ids)
        if ids:
            groups.append((name, samples.of(ids)))
    return groups


def _tiles(total: Digest) -> list[dict[str, object]]:
    count = total.succeeded + total.failed
    mean = total.score_sum / total.succeeded if total.succeeded else None
    return [
        {"name": "results", "value": f"{count:,}", "bad": False},
        {"name": "succeeded", "value": f"{total.succeeded:,}", "bad": False},
        {
            "name": f"failed ({total.failed / count:.1%})" if count else "failed",
            "value": f"{total.failed:,}",
            "bad": total.failed > 0,
        },
        {"name": "labels", "value": f"{len(total.labels):,}", "bad": False},
        {
            "name": "mean score",
            "value": "–" if mean is None else f"{mean:.3f}",
            "bad": False,
        },
    ]


def _facts(total: Digest, run: Run | None, runs: Runs) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if run is not None:
        facts += [("model", run.model), ("source", run.source)]
    for (checkpoint, revision), count in total.models.most_common(5):
        name = f"{checkpoint or 'unknown'} at {revision}" if revision else checkpoint or "unknown"
        facts.append(("checkpoint", f"{name} ({count:,} jobs)"))
    if run is not None:
        finished = total.succeeded + total.failed
        facts += [
            ("submitted", f"{run.submitted:,} jobs from {_moment(run.created_at)} on"),
            ("finished", f"{finished:,} of {run.submitted:,}"),
        ]
        if rate := _rate(runs, run.id):
            facts.append(("speed", rate))
    return facts


def _rate(runs: Runs, run_id: str) -> str | None:
    found = runs.throughput(run_id, _BUCKETS)
    if not found.buckets:
        return None
    count = sum(each.succeeded + each.failed for each in found.buckets)
    seconds = found.bucket_seconds * len(found.buckets)
    return f"{count / seconds:,.1f} jobs/s from the first result to the last, {seconds:,.0f} s"


def _labels(total: Digest) -> list[dict[str, object]]:
    most = max(total.labels.values(), default=1)
    return [
        {
            "label": label,
            "count": f"{count:,}",
            "share": f"{count / total.succeeded:.1%}",
            "width": round(100 * count / most, 2),
        }
        for label, count in total.labels.most_common(_SHOWN_LABELS)
    ]


def _others(total: Digest) -> str | None:
    left = len(total.labels) - _SHOWN_LABELS
    return f"and {left:,} rarer ones" if left > 0 else None


def _scores(total: Digest) -> Histogram:
    edges = [number / SCORE_BINS for number in range(SCORE_BINS + 1)]
    titles = [f"{low:.2f} to {high:.2f}" for low, high in itertools.pairwise(edges)]
    return histogram("scores", total.scores, titles)


def _throughput(runs: Runs, run: Run | None) -> Histogram | None:
    found = runs.throughput(run.id, _BUCKETS) if run else None
    if found is None or not found.buckets:
        return None
    return histogram(
        "jobs finished over time",
        [each.succeeded + each.failed for each in found.buckets],
        [_moment(each.at) for each in found.buckets],
        failed=[each.failed for each in found.buckets],
        unit=f"every {found.bucket_seconds:,.3g} s, failures in red",
        first=_moment(found.buckets[0].at),
        last=_moment(found.buckets[-1].at),
    )


def _advice(code: str) -> str:
    try:
        return ErrorCode(code).advice
    except ValueError:  # of a later version
        return "See the reference of errors."


def _described(wanted: ResultFilter) -> str:
    said = [
        f"{field.name.replace('_id', '').replace('_', ' ')}: {getattr(wanted, field.name)}"
        for field in fields(wanted)
        if getattr(wanted, field.name) is not None and field.name != "run_id"
    ]
    return ", ".join(said) or "all results"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
