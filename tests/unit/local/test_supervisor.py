"""What the supervisor makes of signals and of ends, on a clock and with processes of ours."""

from __future__ import annotations

import logging
from itertools import count
from signal import (
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGQUIT,
    SIGTERM,
    SIGTTIN,
    SIGTTOU,
)

import pytest

from labelmill.core import exit_codes
from labelmill.local.devices import CPU, Device
from labelmill.local.supervisor import Supervisor, Worker, worst

GRACE_S = 25.0
CARDS = [Device("gpu0", "GPU-a"), Device("gpu1", "GPU-b")]


class FakeProcess:
    """A process that ends when the test says so."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self.heard: list[int] = []

    def poll(self) -> int | None:
        return self.exit_code

    def send_signal(self, sig: int, /) -> None:
        self.heard.append(sig)


class Group:
    """A supervisor, its clock, and all processes that it has started."""

    def __init__(self, devices: list[Device], per_device: int) -> None:
        self.now = 1000.0
        self.started: list[tuple[str, FakeProcess, int, int]] = []
        self.ready: set[str] = set()
        self._pids = count(1)
        self.supervisor = Supervisor(
            devices,
            per_device,
            host="here",
            spawn=self._spawn,
            is_ready=lambda worker: worker.name in self.ready,
            grace=GRACE_S,
            clock=lambda: self.now,
        )
        self.supervisor.look()

    def _spawn(self, worker: Worker, per_device: int, workers: int) -> FakeProcess:
        process = FakeProcess(next(self._pids))
        self.started.append((worker.name, process, per_device, workers))
        return process

    def names(self) -> list[str]:
        """The workers whose processes run."""
        return [each.name for each in self.supervisor.workers if each.process]

    def process(self, name: str) -> FakeProcess:
        """The worker's last one."""
        return [process for each, process, *_ in self.started if each == f"{name}@here"][-1]

    def starts(self, name: str) -> int:
        return sum(each == f"{name}@here" for each, *_ in self.started)

    def end(self, name: str, exit_code: int) -> None:
        """End a worker's process, and have the supervisor look."""
        self.process(name).exit_code = exit_code
        self.supervisor.look()

    def end_all(self, exit_code: int) -> None:
        for worker in self.supervisor.workers:
            if isinstance(worker.process, FakeProcess):
                worker.process.exit_code = exit_code
        self.supervisor.look()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.supervisor.look()

    def hear(self, *signals: int) -> None:
        for each in signals:
            self.supervisor.hear(each)
        self.supervisor.look()

    @property
    def exit_code(self) -> int | None:
        """Of the supervisor; None while it has workers."""
        return None if self.supervisor.workers else self.supervisor.run()


@pytest.fixture(autouse=True)
def signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelmill.local.supervisor.signal.signal", lambda *_: None)


def test_each_worker_has_a_name_of_its_own() -> None:
    group = Group([*CARDS, CPU], 2)
    names = group.names()
    assert names == [
        f"{device}.{number}@here" for number in (1, 2) for device in ("gpu0", "gpu1", "cpu")
    ]
    group.hear(SIGTTIN, SIGTTOU, SIGTTIN, SIGTTIN)
    assert len(group.names()) == len(set(group.names())) == 12


def test_the_parts_are_those_of_all_workers() -> None:
    group = Group(CARDS, 3)
    assert {(per_device, workers) for *_, per_device, workers in group.started} == {(3, 6)}


def _no_memory(*_: object) -> FakeProcess:
    raise BlockingIOError("no memory")


