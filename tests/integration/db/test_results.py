"""The queries answer the same on SQLite and on PostgreSQL: every test here runs on both."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from itertools import pairwise

import pytest

from labelmill.core.job import SubmittedJob
from labelmill.core.json import JsonValue
from labelmill.core.result import Result
from labelmill.core.run import Run
from labelmill.core.states import Status
from labelmill.db import results as results_module
from labelmill.db.cursor import PageCursor
from labelmill.db.database import Database
from labelmill.db.filters import MAX_SEARCH_LENGTH, ResultFilter
from labelmill.db.records import INLINE_IMAGE
from tests.support import rows
from tests.support.rows import NOON

TEXTS = [
    "The parcel never came.",
    "PARCEL lost, 100% sure",
    "under_score and back\\slash",
    "[brackets] * star ? mark",
    "ÄRGER über Öl, Straße",
    "κόσμε ΚΌΣΜΕ",
    "two\nlines 'quoted' \"twice\"",
    "a.b|c^d$e(f){2}+",
    "🙂 emoji \N{REPLACEMENT CHARACTER}",
]


@dataclass(frozen=True)
class Known:
    """A result and what its job was about; an image's uri beside its name."""

    row: Result
    input: str | None
    uri: str | None = None


def a_result(job_id: str, **changes: object) -> Result:
    return rows.a_result(job_id, **{"model": "tickets", "label": "complaint", **changes})


def a_job(job_id: str, payload: dict[str, JsonValue]) -> SubmittedJob:
    return rows.a_job(job_id, model="tickets", payload=payload)


