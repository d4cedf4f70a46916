"""Feeding: how much of a fast device one machine's host can keep busy, and what that costs a text.

The device is simulated (:mod:`.simulated`): 30,000 texts of about 52 tokens a second, or 3,000
images. Around it all is real: Redis, tokenising, decoding, rows. One worker and two share the
device. Then the host's steps of one worker are run one after the other in this process, for the
processor time of each.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from labelmill.bench import checkpoints, inputs, vocabulary
from labelmill.bench.endtoend import EndToEnd, end_to_end
from labelmill.bench.facts import MODEL_PACKAGES, QUEUE_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.trial import Load
from labelmill.bench.report import Measure, Report
from labelmill.bench.simulated import (
    SECONDS_A_TEXT,
    SECONDS_AN_IMAGE,
    SimulatedGpuEngine,
    slow_down,
)
from labelmill.bench.tables import ModelTable
from labelmill.broker import announcements, message
from labelmill.broker.leases import MAX_LEASES, Lease, Leases
from labelmill.client import Client, NewJob
from labelmill.core.catalog import ModelSpec
from labelmill.db import schema
from labelmill.db.database import Database
from labelmill.local.redis import RedisServer
from labelmill.worker import steps
from labelmill.worker.job import InFlightJob

_WORKERS = (1, 2)
_TOKENS = 52
_SLOW_SECONDS = 1 / 2_000  # of a device that one worker can keep busy here
_FULL_TEXTS, _SMOKE_TEXTS = 40_000, 300
_FULL_IMAGES, _SMOKE_IMAGES = 1_000, 16
_FULL_GROUP, _SMOKE_GROUP = 1024, 64
_QUEUE = "tickets"


def run(options: Options, log: Log) -> Report:
    """Feed a simulated device from one worker and from two, then time the steps."""
    texts = inputs.texts(options.pick(_FULL_TEXTS, _SMOKE_TEXTS), mean=_TOKENS)
    warm_up = inputs.texts(options.pick(4_096, 64), seed=1, mean=_TOKENS)
    measures: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="labelmill-bench-") as name:
        folder = Path(name)
        vocabulary.tokenizer().save_pretrained(folder)
        table: ModelTable = {
            "task": "text-classification",
            "checkpoint": str(folder),
            "engine": "labelmill.bench.simulated:SimulatedGpuEngine",
            "group_size": options.pick(_FULL_GROUP, _SMOKE_GROUP),
        }
        with end_to_end() as ours:
            for workers in _WORKERS:
                measures += _fed(ours, table, Load(texts, warm_up), workers, options, log)
            slow_down(folder, _SLOW_SECONDS)
            load = Load(texts, warm_up)
            measures.append(_fed(ours, table, load, 1, options, log, _SLOW_SECONDS)[0])
            measures += _images(ours, folder / "images", options, log)
        costs = _costs(table, texts[: options.pick(20_480, 128)], folder)
    total = sum(costs.values())
    log("µs of one core a text: " + ", ".join(f"{step} {cost:.1f}" for step, cost in costs.items()))
    measures += [_cost(f"a text, {step}", cost) for step, cost in costs.items()]
    measures.append(_cost("a text, from Redis to its row", total))
    return Report(
        "feed",
        measures,
        options.as_json(),
        facts(*MODEL_PACKAGES, *QUEUE_PACKAGES),
        notes=[f"the device is simulated, and shared; texts of {_TOKENS} tokens; rows into SQLite"],
    )


def _fed(
    ours: EndToEnd,
    table: ModelTable,
    load: Load,
    workers: int,
    options: Options,
    log: Log,
    seconds: float = SECONDS_A_TEXT,
) -> list[Measure]:
    title = f"{workers} worker{'s' * (workers > 1)}, a device of {1 / seconds:,.0f} texts/s"
    rate = Measure(title, "texts/s", "the device at its best")
    cpu = Measure(f"{title}, processor time a text", "µs")
    for _ in range(options.repeats):
        figures = ours.trial(table, load, replicas=workers)
        rate.add(figures.rate, 1 / seconds)
        cpu.add(1e6 * figures.cpu)
        log(f"{title}: {figures.rate:,.0f} texts/s, {1e6 * figures.cpu:.1f} µs a text")
    return [rate, cpu]


def _images(ours: EndToEnd, folder: Path, options: Options, log: Log) -> list[Measure]:
    """From JPEG files to rows."""
    files = inputs.photographs(folder, options.pick(_FULL_IMAGES, _SMOKE_IMAGES), (500, 375))
    table: ModelTable = {
        "task": "image-classification",
        "checkpoint": str(checkpoints.tiny_vit(folder / "vit")),
        "engine": "labelmill.bench.simulated:SimulatedGpuImages",
        "group_size": options.pick(128, 16),
    }
    load = Load(files * options.pick(4, 1), files[: options.pick(256, 16)])
    title = f"1 worker, a device of {1 / SECONDS_AN_IMAGE:,.0f} JPEGs/s of 500×375"
    rate = Measure(title, "images/s", "the device at its best")
    cpu = Measure(f"{title}, processor time an image", "µs")
    for _ in range(options.repeats):
        figures = ours.trial(table, load, image_root=folder)
        rate.add(figures.rate, 1 / SECONDS_AN_IMAGE)
        cpu.add(1e6 * figures.cpu)
        log(f"{title}: {figures.rate:,.0f} images/s, {1e6 * figures.cpu:.0f} µs an image")
    return [rate, cpu]


def _cost(title: str, microseconds: float) -> Measure:
    measure = Measure(title, "µs")
    measure.add(microseconds)
    return measure


def _costs(table: ModelTable, texts: list[str], folder: Path) -> dict[str, float]:
    """Microseconds of processor time a text of each step, all threads of this process together."""
    engine = SimulatedGpuEngine(ModelSpec.model_validate(table))
    url = f"sqlite:///{folder / 'steps.db'}"
    schema.upgrade(url)
    clock = _Clock()
    with (
        RedisServer() as server,
        redis.Redis.from_url(server.url) as broker,
        Database.open(url) as database,
        Client(server.url, url) as client,
    ):
        leases = Leases(broker, 60.0, 2_000)
        client.submit_many(_QUEUE, (NewJob(text=text) for text in texts))
        gc.collect()
        gc.freeze()  # as a worker does
        while taken := _take(leases, clock):
            with clock.step("read messages"):
                now = leases.now()
                jobs = [InFlightJob(lease, message.decode(lease.message), now) for lease in taken]
            with clock.step("tokenise"):
                steps.prepare(engine, jobs)
            with clock.step("lay end to end and launch"):
                steps.forward(engine, jobs)
            steps.wait(engine, jobs)
            with clock.step("decode labels"):
                outcomes = steps.decode(engine, jobs)
            with clock.step("make rows"):
                rows = [
                    steps.row(_QUEUE, engine, job, outcome, worker="bench", finished_at=now)
                    for job, outcome in zip(jobs, outcomes, strict=True)
                ]
            with clock.step("write rows"):
                database.results.write(rows)
            with clock.step("acknowledge and announce"):
                leases.ack(_QUEUE, [job.lease for job in jobs], announcements.of_results(rows))
    return {step: 1e6 * seconds / len(texts) for step, seconds in clock.seconds.items()}


def _take(leases: Leases, clock: _Clock) -> list[Lease]:
    with clock.step("take leases"):
        return leases.take(_QUEUE, MAX_LEASES, claim=True).leases


class _Clock:
    """Adds up the processor time of this process's threads, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[name] += time.process_time() - start
