"""The parts of the GPU's benchmark: one that fails ends none, and the time cuts repeats alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelmill.bench import gpu
from labelmill.bench.device.parts import Part, run_parts
from labelmill.bench.device.session import Device, Session
from labelmill.bench.device.time_limit import TimeLimit
from labelmill.bench.errors import BenchmarkError
from labelmill.bench.queueing.process import WorkerProcess
from labelmill.bench.report import Report


class Clock:
    """A clock that stands until it is set forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def session(tmp_path: Path) -> Session:
    report = Report("gpu", [], {}, {})
    return Session(
        on=Device("cpu", "bfloat16", 16, 4096),
        smoke=True,
        texts_number=4,
        images_number=1,
        folder=tmp_path,
        report=report,
        limit=TimeLimit(2, 3, None),
        save=lambda: report.write(tmp_path / "gpu.json"),
        log=lambda line: None,
    )


def written(session: Session) -> dict[str, list[str]]:
    """The report's file as it is now."""
    found: dict[str, list[str]] = json.loads((session.folder / "gpu.json").read_text())
    return found


def noting(line: str) -> Part:
    return lambda session: session.note(line)


def raising(error: BaseException) -> Part:
    def part(session: Session) -> None:
        session.measure("half", "texts/s").add(1.0)
        raise error

    return part


def test_a_part_that_fails_is_noted_and_the_others_run(session: Session) -> None:
    seen: list[list[str]] = []
    parts = {
        "one": noting("first"),
        "two": raising(ValueError("no such kernel\nand much more")),
        "three": lambda session: seen.append(written(session)["notes"]),
    }
    assert run_parts(parts, session) == ["two"]
    assert seen == [["first", "two FAILED: ValueError: no such kernel"]]
    assert [each.what for each in session.report.measures] == ["half"]


def test_an_error_without_a_message_is_noted_by_its_type(session: Session) -> None:
    run_parts({"one": raising(MemoryError())}, session)
    assert written(session)["notes"] == ["one FAILED: MemoryError"]


def test_an_interrupted_run_leaves_what_there_is(session: Session) -> None:
    parts = {"one": noting("first"), "two": raising(KeyboardInterrupt()), "three": noting("third")}
    with pytest.raises(KeyboardInterrupt):
        run_parts(parts, session)
    assert written(session)["notes"] == ["first", "INTERRUPTED in two"]
    assert len(written(session)["measures"]) == 1


def test_the_report_is_written_after_each_repeat(session: Session) -> None:
    measure = session.measure("some", "texts/s")
    lengths = []
    for _ in session.repeats():
        if measure.ours:
            lengths.append(len(written(session)["measures"]))
        measure.add(1.0)
    assert lengths == [1]


def repeats_of_parts(seconds: float | None, parts: list[float]) -> list[int]:
    """How often parts are repeated, of which one repeat takes so many seconds; at most 3 times."""
    clock = Clock()
    limit = TimeLimit(3, len(parts), seconds, clock)
    numbers = []
    for took in parts:
        limit.begin_part()
        number = 0
        for _ in limit.repeats():
            clock.now += took
            number += 1
        numbers.append(number)
    return numbers


@pytest.mark.parametrize(
    ("seconds", "parts", "expected"),
    [
        (None, [10, 10], [3, 3]),
        (1000, [10, 10], [3, 3]),
        (40, [10, 10], [2, 2]),
        (1, [10, 10, 10], [1, 1, 1]),  # each part runs, however late it is
        (60, [5, 15], [3, 3]),  # what the first does not need, the second has
        (60, [100, 1], [1, 1]),
    ],
)
def test_the_time_limit_cuts_repeats_and_never_parts(
    seconds: float | None, parts: list[float], expected: list[int]
) -> None:
    assert repeats_of_parts(seconds, parts) == expected


def run_main(
    monkeypatch: pytest.MonkeyPatch, folder: Path, parts: dict[str, Part], *more: str
) -> None:
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr(gpu, "use_threads", lambda number: None)
    monkeypatch.setattr("signal.signal", lambda *given: None)
    gpu.main(["--device", "cpu", "--smoke", "--json", str(folder / "some.json"), *more])


def test_a_run_with_a_part_that_failed_says_so_at_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"one": raising(ValueError("no")), "two": noting("second"), "three": noting("third")}
    with pytest.raises(BenchmarkError, match="failed: one"):
        run_main(monkeypatch, tmp_path, parts, "--parts", "two", "one")
    notes = json.loads((tmp_path / "some.json").read_text())["notes"]
    assert notes[1:] == ["one FAILED: ValueError: no", "second"]
    assert "second" in capsys.readouterr().out


def test_an_interrupted_run_ends_with_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_main(monkeypatch, tmp_path, {"one": raising(KeyboardInterrupt())})
    assert ended.value.code == 130
    assert "INTERRUPTED in one" in (tmp_path / "some.json").read_text()


def test_a_worker_finds_its_modules_where_its_benchmark_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms" / "found.py").write_text("raise SystemExit(7)")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "rooms")
    with WorkerProcess(["found"], tmp_path / "elsewhere", {}) as worker:
        assert worker._process.wait(60) == 7
