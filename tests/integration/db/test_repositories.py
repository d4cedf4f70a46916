"""The repositories do the same on SQLite and on PostgreSQL: every test here runs on both."""

from __future__ import annotations

import math
import os
import random
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from labelmill.core.errors import DatabaseUnavailable, SchemaOutOfDate
from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.core.job import SubmittedJob
from labelmill.core.json import JsonValue
from labelmill.core.result import LabelScore, Result
from labelmill.core.run import Run
from labelmill.core.states import Status
from labelmill.core.text import storable_text
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.results import ResultCounts
from labelmill.db.runs import RunProgress
from labelmill.local.postgres import PostgresServer
from tests.support import rows
from tests.support.rows import NOON, all_results, newest_results

SCORES: list[LabelScore] = [
    {"label": "complaint", "score": 0.1 + 0.2},
    {"label": "praise", "score": 1e-9},
]


def a_result(job_id: str, **changes: object) -> Result:
    usual = {"model": "tickets", "label": "complaint", "score": SCORES[0]["score"]}
    return rows.a_result(job_id, **{**usual, "scores": SCORES, **changes})


def a_job(job_id: str, **changes: object) -> SubmittedJob:
    return rows.a_job(job_id, **{"model": "tickets", **changes})


def a_run(run_id: str, source: str = "-", created_at: datetime = NOON) -> Run:
    return Run(run_id, model="tickets", source=source, created_at=created_at)


class TestWriteResults:
    def test_what_is_written_is_read(self, database: Database) -> None:
        row = a_result("a", run_id="r")

        assert database.results.write([row]) == 1

        assert database.results.get("a") == row

    def test_a_failed_job_has_no_label(self, database: Database) -> None:
        row = a_result(
            "a",
            status=Status.FAILED,
            checkpoint=None,
            revision=None,
            label=None,
            score=None,
            scores=None,
            error_code="image_unreadable",
            error_message="not an image",
            enqueued_at=None,
        )

        database.results.write([row])

        assert database.results.get("a") == row

    def test_the_first_row_of_an_id_stays(self, database: Database) -> None:
        database.results.write([a_result("a", label="first")])

        assert database.results.write([a_result("b"), a_result("a", label="second")]) == 1

        assert {each.label for each in database.results.get_many(["a"]).values()} == {"first"}

    def test_the_first_row_of_an_id_stays_within_a_group(self, database: Database) -> None:
        group = [a_result("a", label="first"), a_result("b"), a_result("a", label="second")]

        assert database.results.write(group) == 2

        assert database.results.get_many(["a"])["a"].label == "first"

    @pytest.mark.parametrize("there", [[0], [63], [64], [199], range(64, 128), range(200)])
    def test_rows_that_are_there_keep_no_other_out(
        self, database: Database, there: Sequence[int]
    ) -> None:
        database.results.write([a_result(f"{n:03}", label="first") for n in there])

        group = [a_result(f"{n:03}", label="second") for n in range(200)]
        assert database.results.write(group) == 200 - len(there)

        labels = {each.id: each.label for each in all_results(database)}
        assert labels == {f"{n:03}": "first" if n in there else "second" for n in range(200)}

    def test_nothing_is_nothing(self, database: Database) -> None:
        assert database.results.write([]) == 0

    @pytest.mark.parametrize("size", [1, 2, 255, 256, 1000, 2500])
    def test_groups_of_any_size(self, database: Database, size: int) -> None:
        assert database.results.write([a_result(f"{n}") for n in range(size)]) == size
        assert database.results.counts() == {"tickets": ResultCounts(succeeded=size)}

    def test_times_come_back_in_utc(self, database: Database) -> None:
        in_delhi = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))

        database.results.write([a_result("a", finished_at=in_delhi)])

        finished_at = database.results.get_many(["a"])["a"].finished_at
        assert (finished_at, finished_at.utcoffset()) == (NOON, timedelta(0))

    @pytest.mark.parametrize(
        "refused",
        [
            {"score": math.nan},
            {"score": math.inf},
            {"scores": [{"label": "a", "score": math.nan}]},
            {"finished_at": NOON.replace(tzinfo=None)},
            {"status": "pending"},
            {"id": "x" * (MAX_ID_LENGTH + 1)},
            {"run_id": "x" * (MAX_ID_LENGTH + 1)},
        ],
    )
    def test_what_cannot_be_stored_is_refused_before_anything_is_written(
        self, database: Database, refused: dict[str, object]
    ) -> None:
        with pytest.raises(ValueError):
            database.results.write([a_result("a"), a_result("b", **refused)])

        assert database.results.counts() == {}

    def test_the_longest_names_fit_into_every_index(self, database: Database) -> None:
        # Four bytes a character, and in random order, so that nothing is compressed away.
        longest = "".join(chr(random.randrange(0x20000, 0x2A6D6)) for _ in range(MAX_ID_LENGTH))

        row = a_result(longest, run_id=longest, model=longest, worker=longest)

        assert database.results.write([row]) == 1
        assert [each.id for each in newest_results(database, run_id=longest, model=longest)] == [
            longest
        ]

    def test_what_postgresql_cannot_store_becomes_a_replacement_character(
        self, database: Database
    ) -> None:
        bad, good = "a\x00b\ud800c", "a\ufffdb\ufffdc"
        row = a_result(
            bad, run_id=bad, label=bad, error_message=bad, scores=[{"label": bad, "score": 1.0}]
        )

        database.results.write([row, a_result("b")])

        stored = database.results.get(good)
        assert stored is not None
        assert (stored.run_id, stored.label, stored.error_message) == (good, good, good)
        assert stored.scores == [{"label": good, "score": 1.0}]
        assert list(database.results.get_many([bad])) == [bad]
        assert len(newest_results(database, run_id=bad, label=bad)) == 1