def filled(database: Database, count: int = 300) -> list[Known]:
    """Results of all kinds in the database, the newest first, with many at the same moment."""
    chance = random.Random(7)
    known = []
    for number in range(count):
        failed = chance.random() < 0.2
        score = chance.choice([0.0, 1.0, 0.05, 0.35, 0.55, 0.95, 1.5, -0.5, chance.random()])
        row = a_result(
            f"{chance.randrange(10**9)}",
            run_id=chance.choice([None, "first", "second"]),
            model=chance.choice(["tickets", "topics"]),
            status=Status.FAILED if failed else Status.SUCCEEDED,
            label=None if failed else chance.choice(["complaint", "praise", "50% 'off'"]),
            score=None if failed else score,
            scores=None,
            error_code=chance.choice(["expired", "model_failed"]) if failed else None,
            finished_at=NOON + timedelta(seconds=number // 7),
        )
        payload: dict[str, JsonValue] | None = {"text": chance.choice(TEXTS)}
        text: str | None = str(payload["text"])  # type: ignore[index]
        uri: str | None = None
        if number % 10 == 0:
            text = f"/Scans/Digit-{number}.PNG"
            payload = {"image": {"uri": text}}
        elif number % 10 == 1:
            payload, text = {"image": {"base64": "cGFyY2Vs"}}, None
        elif number % 10 == 2:
            payload, text = None, None
        elif number % 10 == 3:
            uri, text = f"upload:sha256/{number:064}", f"Größe {number}.JPG"
            payload = {"image": {"uri": uri, "name": text}}
        elif number % 10 == 4:
            text = f"Inline {number}.jpg"
            payload = {"image": {"base64": "cGFyY2Vs", "name": text}}
        if payload is not None:
            database.jobs.add([a_job(row.id, payload)])
        known.append(Known(row, text, uri))
    database.results.write([each.row for each in known])
    return sorted(known, key=lambda each: (each.row.finished_at, each.row.id), reverse=True)


def is_wanted(known: Known, wanted: ResultFilter) -> bool:
    """What a filter means, said again in Python."""
    row = known.row
    score = row.score
    for name in ("run_id", "model", "label", "status", "error_code"):
        value = getattr(wanted, name)
        if value is not None and getattr(row, name) != value:
            return False
    if wanted.min_score is not None and (score is None or score < wanted.min_score):
        return False
    if wanted.max_score is not None and (score is None or score > wanted.max_score):
        return False
    if wanted.since is not None and row.finished_at < wanted.since:
        return False
    if wanted.until is not None and row.finished_at >= wanted.until:
        return False
    return (
        wanted.text is None
        or row.id == wanted.text
        or any(wanted.text.lower() in (each or "").lower() for each in (known.input, known.uri))
    )


FILTERS = [
    ResultFilter(),
    ResultFilter(run_id="first"),
    ResultFilter(model="topics", status=Status.FAILED),
    ResultFilter(label="50% 'off'", min_score=0.35, max_score=0.95),
    ResultFilter(error_code="expired"),
    ResultFilter(since=NOON + timedelta(seconds=5), until=NOON + timedelta(seconds=9)),
    ResultFilter(run_id="nobody's"),
    ResultFilter(text="parcel"),
    ResultFilter(text="PARCEL", run_id="second"),
    ResultFilter(text="digit-1"),
    ResultFilter(text="GRÖSSE"),
    ResultFilter(text="GRÖßE 1"),
    ResultFilter(text="inline 1", run_id="first"),
    ResultFilter(text="SHA256/00"),
    ResultFilter(text="100%"),
    ResultFilter(text="%"),
    ResultFilter(text="R_S"),
    ResultFilter(text="k\\S"),
    ResultFilter(text="[BRACKETS] * STAR ?"),
    ResultFilter(text="[b"),
    ResultFilter(text="ärger ÜBER öL"),
    ResultFilter(text="straße"),
    ResultFilter(text="Κόσμε"),
    ResultFilter(text="O\nL"),
    ResultFilter(text="two\nLINES 'quoted' \""),
    ResultFilter(text="A.B|c^d$E(F){2}+"),
    ResultFilter(text="a.*b"),
    ResultFilter(text="^"),
    ResultFilter(text="]"),
    ResultFilter(text="🙂"),
    ResultFilter(text="nothing like it"),
]


class TestPage:
    def test_each_filter_finds_what_it_says_page_by_page(self, database: Database) -> None:
        known = filled(database)
        for wanted in FILTERS:
            found: list[str] = []
            page = database.results.page(wanted, 20)
            found += (each.id for each in page.results)
            while page.next:
                page = database.results.page(wanted, 20, PageCursor.parse(str(page.next)))
                assert len(page.results) <= 20
                found += (each.id for each in page.results)
            assert found == [each.row.id for each in known if is_wanted(each, wanted)], wanted

    def test_a_job_is_found_by_its_whole_id(self, database: Database) -> None:
        database.results.write([a_result("abc-1"), a_result("abc-12")])
        [result] = database.results.page(ResultFilter(text="abc-1"), 20).results
        assert result.id == "abc-1"

    def test_new_results_neither_repeat_nor_hide_others(self, database: Database) -> None:
        database.results.write([a_result(f"{n:03}") for n in range(50)])
        found: list[str] = []
        after: PageCursor | None = None
        for number in range(7):
            page = database.results.page(ResultFilter(), 8, after)
            found += (each.id for each in page.results)
            after = page.next
            database.results.write(
                [a_result(f"new-{number}", finished_at=NOON + timedelta(days=1))]
            )
        assert found == [f"{n:03}" for n in reversed(range(50))]
        assert after is None

    def test_a_search_ends_at_its_bound_and_goes_on_from_there(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(results_module, "_SEARCH_STEPS", (2, 3))
        database.results.write([a_result(f"{n}") for n in range(9)])
        database.jobs.add([a_job("1", {"text": "needle"})])

        first = database.results.page(ResultFilter(text="needle"), 10)
        second = database.results.page(ResultFilter(text="needle"), 10, first.next)

        assert (first.results, first.next) == ([], PageCursor(NOON, "4"))
        assert ([each.id for each in second.results], second.next) == (["1"], None)

    @pytest.mark.parametrize(
        "wanted",
        [
            lambda: ResultFilter(since=NOON.replace(tzinfo=None)),
            lambda: ResultFilter(until=NOON.replace(tzinfo=None)),
            lambda: ResultFilter(text="a" * (MAX_SEARCH_LENGTH + 1)),
        ],
    )
    def test_a_filter_that_cannot_be_meant_is_refused(
        self, wanted: Callable[[], ResultFilter]
    ) -> None:
        with pytest.raises(ValueError):
            wanted()

    def test_the_longest_text_can_be_searched_for(self, database: Database) -> None:
        longest = "Ä" * MAX_SEARCH_LENGTH
        database.results.write([a_result("a")])
        database.jobs.add([a_job("a", {"text": f"x{longest.lower()}"})])
        assert len(database.results.page(ResultFilter(text=longest), 5).results) == 1

    def test_what_it_was_about_is_an_images_name_if_it_has_one(self, database: Database) -> None:
        known = {each.row.id: each.input for each in filled(database, 40)}
        found = {
            each.result.id: each.input for each in database.results.oldest_first(ResultFilter())
        }
        unnamed = {id for id in found if found[id] == INLINE_IMAGE}
        assert found == known | dict.fromkeys(unnamed, INLINE_IMAGE)
        assert len(unnamed) == 4


class TestSummary:
    def test_it_counts_what_the_filter_finds(self, database: Database) -> None:
        known = filled(database)
        for wanted in FILTERS:
            rows = [each.row for each in known if is_wanted(each, wanted)]
            bins = Counter(
                min(max(int(row.score * 20 // 1), 0), 19) for row in rows if row.score is not None
            )
            summary = database.results.summary(wanted)
            assert summary.succeeded == sum(row.label is not None for row in rows)
            assert summary.failed == sum(row.label is None for row in rows)
            assert dict(summary.labels) == Counter(row.label for row in rows if row.label)
            assert dict(summary.errors) == Counter(row.error_code for row in rows if row.error_code)
            assert summary.scores == [bins[number] for number in range(20)]
            assert summary.complete
            assert all(more >= less for (_, more), (_, less) in pairwise(summary.labels))

    def test_a_search_beyond_its_bound_says_that_it_is_not_complete(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(results_module, "SEARCHED_RESULTS", 5)
        database.results.write([a_result(f"{n}") for n in range(9)])
        database.jobs.add([a_job(f"{n}", {"text": "needle"}) for n in range(3, 6)])
        summary = database.results.summary(ResultFilter(text="needle"))
        assert (summary.succeeded, summary.complete) == (2, False)


class TestThroughput:
    def test_every_result_of_the_run_is_in_one_bucket(self, database: Database) -> None:
        known = [each.row for each in filled(database) if each.row.run_id == "first"]
        throughput = database.runs.throughput("first", buckets=10)
        width = timedelta(seconds=throughput.bucket_seconds)
        assert len(throughput.buckets) == 10
        for at, succeeded, failed in throughput.buckets:
            there = [row for row in known if at <= row.finished_at < at + width]
            assert succeeded == sum(row.status is Status.SUCCEEDED for row in there)
            assert failed == sum(row.status is Status.FAILED for row in there)
        total = sum(each.succeeded + each.failed for each in throughput.buckets)
        assert total == len(known)

    def test_a_run_of_a_moment_has_one_bucket_of_a_second(self, database: Database) -> None:
        database.results.write([a_result(f"{n}", run_id="r") for n in range(3)])
        throughput = database.runs.throughput("r")
        assert throughput.bucket_seconds == 1
        assert throughput.buckets == [(NOON, 3, 0)]

    def test_a_run_without_results_has_none(self, database: Database) -> None:
        assert database.runs.throughput("r").buckets == []

    def test_finished_since_includes_the_moment(self, database: Database) -> None:
        database.results.write(
            [a_result(f"{n}", run_id="r", finished_at=NOON + timedelta(seconds=n)) for n in (0, 1)]
        )
        assert database.runs.finished_since("r", NOON) == 2
        assert database.runs.finished_since("r", NOON + timedelta(seconds=1)) == 1
        assert database.runs.finished_since("other", NOON) == 0


def test_runs_come_page_by_page_the_newest_first(database: Database) -> None:
    for number in range(5):
        database.runs.add(Run(f"{number}", model="m", source="s", created_at=NOON))
    found: list[str] = []
    after: PageCursor | None = None
    for _ in range(3):
        runs, after = database.runs.page(2, after)
        found += (run.id for run in runs)
    assert found == ["4", "3", "2", "1", "0"]
    assert after is None


def test_the_filter_has_a_case_for_each_of_its_fields() -> None:
    used = {
        field.name
        for wanted in FILTERS
        for field in fields(wanted)
        if getattr(wanted, field.name) is not None
    }
    assert used == {field.name for field in fields(ResultFilter)}
