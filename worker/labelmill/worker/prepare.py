"""The prepare stage: take jobs, read them, and make their inputs ready."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

import redis
from celery.utils.log import get_logger

from labelmill.broker import message
from labelmill.broker.connection import BROKER_ERRORS
from labelmill.broker.leases import MAX_LEASES, Lease, LeaseKeeper, Leases, Taken
from labelmill.broker.leases.doorbell import Doorbell
from labelmill.broker.outage import Outage
from labelmill.broker.queues import QueueKeys
from labelmill.broker.refusals import Refusal
from labelmill.engines.load import AnyEngine
from labelmill.worker import steps
from labelmill.worker.background import BackgroundWork
from labelmill.worker.batcher import BatchQueue
from labelmill.worker.job import Batch, InFlightJob

logger = get_logger(__name__)

# The longest sleep of an idle worker. A ring or a job ends it sooner; only a lease that another
# worker let expire, or gave back after its first attempt, waits for it.
_IDLE_SECONDS = 1.0
_BROKER_PAUSE_SECONDS = 1.0
_TAKE = "take jobs"
# How long a queue that Redis refuses is left alone, while the others go on.
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 10.0
_LONGEST_REASON = 200  # characters


@dataclass(slots=True)
class _Trouble:
    """A queue that Redis refuses.

    Attributes:
        why: in Redis' words.
        until: when it is tried again, by the monotonic clock.
        backoff: how long it was left alone the last time, in seconds.
    """

    why: str = ""
    until: float = 0.0
    backoff: float = _FIRST_BACKOFF_SECONDS / 2

    def back_off(self) -> None:
        """Leave it alone for up to twice as long as the last time."""
        self.backoff = min(2 * self.backoff, _LONGEST_BACKOFF_SECONDS)
        self.until = time.monotonic() + self.backoff * random.uniform(0.5, 1)  # noqa: S311


class PrepareStage:
    """Takes jobs whenever there is room for them, so that the device never waits for Redis.

    Parameters:
        engines: by model, which is the name of the queue.
        max_attempts: how often a job is started before it counts as poisoned.
        is_revoked: whether a job's id was revoked.
        ready: where prepared jobs go.
        finished: where jobs go that end here, with the error that ends them.
        outage: who is told when Redis does not answer.
        paused: the models for which nothing is taken now; others change it.
    """

    def __init__(
        self,
        engines: Mapping[str, AnyEngine],
        leases: Leases,
        keeper: LeaseKeeper,
        doorbell: Doorbell,
        *,
        max_attempts: int,
        is_revoked: Callable[[str], bool],
        ready: BatchQueue,
        finished: queue.Queue[Batch | None],
        outage: Outage,
        paused: Set[str] = frozenset(),
    ) -> None:
        self._engines = engines
        self._leases = leases
        self._keeper = keeper
        self._doorbell = doorbell
        self._max_attempts = max_attempts
        self._is_revoked = is_revoked
        self._ready = ready
        self._finished = finished
        self._outage = outage
        self._paused = paused
        self._order = list(engines)
        self._troubles: dict[str, _Trouble] = {}
        self._background = BackgroundWork(on_done=doorbell.ring)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Take and prepare until :meth:`stop`; Redis being away is waited out."""
        while not self._stopping.is_set():
            try:
                self._round()
            except BROKER_ERRORS as error:
                self._outage.note(_TAKE, error)
                self._stopping.wait(_BROKER_PAUSE_SECONDS)
            else:
                self._outage.over(_TAKE)

    def stop(self) -> None:
        """Take nothing more."""
        self._stopping.set()
        self._doorbell.ring()

    def troubles(self) -> dict[str, str]:
        """The queues that Redis refuses, and why in its words; from any thread."""
        return {name: trouble.why for name, trouble in self._troubles.copy().items()}

    def _round(self) -> None:
        """Visit each queue once, and rest unless one may have more."""
        self._order.append(self._order.pop(0))  # no queue is always the first
        sleep, more = _IDLE_SECONDS, False
        waitable: list[str] = []
        full: list[str] = []
        for name in self._order:
            if self._stopping.is_set():
                return
            if name in self._paused:
                continue
            if name in self._troubles and time.monotonic() < self._troubles[name].until:
                continue
            room = self._room(name)
            if not room:
                full.append(name)
                continue
            try:
                taken = self._take(name, room)
            except (redis.ResponseError, Refusal) as error:
                if isinstance(error, Refusal) and error.word != "NOPERM":
                    raise
                self._note_trouble(name, error)
                continue
            self._note_no_trouble(name)
            if taken.leases:
                self._keeper.hold(taken.leases)
                if taken.leases[0].attempt > 1:
                    # They are, unless it came by a call that was repeated.
                    self._empty_hands(but=len(taken.leases))
                self._prepare(name, taken.leases)
                if taken.leases[0].attempt > 1:
                    # It may kill this worker: nobody else is taken along.
                    self._empty_hands()
            if len(taken.leases) == min(room, MAX_LEASES):
                more = True
            else:
                # Its lists were empty; what has come since then answers the doorbell's peek.
                waitable += QueueKeys(name).lists
                sleep = min(sleep, taken.due_in if taken.due_in is not None else sleep)
        if not more:
            self._rest(waitable, sleep, full)

    def _note_trouble(self, name: str, error: redis.RedisError) -> None:
        why = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
        trouble = self._troubles.setdefault(name, _Trouble())
        if why != trouble.why:
            logger.warning("Redis refuses the queue %s, the others go on: %s", name, why)
        trouble.why = why
        trouble.back_off()

    def _note_no_trouble(self, name: str) -> None:
        if self._troubles.pop(name, None):
            logger.info("Redis serves the queue %s again", name)

    def _rest(self, waitable: list[str], seconds: float, full: list[str]) -> None:
        """Wait for an entry in one of the lists, or for room for one of the full queues."""
        end = time.monotonic() + seconds
        while self._doorbell.wait(waitable, max(0.0, end - time.monotonic())):
            if self._stopping.is_set() or any(self._room(name) for name in full):
                return

    def _room(self, name: str) -> int:
        """How many more jobs of the model may be taken, beside those prepared in the background."""
        # For a moment, or while the database is slow, a job counts in both.
        return max(0, self._ready.room(name) - self._background.jobs(name))

    def _take(self, name: str, room: int) -> Taken:
        room = min(room, MAX_LEASES)
        taken = self._leases.take(name, room, claim=self._keeper.count == 0)
        if taken.expired and not taken.leases:
            # Claimed before any other queue is visited, or those would fill the hands again.
            self._empty_hands()
            taken = self._leases.take(name, room, claim=self._keeper.count == 0)
        return taken

    def _empty_hands(self, *, but: int = 0) -> None:
        while not self._keeper.wait_empty(timeout=0.1, but=but):
            if self._stopping.is_set():
                return

    def _prepare(self, model: str, leases: Sequence[Lease]) -> None:
        engine = self._engines[model]
        admitted: list[InFlightJob] = []
        ended: list[InFlightJob] = []
        now = self._leases.now()
        for lease in leases:
            job = InFlightJob(lease, message.decode(lease.message), now)
            if self._delayed(job):
                continue
            job.output = steps.refusal(
                job, engine, max_attempts=self._max_attempts, is_revoked=self._is_revoked
            )
            (ended if job.output else admitted).append(job)
        if ended:
            self._finished.put(Batch(model, ended))
        make_ready = partial(self._make_ready, model, admitted)
        if engine.waits([job.parsed for job in admitted]):
            self._background.begin(model, len(admitted), make_ready)
        else:
            make_ready()

    def _make_ready(self, model: str, admitted: Sequence[InFlightJob]) -> None:
        prepared, failed = steps.prepare(self._engines[model], admitted)
        if prepared:
            self._ready.put(model, prepared)
        if failed:
            self._finished.put(Batch(model, failed))

    def _delayed(self, job: InFlightJob) -> bool:
        eta = job.message.eta
        if eta is None or eta <= job.started_at:
            return False
        try:
            self._leases.delay(job.lease, eta)
        except BROKER_ERRORS as error:
            self._outage.note(_TAKE, error)  # its lease expires
        self._keeper.drop([job.lease])
        return True