any_text = st.text(st.characters(codec=None), max_size=40)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)
with_the_same_store = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class TestRoundTrip:
    @with_the_same_store
    @given(words=any_text, score=st.floats(-1e15, 1e15))
    def test_of_any_text_and_score(self, database: Database, words: str, score: float) -> None:
        job_id = str(uuid.uuid4())
        scores: list[LabelScore] = [{"label": words, "score": score}]

        database.results.write([a_result(job_id, label=words, score=score, scores=scores)])

        stored, expected = database.results.get_many([job_id])[job_id], storable_text(words)
        assert (stored.label, stored.score) == (expected, score)
        assert stored.scores == [{"label": expected, "score": score}]

    @with_the_same_store
    @given(payload=st.dictionaries(any_text, any_json, max_size=4))
    def test_of_any_payload(self, database: Database, payload: dict[str, JsonValue]) -> None:
        job_id = str(uuid.uuid4())

        database.jobs.add([a_job(job_id, payload=payload)])

        stored = database.jobs.get(job_id)
        assert stored is not None
        assert stored.payload == cleaned(payload)


def cleaned(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return storable_text(value)
        case list():
            return [cleaned(each) for each in value]
        case dict():
            return {storable_text(key): cleaned(each) for key, each in value.items()}
    return value


class TestConcurrentWriters:
    ids: ClassVar = [f"job-{n}" for n in range(300)]

    def test_threads_with_overlapping_shuffled_groups(self, database: Database) -> None:
        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(lambda n: write_shuffled(database, self.ids, n), range(16)))

        assert sum(written) == len(self.ids)
        assert len(all_results(database)) == len(self.ids)

    def test_processes_with_overlapping_shuffled_groups(self, database_url: str) -> None:
        tasks = [(database_url, self.ids, n) for n in range(8)]
        with get_context("spawn").Pool(4) as pool:
            written = pool.starmap(write_shuffled_by_url, tasks)
            pool.close()
            pool.join()

        with Database.open(database_url) as database:
            assert sum(written) == len(self.ids)
            assert len(all_results(database)) == len(self.ids)

    def test_the_first_writer_wins(self, database: Database) -> None:
        together = threading.Barrier(8)

        def write(n: int) -> int:
            together.wait()
            return database.results.write([a_result(each, worker=f"w{n}") for each in self.ids])

        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(write, range(8)))

        by_worker = [sum(row.worker == f"w{n}" for row in all_results(database)) for n in range(8)]
        assert by_worker == written

    def test_ledgers_that_overlap(self, database: Database) -> None:
        with ThreadPoolExecutor(8) as pool:
            blocks = [random.Random(n).sample(self.ids, len(self.ids)) for n in range(8)]
            present = pool.map(lambda ids: database.jobs.add([a_job(each) for each in ids]), blocks)

        added = [job_id for there in present for job_id in set(self.ids) - there]
        assert sorted(added) == sorted(self.ids)


