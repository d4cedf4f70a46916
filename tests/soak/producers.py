"""The producers: threads that submit jobs, and try again until they are told that they have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from labelmill.client import Client, NewJob
from labelmill.core.errors import DuplicateJob, ServiceUnavailable
from tests.soak.site import Site

_AGAIN_S = 0.5
_LOOK_S = 0.02
_TOGETHER = 50


@dataclass
class Pace:
    """How many jobs a second are submitted, by all producers together."""

    jobs_a_second: float
    _began: float = field(default_factory=time.monotonic)
    _drawn: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def draw(self, jobs: int) -> bool:
        """Whether so many more may be submitted now."""
        with self._lock:
            if self._drawn > (time.monotonic() - self._began) * self.jobs_a_second:
                return False
            self._drawn += jobs
            return True


class Producer(threading.Thread):
    """Submits jobs through a client of its own, until :meth:`stop`.

    Parameters:
        together: how many are submitted at a time; each by itself if 1.

    Attributes:
        last_success: when it was last told that jobs are submitted, by the monotonic clock.
        longest_call: seconds that one call of the client's took at most.
        errors: what it was told that is no ServiceUnavailable.
    """

    def __init__(self, site: Site, pace: Pace, together: int) -> None:
        super().__init__(name=f"producer of {together}", daemon=True)
        self._site = site
        self._pace = pace
        self._together = together
        self._stopping = threading.Event()
        self.last_success = time.monotonic()
        self.longest_call = 0.0
        self.errors: list[str] = []

    def run(self) -> None:
        """Submit, at the pace of all."""
        with self._site.failing_client() as client:
            submit = self._submit_one if self._together == 1 else self._submit_many
            while not self._stopping.is_set():
                if self._pace.draw(self._together):
                    self._insist(submit, client, self._site.submissions.new_ids(self._together))
                else:
                    self.last_success = time.monotonic()  # there was nothing to do
                    self._stopping.wait(_LOOK_S)

    def stop(self) -> None:
        """Submit nothing more, once what was begun is acknowledged."""
        self._stopping.set()

    def _insist(
        self, submit: Callable[[Client, list[str]], None], client: Client, ids: list[str]
    ) -> None:
        while True:
            began = time.monotonic()
            try:
                submit(client, ids)
            except ServiceUnavailable:
                time.sleep(_AGAIN_S)
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}"[:300])
                time.sleep(_AGAIN_S)
            else:
                self._site.submissions.acknowledge(ids)
                self.last_success = time.monotonic()
                return
            finally:
                self.longest_call = max(self.longest_call, time.monotonic() - began)

    def _submit_one(self, client: Client, ids: list[str]) -> None:
        try:
            client.submit_text("scripted", f"pause {ids[0]}", id=ids[0])
        except DuplicateJob:
            return  # the ledger has it since a try of which we heard nothing

    def _submit_many(self, client: Client, ids: list[str]) -> None:
        submitted = client.submit_many(
            "scripted", [NewJob(text=f"pause {each}", id=each) for each in ids]
        )
        if submitted.rejected:
            raise AssertionError(submitted.rejected)


def producers_of(site: Site, pace: Pace) -> list[Producer]:
    """One that submits single jobs, and one that submits many at a time; started."""
    producers = [Producer(site, pace, 1), Producer(site, pace, _TOGETHER)]
    for each in producers:
        each.start()
    return producers
