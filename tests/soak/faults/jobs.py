"""Faults of jobs: those that no worker survives, that no database takes, and wrong clocks."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from labelmill.broker.queues import QueueKeys
from labelmill.client import Client
from labelmill.core.errors import ServiceUnavailable
from tests.soak.faults.fault import fault
from tests.soak.refusal import REFUSED
from tests.soak.site import SERVERS, Busy, Site
from tests.support.rows import a_message

_MANY = 50
_CLOCK_S = 600
_IN_2099 = datetime(2099, 1, 1, tzinfo=UTC)
_SETTLED_S = 120.0


@fault("poisonous-job")
def _poisonous(site: Site, chance: random.Random) -> Iterator[float]:
    """It kills each worker that runs it, and is buried; its siblings are not."""
    yield from _one_job(site, "kill", ("poisoned",))


@fault("refused-row")
def _refused(site: Site, chance: random.Random) -> Iterator[float]:
    """The database's trigger refuses its row, and no other."""
    yield from _one_job(site, REFUSED, ("unstorable",))


def _one_job(site: Site, text: str, ending_with: Sequence[str]) -> Iterator[float]:
    site.need(*SERVERS)
    [job] = site.submissions.new_ids(1, ending_with=ending_with)
    with site.client() as client:
        try:
            client.submit_text("scripted", f"{text} {job}", id=job)
        except ServiceUnavailable:
            raise Busy from None
        site.submissions.acknowledge([job])
        yield from _until_finished(client, job)


def _until_finished(client: Client, job: str) -> Iterator[float]:
    deadline = time.monotonic() + _SETTLED_S
    while time.monotonic() < deadline:
        try:
            if client.result(job) is not None:
                return
        except ServiceUnavailable:
            pass  # by another fault
        yield 0.5


@fault("bare-message-of-2099")
def _bare_of_2099(site: Site, chance: random.Random) -> Iterator[float]:
    """Messages without a ledger, from one whose clock is far ahead."""
    site.need("redis")
    ids = site.submissions.new_ids(_MANY)
    messages = [
        a_message(job, {"text": f"pause {job}"}, "scripted", enqueued_at=_IN_2099) for job in ids
    ]
    with site.broker() as broker:
        broker.lpush(QueueKeys("scripted").list_name(0), *messages)
    site.submissions.acknowledge(ids)
    yield 0


@fault("producer-ahead")
def _ahead(site: Site, chance: random.Random) -> Iterator[float]:
    yield from _by_another_clock(site, _CLOCK_S)


@fault("producer-behind")
def _behind(site: Site, chance: random.Random) -> Iterator[float]:
    yield from _by_another_clock(site, -_CLOCK_S)


def _by_another_clock(site: Site, seconds: int) -> Iterator[float]:
    ids = site.submissions.new_ids(_MANY)
    file = site.folder / f"{uuid4()}.jsonl"
    file.write_text("".join(json.dumps({"id": job, "text": f"pause {job}"}) + "\n" for job in ids))
    columns = ("--text-column", "text", "--id-column", "id")
    submit = site.commands.start(
        *(sys.executable, "-m", "tests.support.faulty", "clock", str(seconds)),
        *("submit", "scripted", str(file), *columns),
        wait=False,
    )
    deadline = time.monotonic() + _SETTLED_S
    while submit.process.poll() is None and time.monotonic() < deadline:
        yield 0.2
    if submit.process.poll() is None:
        submit.kill()
    if submit.process.returncode == 0:
        site.submissions.acknowledge(ids)