def write_shuffled(database: Database, ids: list[str], seed: int) -> int:
    chance = random.Random(seed)
    groups = [chance.sample(ids, 60) for _ in range(10)]
    covering = chance.sample(ids, len(ids))
    return sum(
        database.results.write([a_result(each, worker=f"w{seed}") for each in group])
        for group in [*groups, covering]
    )


def write_shuffled_by_url(url: str, ids: list[str], seed: int) -> int:
    with Database.open(url) as database:
        return write_shuffled(database, ids, seed)


class TestReadResults:
    def test_none_yet(self, database: Database) -> None:
        assert database.results.get("a") is None
        assert database.results.get_many(["a"]) == {}
        assert newest_results(database) == []
        assert all_results(database) == []
        assert database.results.counts() == {}

    def test_of_many_ids(self, database: Database) -> None:
        ids = [f"{n}" for n in range(2100)]
        database.results.write([a_result(each) for each in ids[:-1]])

        assert list(database.results.get_many(ids)) == ids[:-1]

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({}, ["d", "c", "b", "a"]),
            ({"run_id": "r"}, ["b", "a"]),
            ({"model": "photos"}, ["d", "b"]),
            ({"status": Status.FAILED}, ["c"]),
            ({"label": "cat"}, ["d", "b"]),
            ({"model": "photos", "run_id": "r"}, ["b"]),
        ],
    )
    def test_filters(self, database: Database, wanted: dict[str, str], found: list[str]) -> None:
        database.results.write(
            [
                a_result("a", run_id="r", finished_at=NOON),
                a_result(
                    "b",
                    run_id="r",
                    model="photos",
                    label="cat",
                    finished_at=NOON + timedelta(seconds=1),
                ),
                a_result(
                    "c",
                    status=Status.FAILED,
                    label=None,
                    finished_at=NOON + timedelta(seconds=2),
                ),
                a_result("d", model="photos", label="cat", finished_at=NOON + timedelta(days=3)),
            ]
        )

        assert [each.id for each in newest_results(database, **wanted)] == found  # type: ignore[arg-type]
        assert [each.id for each in all_results(database, **wanted)] == found[::-1]  # type: ignore[arg-type]

    def test_the_newest_are_limited(self, database: Database) -> None:
        group = [a_result(f"{n}", finished_at=NOON + timedelta(seconds=n)) for n in range(5)]
        database.results.write(group)

        assert [each.id for each in newest_results(database, limit=2)] == ["4", "3"]

    def test_iteration_keeps_to_what_was_there_when_it_began(self, database: Database) -> None:
        database.results.write([a_result(f"{n:04}") for n in range(2500)])
        results = database.results.oldest_first(ResultFilter())

        first = next(results)
        database.results.write([a_result("9999")])

        assert [first.result.id, *(each.result.id for each in results)] == [
            f"{n:04}" for n in range(2500)
        ]

    def test_iteration_can_be_given_up(self, database: Database) -> None:
        database.results.write([a_result(f"{n:04}") for n in range(2500)])

        for _ in range(30):  # more often than the pool has connections
            results = database.results.oldest_first(ResultFilter())
            next(results)
            results.close()  # type: ignore[attr-defined]

    def test_counts(self, database: Database) -> None:
        database.results.write(
            [
                a_result("a"),
                a_result("b"),
                a_result("c", status=Status.FAILED),
                a_result("d", model="photos"),
            ]
        )

        assert database.results.counts() == {
            "photos": ResultCounts(1, 0),
            "tickets": ResultCounts(2, 1),
        }