class TestAnEndThatNobodyAskedFor:
    @pytest.mark.parametrize("exit_code", [0, 1, 3, -9])
    def test_it_is_started_again_a_second_later(
        self, exit_code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        group = Group(CARDS, 1)
        group.end("gpu1.1", exit_code)
        assert group.names() == ["gpu0.1@here"]
        how = "was killed by SIGKILL" if exit_code < 0 else f"ended with exit code {exit_code}"
        assert caplog.messages == [f"gpu1.1@here {how} and is started again in 1 s"]
        group.wait(0.9)
        assert group.starts("gpu1.1") == 1
        group.wait(0.1)
        assert group.starts("gpu1.1") == 2

    def test_it_waits_longer_each_time_until_one_has_lived_for_long(self) -> None:
        group = Group([CPU], 1)
        for wait in (1.0, 2.0, 4.0, 8.0):
            group.end("cpu.1", 1)
            group.wait(wait - 0.1)
            assert group.names() == []
            group.wait(0.1)
            assert group.names() == ["cpu.1@here"]
        group.now += 60  # it has not taken jobs: models that take as long to fail
        group.end("cpu.1", 1)
        group.wait(15.9)
        assert group.names() == []
        group.wait(0.1)
        group.ready.add("cpu.1@here")
        group.now += 60
        group.end("cpu.1", 1)
        group.wait(1)
        assert group.names() == ["cpu.1@here"]

    def test_a_group_that_dies_again_and_again_is_stopped(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        group = Group(CARDS, 1)
        for _ in range(5):
            for name in ("gpu0.1", "gpu1.1"):
                group.wait(25)  # each takes as long to fail
                group.end(name, 1)
            group.wait(30)
        group.end("gpu1.1", 1)
        assert group.names() == ["gpu0.1@here"]
        group.end("gpu0.1", -11)
        assert group.exit_code == 128 + 11
        assert "was killed by SIGSEGV: the workers end again and again" in caplog.text

    def test_one_that_does_so_alone_stops_no_other(self) -> None:
        group = Group([CPU], 8)
        for _ in range(30):
            group.end("cpu.3", 1)
            group.wait(30)
        assert group.starts("cpu.3") == 31
        assert len(group.names()) == 8

    def test_a_process_that_cannot_be_started_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        group = Group(CARDS, 1)
        with monkeypatch.context() as patch:
            patch.setattr(group.supervisor, "_spawn", _no_memory)
            group.end("gpu0.1", 1)
            group.wait(1)
        assert "gpu0.1@here cannot be started (no memory): again in 2 s" in caplog.text
        assert group.names() == ["gpu1.1@here"]
        group.wait(2)
        assert len(group.names()) == 2

    def test_wrong_settings_at_the_start_end_the_group(self) -> None:
        group = Group([CPU], 3)
        group.end("cpu.2", exit_codes.USAGE)
        assert group.process("cpu.1").heard == group.process("cpu.3").heard == [SIGTERM]
        group.end("cpu.1", -SIGTERM)  # it had not begun to hear signals
        group.end("cpu.3", 1)
        assert len(group.started) == 3
        assert group.exit_code == exit_codes.USAGE

    def test_wrong_settings_later_end_no_worker_that_runs(self) -> None:
        group = Group([CPU], 2)
        group.end("cpu.1", 1)
        group.wait(1)
        group.end("cpu.1", exit_codes.USAGE)
        group.hear(SIGTTIN)
        group.end("cpu.3", exit_codes.USAGE)
        assert group.process("cpu.2").heard == []
        group.wait(2)
        assert len(group.names()) == 3


class TestALostDevice:
    def test_once_is_no_reason_to_leave_it_out(self) -> None:
        group = Group(CARDS, 2)
        group.end("gpu0.1", exit_codes.DEVICE_LOST)
        group.wait(2)
        # The same loss, of which it hears when it has something to do.
        group.end("gpu0.2", exit_codes.DEVICE_LOST)
        group.wait(2)
        assert len(group.names()) == 4
        # And another, much later.
        group.now += 3600
        for name in ("gpu0.1", "gpu0.2"):
            group.end(name, exit_codes.DEVICE_LOST)
        group.wait(2)
        assert len(group.names()) == 4

    def test_twice_in_a_minute_leaves_it_out(self, caplog: pytest.LogCaptureFixture) -> None:
        group = Group(CARDS, 2)
        group.end("gpu0.1", exit_codes.DEVICE_LOST)
        group.wait(1)
        group.now += 60
        group.end("gpu0.1", exit_codes.DEVICE_LOST)
        assert group.process("gpu0.2").heard == [SIGTERM]
        assert [each.message for each in caplog.records if each.levelname == "ERROR"] == [
            "gpu0.1@here ended with exit code 75: gpu0 (GPU-a) is lost again, and so unhealthy: it"
            " is left out with its workers; left: gpu1"
        ]
        group.end("gpu0.2", 0)
        group.wait(100)
        group.hear(SIGTTIN)
        assert group.names() == ["gpu1.1@here", "gpu1.2@here", "gpu1.3@here"]
        group.hear(SIGTERM)
        group.end_all(0)
        assert group.exit_code == 0

    def test_it_takes_along_who_waits_to_be_started_there(self) -> None:
        group = Group(CARDS, 2)
        group.end("gpu0.1", exit_codes.DEVICE_LOST)
        group.wait(1)
        group.end("gpu0.2", 1)
        group.now += 1  # as gpu0.1 is lost, gpu0.2 is due
        group.end("gpu0.1", exit_codes.DEVICE_LOST)
        assert group.starts("gpu0.2") == 1
        assert [each.device for each in group.supervisor.workers] == [CARDS[1]] * 2

    def test_without_any_left_the_group_ends(self) -> None:
        group = Group(CARDS, 1)
        for name in ("gpu0.1", "gpu1.1"):
            group.end(name, exit_codes.DEVICE_LOST)
            group.wait(1)
            group.end(name, exit_codes.DEVICE_LOST)
        assert group.exit_code == exit_codes.DEVICE_LOST


class TestSignals:
    @pytest.mark.parametrize("number", [SIGTERM, SIGINT])
    def test_the_first_is_warm_and_goes_to_each_once(self, number: int) -> None:
        group = Group([CPU], 3)
        group.hear(SIGTTOU, number)
        assert [group.process(f"cpu.{each}").heard for each in (1, 2, 3)] == [[SIGTERM]] * 3
        group.wait(1)
        group.end_all(0)
        assert group.exit_code == 0
        assert len(group.started) == 3

    def test_one_that_does_not_hear_signals_yet_ends_well(self) -> None:
        group = Group([CPU], 1)
        group.hear(SIGTERM)
        group.end("cpu.1", -SIGTERM)
        assert group.exit_code == 0

    @pytest.mark.parametrize("numbers", [(SIGTERM, SIGINT), (SIGINT, SIGTERM)])
    def test_the_second_is_cold(self, numbers: tuple[int, ...]) -> None:
        group = Group([CPU], 1)
        group.hear(*numbers)
        assert group.process("cpu.1").heard == [SIGTERM, SIGQUIT]
        group.end("cpu.1", 1)
        assert group.exit_code == 1

    def test_quit_is_cold(self) -> None:
        group = Group([CPU], 2)
        group.hear(SIGQUIT)
        assert group.process("cpu.1").heard == [SIGQUIT]
        group.end_all(1)
        assert group.exit_code == 1

    def test_one_that_waits_to_be_started_is_not(self) -> None:
        group = Group([CPU], 2)
        group.end("cpu.1", 1)
        group.hear(SIGTERM)
        group.end("cpu.2", 0)
        # It did not end as it was asked to.
        assert group.exit_code == 1

    def test_who_does_not_end_in_time_is_killed(self) -> None:
        group = Group([CPU], 1)
        group.hear(SIGTERM)
        group.wait(GRACE_S + 5)
        assert group.process("cpu.1").heard == [SIGTERM]
        group.wait(0.1)
        assert group.process("cpu.1").heard == [SIGTERM, SIGKILL]
        group.wait(100)
        assert group.process("cpu.1").heard == [SIGTERM, SIGKILL]
        group.end("cpu.1", -SIGKILL)
        assert group.exit_code == 128 + SIGKILL

    def test_more_and_fewer(self, caplog: pytest.LogCaptureFixture) -> None:
        group = Group(CARDS, 1)
        group.hear(SIGTTOU)
        assert caplog.messages == ["each device keeps one worker"]
        group.hear(SIGTTIN)
        assert group.names()[2:] == ["gpu0.2@here", "gpu1.2@here"]
        assert group.started[-1][2:] == (2, 4)
        group.hear(SIGTTOU)
        assert group.process("gpu1.2").heard == [SIGTERM]
        group.end("gpu1.2", 0)
        # One that is asked for again while it ends has its name until it has ended.
        group.hear(SIGTTIN)
        assert group.starts("gpu1.2") == 2
        assert group.starts("gpu0.2") == 1
        group.end("gpu0.2", 0)
        group.wait(0)
        assert group.starts("gpu0.2") == 2

    def test_while_it_stops_it_starts_nothing(self) -> None:
        group = Group([CPU], 1)
        group.hear(SIGTERM, SIGHUP, SIGTTIN)
        assert len(group.started) == 1
        group.end("cpu.1", 0)
        assert group.exit_code == 0


class TestARollingRestart:
    def test_one_after_the_other(self) -> None:
        group = Group([CPU], 3)
        group.hear(SIGHUP)
        for number in (1, 2, 3):
            asked = [bool(group.process(f"cpu.{each}").heard) for each in (1, 2, 3)]
            assert asked == [each == number for each in (1, 2, 3)]
            group.end(f"cpu.{number}", 0)
            group.wait(0)
            assert group.starts(f"cpu.{number}") == 2
            group.wait(100)
            assert not any(group.process(f"cpu.{each}").heard for each in (1, 2, 3))
            group.ready.add(f"cpu.{number}@here")
            group.wait(0)
        assert len(group.started) == 6
        group.wait(100)
        assert len(group.started) == 6

    def test_one_that_does_not_come_back_ends_no_other(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        group = Group([CPU], 2)
        group.hear(SIGHUP)
        group.end("cpu.1", 0)
        group.wait(0)
        group.end("cpu.1", exit_codes.USAGE)
        group.wait(100)
        group.ready.add("cpu.1@here")
        group.wait(100)
        assert group.process("cpu.2").heard == []
        assert group.starts("cpu.1") == 3
        assert caplog.messages[-1] == "the other workers are not ended: they go on as they are"

    def test_one_that_is_away_is_waited_for_before_another_is_ended(self) -> None:
        group = Group([CPU], 2)
        group.end("cpu.1", 1)
        group.hear(SIGHUP)
        group.wait(1)
        assert group.starts("cpu.1") == 2
        assert group.process("cpu.2").heard == []
        group.ready.add("cpu.1@here")
        group.wait(0)
        assert group.process("cpu.2").heard == [SIGTERM]

    def test_one_that_leaves_is_not_waited_for(self) -> None:
        group = Group([CPU], 2)
        group.hear(SIGHUP)
        group.end("cpu.1", 0)
        group.wait(0)
        group.ready.add("cpu.1@here")
        group.wait(0)
        group.hear(SIGTTOU)
        assert group.process("cpu.2").heard == [SIGTERM]
        group.end("cpu.2", 0)
        group.hear(SIGHUP)
        assert group.process("cpu.1").heard == [SIGTERM]

    def test_what_was_before_it_does_not_count_at_the_end(self) -> None:
        group = Group([CPU], 1)
        group.end("cpu.1", 1)
        group.wait(1)
        group.hear(SIGHUP)
        group.end("cpu.1", 0)
        group.supervisor.hear(SIGTERM)
        assert group.exit_code == 0

    def test_it_ends_when_all_are_to_end(self) -> None:
        group = Group([CPU], 2)
        group.hear(SIGHUP, SIGTERM)
        assert group.process("cpu.1").heard == group.process("cpu.2").heard == [SIGTERM]
        group.end_all(0)
        assert group.exit_code == 0
        assert len(group.started) == 2


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 1], 1),
        ([1, 3], 3),
        ([1, -9], 137),
        ([-9, 75, 1], 75),
        ([75, 2, -9], 2),
    ],
)
def test_the_worst_exit_code(ends: list[int], code: int) -> None:
    assert worst(ends) == code


def test_workers_that_wait_for_redis_or_the_database_are_started_for_as_long_as_it_takes() -> None:
    group = Group([CPU], 1)
    for _ in range(20):
        group.end("cpu.1", exit_codes.UNAVAILABLE)
        group.wait(30)
    assert group.names() == ["cpu.1@here"]
    group.end("cpu.1", 1)
    assert group.exit_code == 1
