"""The pipeline: the three stages and the keeper as threads, with one beginning and one end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress

from celery.utils.log import get_logger

from labelmill.broker.connection import BROKER_ERRORS, open_broker, reason_of
from labelmill.broker.heartbeat import Heartbeat, HeartbeatWriter
from labelmill.broker.leases import LeaseKeeper, Leases
from labelmill.broker.leases.doorbell import Doorbell
from labelmill.broker.outage import Outage
from labelmill.core import exit_codes
from labelmill.db.database import Database
from labelmill.engines.faults import Fault, fault_of, is_short_of_memory
from labelmill.engines.load import AnyEngine
from labelmill.worker.batcher import BatchQueue
from labelmill.worker.commit import CommitStage
from labelmill.worker.forward import ForwardStage
from labelmill.worker.job import Batch
from labelmill.worker.prepare import PrepareStage
from labelmill.worker.settings import WorkerSettings

logger = get_logger(__name__)

# One group is committed while the next waits; when the database is slow, the device waits too.
_FINISHED_GROUPS = 2
# The part of the grace time that the stages may use; the rest is for giving back what they left.
_FINISHING = 0.9


class Pipeline:
    """Takes, runs and commits groups of jobs in threads of its own.

    Parameters:
        name: the worker's name, for rows.
        heartbeat: the worker's, under the same name.
        engines: the loaded models, by queue.
        database: where the rows go.
        is_revoked: whether a job's id was revoked.
        on_death: called, from any thread, with an exit code when a stage has died: the process
            must end.

    Raises:
        redis.RedisError: Redis does not answer now.
    """

    def __init__(
        self,
        name: str,
        heartbeat: HeartbeatWriter,
        engines: Mapping[str, AnyEngine],
        database: Database,
        settings: WorkerSettings,
        *,
        is_revoked: Callable[[str], bool],
        on_death: Callable[[int], None],
    ) -> None:
        self._engines = engines
        self._on_death = on_death
        self._death: Fault | None = None  # why a stage died, if one did
        self._finishing_seconds = settings.shutdown_grace * _FINISHING
        self._winding_down = threading.Lock()
        self._deadline: float | None = None  # of the stages, once they are winding down
        self._broker = open_broker(settings.broker_url, answer_seconds=settings.answer_seconds)
        self._outage = Outage("jobs in hand are kept until their leases expire; trying again")
        leases = Leases(self._broker, settings.lease_seconds, settings.announcements)
        self._leases = leases
        self._heartbeat = heartbeat
        self._paused: set[str] = set()
        self._keeper = LeaseKeeper(
            leases, lambda: self._heartbeat.write(self.state()), self._outage
        )
        self._doorbell = Doorbell(settings.broker_url)
        self._finished: queue.Queue[Batch | None] = queue.Queue(_FINISHED_GROUPS)
        self._ready = BatchQueue({model: engine.group_size for model, engine in engines.items()})
        self._prepare = PrepareStage(
            engines,
            leases,
            self._keeper,
            self._doorbell,
            max_attempts=settings.max_attempts,
            is_revoked=is_revoked,
            ready=self._ready,
            finished=self._finished,
            outage=self._outage,
            paused=self._paused,
        )
        self._forward = ForwardStage(
            engines, self._keeper, self._doorbell, ready=self._ready, finished=self._finished
        )
        self._commit = CommitStage(
            engines,
            leases,
            self._keeper,
            database,
            worker=name,
            finished=self._finished,
            off_device=self._ready.off_device,
            outage=self._outage,
        )
        self._threads = {
            stage: threading.Thread(target=self._guard, args=(stage, run), name=stage, daemon=True)
            for stage, run in {
                "keep leases": self._keeper.run,
                "prepare": self._prepare.run,
                "forward": self._forward.run,
                "commit": self._commit.run,
            }.items()
        }

    def start(self) -> None:
        """Begin to take jobs.

        Raises:
            SystemExit: there is too little memory for threads.
        """
        try:
            self._heartbeat.write(self.state())
        except BROKER_ERRORS as error:
            self._outage.note("heartbeat", error)
        self._start_threads()

    def wind_down(self) -> float:
        """Stop taking, and let only the device's group go on; from any thread, once or often.

        Returns the time of the monotonic clock by which the stages must have ended.
        """
        with self._winding_down:
            if self._deadline is None:
                self._deadline = time.monotonic() + self._finishing_seconds
                self._prepare.stop()
                self._ready.close()
                logger.info(
                    "stopping: %d jobs on the device are being finished", len(self.active())
                )
            return self._deadline

    def stop(self) -> None:
        """Stop taking, finish the device's group, commit it, and give the rest back at once.

        It takes at most the settings' ``shutdown_grace``; what is not committed by then goes back
        too, and is run again elsewhere.
        """
        deadline = self.wind_down()
        if self._death is not None and not self._threads["commit"].is_alive():
            self._drop_finished()
        self._join("forward", deadline)
        self._end_commit(deadline)
        self._join("prepare", deadline)
        self._keeper.stop()
        self._join("keep leases", time.monotonic() + 1)
        if self._death not in (None, Fault.DEVICE_LOST):
            # One of the started jobs may be why: their leases expire, so that the attempt counts
            # and each comes back alone.
            unstarted = {job.lease for job in self._ready.left()}
            self._keeper.drop(set(self._keeper.held()) - unstarted)
        try:
            released = self._keeper.release_all()
            self._leases.leave()
            self._heartbeat.remove()
            logger.info("gave back %d jobs", released)
        except BROKER_ERRORS as error:
            logger.warning("cannot give jobs back: %s; their leases expire", reason_of(error))
        self._doorbell.close()
        self._broker.close()

    @property
    def models(self) -> list[str]:
        """The models that it has loaded, which are their queues."""
        return list(self._engines)

    @property
    def paused(self) -> Set[str]:
        """Those that nothing is taken for."""
        return frozenset(self._paused)

    def pause(self, model: str) -> None:
        """Take nothing more from this model's queue; what is in hand is finished."""
        self._paused.add(model)
        logger.warning("%s is paused: nothing more is taken from its queue", model)

    def resume(self, model: str) -> bool:
        """Take from this model's queue again, within a second; whether it was paused."""
        if model not in self._paused:
            return False
        self._paused.discard(model)
        logger.info("%s is taken from again", model)
        return True

    def state(self) -> Heartbeat:
        """What the worker is at, for its heartbeat and for ``celery inspect stats``."""
        counters = self._commit.counters
        return self._heartbeat.describe(
            groups=counters.groups,
            jobs=counters.jobs,
            failed=counters.failed,
            in_flight=self._keeper.count,
            waiting_for=self._waiting_for(),
            state="ready" if self._deadline is None else "stopping",
            paused=self.paused,
            running={model: engine.running() for model, engine in self._engines.items()},
            troubles=self._prepare.troubles(),
        )

    def active(self) -> list[tuple[str, str]]:
        """The jobs that are on the device now: their ids and models."""
        return [(job.id, job.lease.queue) for job in self._ready.on_device()]

    def prepared(self) -> list[tuple[str, str]]:
        """The jobs that wait for the device: their ids and models."""
        return [(job.id, job.lease.queue) for job in self._ready.left()]

    @property
    def device_seconds(self) -> float:
        """How long the device has been at its group; on CUDA, until its outputs are there."""
        return max(self._forward.running.seconds, self._commit.decoding.seconds)

    def _waiting_for(self) -> str | None:
        if self._commit.waits_for_database:
            return "database"
        return "redis" if self._outage.lasts else None

    def _drop_finished(self) -> None:
        """Let nobody wait for a commit stage that has died: its jobs go back, or expire."""
        with suppress(queue.Empty):
            while True:
                self._finished.get_nowait()

    def _end_commit(self, deadline: float) -> None:
        if not self._threads["commit"].is_alive():
            return
        try:
            self._finished.put(None, timeout=max(0.0, deadline - time.monotonic()))
        except queue.Full:
            logger.warning("the database did not answer within the grace time")
        self._join("commit", deadline)
        self._commit.give_up()
        self._join("commit", time.monotonic() + 1)

    def _join(self, stage: str, deadline: float) -> None:
        if not self._threads[stage].is_alive():
            return  # or it was never started
        self._threads[stage].join(max(0.0, deadline - time.monotonic()))
        if self._threads[stage].is_alive():
            logger.warning("the %s stage did not end within the grace time", stage)

    def _start_threads(self) -> None:
        try:
            for thread in self._threads.values():
                thread.start()
        except RuntimeError as error:
            if not is_short_of_memory(error):
                raise
            logger.critical("too little memory for the worker's threads (%s); it ends", error)
            raise SystemExit(exit_codes.FAILURE) from None

    def _guard(self, stage: str, run: Callable[[], None]) -> None:
        # A worker without one of its stages would live on and do nothing.
        try:
            run()
        except BaseException as error:
            fault = fault_of(error)
            self._death = self._death or fault  # others may follow from the first
            if fault.ends_worker:
                logger.critical("%s; the worker ends: %s", fault.value, _first_line(error))
                self._on_death(exit_codes.DEVICE_LOST)
                return
            logger.critical("the %s stage died; the worker ends", stage, exc_info=True)
            self._on_death(exit_codes.FAILURE)
            raise


def _first_line(error: BaseException) -> str:
    # What follows is advice of CUDA's on how to debug.
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