class TestJobs:
    def test_what_is_written_is_read(self, database: Database) -> None:
        row = a_job("a", run_id="r", priority=9, eta=NOON, expires_at=NOON + timedelta(hours=1))

        assert database.jobs.add([row]) == set()

        assert database.jobs.get("a") == row

    def test_ids_that_were_there_are_returned_and_left_as_they_are(
        self, database: Database
    ) -> None:
        database.jobs.add([a_job("a", priority=1), a_job("\x00", priority=1)])

        assert database.jobs.add([a_job("b"), a_job("a"), a_job("\x00")]) == {"a", "\x00"}

        stored = database.jobs.get("a")
        assert stored is not None
        assert stored.priority == 1

    def test_an_id_twice_in_a_block_is_written_once(self, database: Database) -> None:
        assert database.jobs.add([a_job("a", priority=1), a_job("a", priority=2)]) == set()

        stored = database.jobs.get("a")
        assert stored is not None
        assert stored.priority == 1

    def test_a_block_of_a_thousand(self, database: Database) -> None:
        block = [a_job(f"{n}") for n in range(1000)]

        assert database.jobs.add(block[:500]) == set()
        assert database.jobs.add(block) == {f"{n}" for n in range(500)}

    def test_none(self, database: Database) -> None:
        assert database.jobs.add([]) == set()
        assert database.jobs.get("a") is None

    def test_what_cannot_be_stored_is_refused_before_anything_is_written(
        self, database: Database
    ) -> None:
        with pytest.raises(ValueError):
            database.jobs.add([a_job("a"), a_job("b", payload={"options": [{"cut": math.nan}]})])

        assert database.jobs.get("a") is None


class TestRuns:
    def test_from_beginning_to_end(self, database: Database) -> None:
        assert database.runs.add(a_run("r", "tickets.csv"))
        database.runs.count_submitted("r", 1000)
        database.runs.count_submitted("r", 17)
        database.results.write(
            [
                a_result("a", run_id="r"),
                a_result("b", run_id="r", status=Status.FAILED),
                a_result("c", run_id="another"),
            ]
        )
        database.runs.finish("r", NOON + timedelta(minutes=1))

        progress = database.runs.progress("r")
        assert progress == RunProgress(submitted=1017, succeeded=1, failed=1)
        assert progress.finished == 2
        run = database.runs.get("r")
        assert run is not None
        assert (run.model, run.source, run.submitted) == ("tickets", "tickets.csv", 1017)
        assert (run.created_at, run.finished_at) == (NOON, NOON + timedelta(minutes=1))

    def test_what_was_rejected_stays_counted(self, database: Database) -> None:
        database.runs.add(a_run("r"))
        database.runs.finish("r", NOON, 3)
        database.runs.finish("r", NOON + timedelta(minutes=1))  # more of it, by another way

        run = database.runs.get("r")
        assert run is not None
        assert (run.rejected, run.finished_at) == (3, NOON + timedelta(minutes=1))

    def test_counting_from_many_threads_forgets_none(self, database: Database) -> None:
        database.runs.add(a_run("r", "-"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: database.runs.count_submitted("r", n), range(40)))

        assert database.runs.progress("r") == RunProgress(sum(range(40)), 0, 0)

    def test_an_id_that_was_there_is_left_as_it_is(self, database: Database) -> None:
        assert database.runs.add(a_run("r", "first"))
        assert not database.runs.add(a_run("r", "second"))
        assert [each.source for each in database.runs.newest()] == ["first"]

    def test_the_newest_first(self, database: Database) -> None:
        for n in range(5):
            created_at = NOON + timedelta(hours=n)
            database.runs.add(a_run(f"r{n}", created_at=created_at))

        assert [each.id for each in database.runs.newest(limit=3)] == ["r4", "r3", "r2"]

    def test_none(self, database: Database) -> None:
        assert database.runs.get("r") is None
        assert database.runs.progress("r") is None
        assert database.runs.newest() == []


