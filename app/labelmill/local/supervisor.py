"""Keeps several workers running on the devices of this machine."""

from __future__ import annotations

import logging
import math
import os
import queue
import signal
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from labelmill.core import exit_codes
from labelmill.local.devices import Device
from labelmill.local.process import described
from labelmill.local.restarts import delay

logger = logging.getLogger(__name__)

#: How long after its grace time a worker is killed; its own watchdog ends it after 3 s.
MARGIN_S = 5.0

_LOOK_AGAIN_S = 0.1
# Who has lived so long, and then dies, has another reason for it.
_LONG_LIFE_S = 60.0
# When each has died more often than this in a row, starting them again does not mend it.
_MOST_DEATHS = 5
_LOST_AGAIN_S = 60.0

_HEARD = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


class Process(Protocol):
    """What is needed of a :class:`subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless it has ended."""


@dataclass(eq=False)
class Worker:
    """A worker, over all processes that it has been.

    Attributes:
        process: None while it waits to be started.
        start_at: when that is, by the monotonic clock.
        stays: whether it is started again once its process has ended.
        asked: the last signal by which its process was asked to end; None if it was not.
        kill_at: when its process is killed if it still runs.
        deaths: how many of its processes in a row have ended unasked.
        exit_code: of its last process, where that has ended unasked; else 0.
        is_first: whether the supervisor has begun with it, and no process of it has ended yet.
    """

    name: str
    device: Device
    number: int
    start_at: float
    process: Process | None = None
    started_at: float = 0.0
    stays: bool = True
    asked: signal.Signals | None = None
    kill_at: float = math.inf
    deaths: int = 0
    exit_code: int = 0
    is_first: bool = False


