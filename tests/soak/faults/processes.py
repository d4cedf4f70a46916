"""Faults of processes: killed, stopped, restarted."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

from tests.soak.faults.fault import fault
from tests.soak.site import Site

_PATIENCE_S = 60.0  # its grace time is 25


@fault("worker-killed")
def _worker_killed(site: Site, chance: random.Random) -> Iterator[float]:
    post = site.one_of(site.workers, chance)
    post.send(signal.SIGKILL)
    yield 0


@fault("worker-stopped")
def _worker_stopped(site: Site, chance: random.Random) -> Iterator[float]:
    """For longer than a lease: others take its jobs, and it comes back with them in its hands."""
    post = site.one_of(site.workers, chance)
    stopped = post.process.process
    with site.taking(post):
        post.send(signal.SIGSTOP)
        yield site.lease * chance.uniform(1.2, 2)
        if stopped.poll() is None:
            stopped.send_signal(signal.SIGCONT)


@fault("worker-restarted")
def _worker_restarted(site: Site, chance: random.Random) -> Iterator[float]:
    post = site.one_of(site.workers, chance)
    worker = post.process
    with site.taking(post):
        post.send(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_S
        while worker.process.poll() is None and time.monotonic() < deadline:
            yield 0.2
        if worker.process.poll() is None:
            post.note_end(-1, f"it did not end within {_PATIENCE_S:g} s after SIGTERM")
            worker.kill()


@fault("reconciler-killed")
def _reconciler_killed(site: Site, chance: random.Random) -> Iterator[float]:
    site.reconciler.send(signal.SIGKILL)
    yield 0