CALLS: list[Callable[[Database], object]] = [
    lambda database: database.results.write([a_result("a")]),
    lambda database: database.results.get("a"),
    lambda database: database.results.get_many(["a"]),
    lambda database: newest_results(database),
    lambda database: all_results(database),
    lambda database: database.results.counts(),
    lambda database: database.jobs.add([a_job("a")]),
    lambda database: database.jobs.get("a"),
    lambda database: database.runs.add(a_run("r", "-")),
    lambda database: database.runs.count_submitted("r", 1),
    lambda database: database.runs.finish("r", NOON),
    lambda database: database.runs.get("r"),
    lambda database: database.runs.newest(),
    lambda database: database.runs.progress("r"),
]


class TestFailures:
    @pytest.mark.parametrize("call", CALLS)
    def test_without_tables(
        self, bare_database_url: str, call: Callable[[Database], object]
    ) -> None:
        with (
            Database.open(bare_database_url) as database,
            pytest.raises(SchemaOutOfDate, match="labelmill db upgrade"),
        ):
            call(database)

    def test_without_a_column(self, database: Database) -> None:
        with database.engine.begin() as connection:
            connection.execute(text("ALTER TABLE results DROP COLUMN group_size"))

        with pytest.raises(SchemaOutOfDate):
            database.results.write([a_result("a")])
        with pytest.raises(SchemaOutOfDate):
            database.results.get("a")

    @pytest.mark.parametrize("call", CALLS)
    def test_nobody_listens(self, call: Callable[[Database], object]) -> None:
        url = "postgresql://someone:hunter2@127.0.0.1:1/labelmill"
        with Database.open(url) as database, pytest.raises(DatabaseUnavailable) as caught:
            call(database)

        assert "someone:***@127.0.0.1:1" in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_not_a_folder_for_a_database(self, sqlite_url: str) -> None:
        folder = sqlite_url.removeprefix("sqlite:///").removesuffix("/labelmill.db")
        with Database.open(f"sqlite:///{folder}") as database, pytest.raises(DatabaseUnavailable):
            database.runs.newest()

    def test_a_server_that_dies_and_comes_back(self) -> None:
        with PostgresServer() as server, Database.open(server.url) as database:
            database.engine.connect().close()
            server.kill()
            with pytest.raises(DatabaseUnavailable):
                database.runs.newest()
            server.start()
            with pytest.raises(SchemaOutOfDate):  # it answers
                database.runs.newest()

    def test_a_connection_that_ends_in_the_middle_of_a_transaction(
        self, postgresql_url: str
    ) -> None:
        with Database.open(postgresql_url) as database, Database.open(postgresql_url) as other:
            results = database.results.oldest_first(ResultFilter())
            database.results.write([a_result(f"{n}") for n in range(3000)])
            next(results)
            with other.engine.begin() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )

            with pytest.raises(DatabaseUnavailable):
                list(results)
            assert len(newest_results(database, limit=5)) == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_its_own_connections(database: Database) -> None:
    database.results.write([a_result("parent")])

    child = get_context("fork").Process(target=database.results.write, args=([a_result("child")],))
    child.start()
    child.join()
    database.results.write([a_result("parent again")])

    assert child.exitcode == 0
    assert [each.id for each in all_results(database)] == ["child", "parent", "parent again"]