class Supervisor:
    """Starts workers, starts those again that end unasked, and ends them all when it is told to.

    ====================  ====================================================================
    SIGTERM, SIGINT       each worker finishes the group on its device; a second one is SIGQUIT
    SIGQUIT               the workers leave at once
    SIGHUP                each worker in turn is ended and started again
    SIGTTIN, SIGTTOU      one worker more, or one less, on each device
    ====================  ====================================================================

    Parameters:
        devices: where the workers run.
        per_device: how many on each.
        host: what is behind the @ of their names.
        spawn: starts a worker's process, of that many on its device and in all.
        is_ready: whether the process of that worker takes jobs.
        grace: seconds that a worker may take to end.
        clock: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        per_device: int,
        *,
        host: str,
        spawn: Callable[[Worker, int, int], Process],
        is_ready: Callable[[Worker], bool],
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._devices = list(devices)
        self._per_device = per_device
        self._host = host
        self._spawn = spawn
        self._is_ready = is_ready
        self._patience = grace + MARGIN_S
        self._clock = clock
        self._workers: list[Worker] = []
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._lost_at: dict[Device, float] = {}
        self._to_renew: deque[Worker] = deque()
        self._renewed: Worker | None = None
        self._is_stopping = False
        self._asked_to_stop = False
        self._exit_codes: list[int] = []
        self._had_terminal = False
        for number in range(1, per_device + 1):
            self._add(number, is_first=True)

    @property
    def workers(self) -> list[Worker]:
        """All that there are, those that are ending included."""
        return list(self._workers)

    def run(self) -> int:
        """Keep the workers running until they are to end; from the main thread.

        Returns:
            the worst of their exit codes; 0 if all have ended as they were asked to.
        """
        self._had_terminal = _is_terminal()
        for number in _HEARD:
            # What was inherited as ignored stays so: SIGHUP under nohup.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.put(number))
        while self._workers:
            self.look()
            try:
                self.hear(self._signals.get(timeout=_LOOK_AGAIN_S))
            except queue.Empty:
                continue
        return worst(self._exit_codes)

    def hear(self, number: int) -> None:
        """Do what a signal says."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._hear_the_end()
        elif number == signal.SIGQUIT:
            self._leave_now()
        elif self._is_stopping:
            return
        elif number == signal.SIGHUP:
            if self._had_terminal and not _is_terminal():
                _write_nowhere()
                self._stop("the terminal has ended")
            else:
                logger.info("one worker after the other is ended, and started again")
                self._to_renew = deque(self._workers)
        elif number == signal.SIGTTIN:
            self._grow()
        elif number == signal.SIGTTOU:
            self._shrink()

    def look(self) -> None:
        """See who has ended, who is to be started and who is late."""
        for worker in self.workers:
            if worker not in self._workers:
                continue  # it went with another
            if worker.process is None:
                if self._clock() >= worker.start_at:
                    self._start(worker)
            elif (exit_code := worker.process.poll()) is not None:
                self._ended(worker, exit_code)
            elif self._clock() > worker.kill_at:
                logger.error("%s does not end: it is killed", worker.name)
                worker.process.send_signal(signal.SIGKILL)
                worker.kill_at = math.inf
        self._renew_next()

    # How many there are

    def _add(self, number: int, *, is_first: bool = False) -> None:
        """One worker of that number on each device."""
        for device in self._devices:
            name = f"{device.name}.{number}@{self._host}"
            leaving = [worker for worker in self._workers if worker.name == name]
            for worker in leaving:
                worker.stays = True
            if not leaving:
                self._workers.append(Worker(name, device, number, self._clock(), is_first=is_first))

    def _grow(self) -> None:
        self._per_device += 1
        logger.info("%d workers on each device", self._per_device)
        self._add(self._per_device)

    def _shrink(self) -> None:
        if self._per_device == 1:
            logger.warning("each device keeps one worker")
            return
        self._per_device -= 1
        logger.info("%d workers on each device", self._per_device)
        self._release([each for each in self._workers if each.number > self._per_device])

    def _release(self, workers: Iterable[Worker], how: signal.Signals = signal.SIGTERM) -> None:
        """Let them end, and start none of them again."""
        for worker in list(workers):
            worker.stays = False
            if worker.process is None:
                self._remove(worker, worker.exit_code)
            else:
                self._end(worker, how)

    def _remove(self, worker: Worker, exit_code: int) -> None:
        self._workers.remove(worker)
        if self._is_stopping:
            self._exit_codes.append(exit_code)

    # One worker

    def _start(self, worker: Worker) -> None:
        total = self._per_device * len(self._devices)
        try:
            worker.process = self._spawn(worker, self._per_device, total)
        except OSError as error:  # no memory for a process, say: it may pass
            worker.deaths += 1
            wait = delay(worker.deaths)
            worker.start_at = self._clock() + wait
            logger.warning("%s cannot be started (%s): again in %g s", worker.name, error, wait)
            return
        worker.started_at = self._clock()
        worker.asked, worker.kill_at, worker.exit_code = None, math.inf, 0
        logger.info("%s is started, process %d", worker.name, worker.process.pid)

    def _end(self, worker: Worker, how: signal.Signals) -> None:
        """Ask its process to end, but not twice: a second signal makes a worker leave at once."""
        if worker.process is None or worker.asked == how:
            return
        worker.asked = how
        patience = self._patience if how == signal.SIGTERM else MARGIN_S
        worker.kill_at = self._clock() + patience
        worker.process.send_signal(how)

    def _ended(self, worker: Worker, exit_code: int) -> None:
        worker.process = None
        if worker.asked is None:
            worker.exit_code = exit_code
            self._died(worker)
            worker.is_first = False
            return
        # Before it hears signals it ends by the one that it was sent, and has nothing in hand.
        exit_code = 0 if exit_code == -worker.asked else exit_code
        logger.log(
            logging.WARNING if exit_code else logging.INFO,
            "%s %s",
            worker.name,
            described(exit_code),
        )
        worker.is_first = False
        if worker.stays:
            worker.start_at = self._clock()
        else:
            self._remove(worker, exit_code)

    def _died(self, worker: Worker) -> None:
        """Start it again, or see that this is of no use."""
        now = self._clock()
        lived = now - worker.started_at
        how = f"{worker.name} {described(worker.exit_code)}"
        if worker.is_first and worker.exit_code == exit_codes.USAGE:
            self._give_up(f"{how}: starting it again would not mend what is set wrong")
            return
        if worker.exit_code == exit_codes.DEVICE_LOST and self._is_lost_again(worker, now):
            self._leave_out(worker.device, how)
            return
        # Its heartbeat outlives it for a while: one that never took jobs has not lived at all.
        has_lived = lived >= _LONG_LIFE_S and self._is_ready(worker)
        worker.deaths = 1 if has_lived else worker.deaths + 1
        if all(
            # Whom Redis or the database keeps from starting, time will help.
            each.deaths > _MOST_DEATHS and each.exit_code != exit_codes.UNAVAILABLE
            for each in self._workers
        ):
            self._give_up(f"{how}: the workers end again and again")
            return
        wait = delay(worker.deaths)
        worker.start_at = now + wait
        logger.warning("%s and is started again in %g s", how, wait)
        if worker is self._renewed:
            self._renewed = None
            self._to_renew.clear()
            logger.error("the other workers are not ended: they go on as they are")

    # A device that is lost

    def _is_lost_again(self, worker: Worker, now: float) -> bool:
        """Whether a process that has found the device after a loss has lost it, too."""
        lost_at = self._lost_at.get(worker.device)
        if lost_at is not None and worker.started_at <= lost_at:
            return False  # the same loss, of which this worker has heard later
        self._lost_at[worker.device] = now
        return lost_at is not None and now - worker.started_at <= _LOST_AGAIN_S

    def _leave_out(self, device: Device, how: str) -> None:
        self._devices.remove(device)
        logger.error(
            "%s: %s (%s) is lost again, and so unhealthy: it is left out with its workers; %s",
            how,
            device.name,
            device.visible,
            f"left: {', '.join(each.name for each in self._devices)}"
            if self._devices
            else "none is left",
        )
        if self._devices:
            self._release([each for each in self._workers if each.device == device])
        else:
            self._give_up("there is no device to work on")

    # One after the other

    def _renew_next(self) -> None:
        if self._renewed is not None and not self._is_renewed(self._renewed):
            return
        self._renewed = self._to_renew.popleft() if self._to_renew else None
        if self._renewed is not None:
            self._end(self._renewed, signal.SIGTERM)

    def _is_renewed(self, worker: Worker) -> bool:
        """Whether its new process takes jobs; of one that has left there is nothing to await."""
        if worker not in self._workers:
            return True
        if worker.process is None or worker.asked is not None or not self._is_ready(worker):
            return False
        logger.info("%s is ready", worker.name)
        return True

    # The end

    def _hear_the_end(self) -> None:
        if self._asked_to_stop:
            self._leave_now()
            return
        self._asked_to_stop = True
        self._stop("each worker finishes the group on its device, and gives the rest back")

    def _leave_now(self) -> None:
        self._stop(
            "the workers leave now; the leases expire, and the jobs come back", signal.SIGQUIT
        )

    def _give_up(self, why: str) -> None:
        """Stop for a reason that nobody but an operator can mend."""
        self._stop(why, level=logging.ERROR)

    def _stop(
        self, why: str, how: signal.Signals = signal.SIGTERM, *, level: int = logging.INFO
    ) -> None:
        """Have all workers end, and none started again."""
        logger.log(level, "stopping: %s", why)
        self._is_stopping = True
        self._release(self._workers, how)


def worst(ends: Iterable[int]) -> int:
    """The exit code that says the most of several processes.

    Parameters:
        ends: their exit codes, as :mod:`subprocess` has them: negative for a signal.

    Returns:
        0 if all are. Otherwise one that tells who started us what to do: 2, not to try again, or
        else 75, to try on another device. Otherwise the largest, where a signal counts as 128 and
        its number, as in a shell.
    """
    found = [128 - end if end < 0 else end for end in ends]
    for telling in (exit_codes.USAGE, exit_codes.DEVICE_LOST):
        if telling in found:
            return telling
    return max(found, default=0)


def _write_nowhere() -> None:
    """Let what is still said go nowhere: written to a terminal that is gone, it is a failure."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        with suppress(OSError):
            os.ttyname(number)
            continue  # another terminal, which is there
        if stat.S_ISCHR(os.fstat(number).st_mode):
            os.dup2(nowhere, number)
    os.close(nowhere)


def _is_terminal() -> bool:
    """Whether standard error is a terminal; one that has been closed is none."""
    return os.isatty(2)
