"""The soak: load, faults, and an end at which all must be well."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis

from labelmill.client import NewJob
from tests.soak.faults.fault import Fault
from tests.soak.producers import Pace, producers_of
from tests.soak.report import Report
from tests.soak.site import GROUP_SIZE, Site
from tests.soak.watch import Watch
from tests.soak.weather import Weather
from tests.support.counting import wait_until_nothing_is_left

_LOOK_S = 0.02
_LOAD_S = 10.0
_END_S = 60.0
_SOON_S = 20.0


@dataclass
class Soak:
    """One soak.

    Parameters:
        site: just started.
        chance: draws the moments, the faults and the victims.
        report: is told what was counted.
    """

    site: Site
    chance: random.Random
    report: Report

    def run(
        self, faults: Sequence[Fault], seconds: float, pause: float, jobs_a_second: float | None
    ) -> None:
        """Submit jobs for so long while faults come and go; then wait for the last rows, and count.

        Parameters:
            pause: seconds between two faults, on average.
            jobs_a_second: half of what the workers can do, if None.
        """
        site, report = self.site, self.report
        self._until(self._all_are_ready, 2 * _END_S)
        rate = jobs_a_second or self._capacity() / 2
        report.tell("load", f"{rate:.0f} jobs/s")
        producers = producers_of(site, Pace(rate))
        weather = Weather(site, faults, pause, self.chance)
        watch = Watch(site, producers, weather.in_force, weather.last)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            weather.look()
            site.look()
            time.sleep(_LOOK_S)
        weather.clear()
        for each in producers:
            each.stop()
        self._until(lambda: not any(each.is_alive() for each in producers), _END_S)
        self._until(self._nothing_is_outstanding, _END_S + 4 * site.lease)
        idle = self._idle_workers()
        all_is_done = self._until(self._nothing_is_outstanding, _SOON_S)
        watch.stop()
        report.faults(weather.happened, weather.failed)
        report.rows(site)
        report.progress(watch, producers)
        report.processes(site, idle)
        report.none_of("hung submits", (each.name for each in producers if each.is_alive()))
        report.none_of("left in Redis", self._left_in_redis(_END_S if all_is_done else _SOON_S))

    def _capacity(self) -> float:
        """Rows a second, with the queue never empty."""
        with self.site.client() as client:
            first, began = self.site.audit.rows(), time.monotonic()
            while time.monotonic() < began + _LOAD_S:
                if self.site.submissions.outstanding(self.site.audit.rows()) < 20 * GROUP_SIZE:
                    ids = self.site.submissions.new_ids(10 * GROUP_SIZE)
                    jobs = [NewJob(text=f"pause {each}", id=each) for each in ids]
                    self.site.submissions.acknowledge(client.submit_many("scripted", jobs).ids)
            return (self.site.audit.rows() - first) / (time.monotonic() - began)

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for it, as long as there is hope; whether it came."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.site.look()
            time.sleep(0.1)
        return True

    def _all_are_ready(self) -> bool:
        return all(post.is_ready() for post in self.site.workers)

    def _nothing_is_outstanding(self) -> bool:
        return not self.site.submissions.without(self.site.audit.outcomes())

    def _idle_workers(self) -> list[str]:
        """The workers that do nothing, though there are jobs for all of them."""
        began, working = time.time(), set[str]()

        def all_have_worked() -> bool:
            working.update(self.site.audit.writers(began))
            if all(post.process.name in working for post in self.site.workers):
                return True
            if self.site.submissions.outstanding(self.site.audit.rows()) < 20 * GROUP_SIZE:
                ids = self.site.submissions.new_ids(10 * GROUP_SIZE)
                jobs = [NewJob(text=f"pause {each}", id=each) for each in ids]
                self.site.submissions.acknowledge(client.submit_many("scripted", jobs).ids)
            return False

        with self.site.client() as client:
            self._until(all_have_worked, _END_S)
        return [post.process.name for post in self.site.workers if post.process.name not in working]

    def _left_in_redis(self, seconds: float) -> list[str]:
        with self.site.broker() as broker:
            try:
                wait_until_nothing_is_left(broker, timeout=seconds)
            except AssertionError:
                kept = sorted(key.decode() for key in broker.scan_iter("labelmill:scripted:*"))
                return [f"{key}: {_content(broker, key)}" for key in kept]
        return []


def _content(broker: redis.Redis, key: str) -> str:
    kind = str(broker.type(key))
    content: object = kind
    if "hash" in kind:
        content = broker.hgetall(key)
    elif "zset" in kind:
        content = broker.zrange(key, 0, -1, withscores=True)
    return f"{content}"[:300]
