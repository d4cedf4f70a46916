"""The whole worker on a device: Redis to rows, with one process on it and with several."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from labelmill.bench import inputs, models
from labelmill.bench.device.parts import succeeds
from labelmill.bench.device.session import Session
from labelmill.bench.endtoend import EndToEnd, end_to_end
from labelmill.bench.errors import BenchmarkError
from labelmill.bench.peers import BATCH
from labelmill.bench.queueing.trial import Load
from labelmill.bench.queueing.watch import Watch
from labelmill.bench.report import Measure
from labelmill.bench.turns import take_turn, timed
from labelmill.bench.utilisation import Utilisation, joules

_PROCESSES, _SMOKE_PROCESSES = (1, 2, 4), (1,)
# Of the texts through the worker, or a GPU is done before it can be asked.
_ROUNDS, _SMOKE_ROUNDS = 8, 1
_PAUSE_S = 0.02


def whole_worker(session: Session) -> None:
    """Measure texts a second from Redis to rows, and how busy the device is meanwhile.

    Raises:
        BenchmarkError: some number of workers failed; those of the others are measured.
    """
    on, title, texts = session.on, "DistilBERT", session.texts
    checkpoint = session.checkpoint(title)
    engine, pipeline = on.text_engine(checkpoint), on.pipeline(checkpoint)
    jobs = models.text_jobs(texts)
    models.run(engine, jobs)
    pipeline.batched(texts[:BATCH])
    sides: dict[str, Callable[[], float]] = {
        "engine": lambda: timed(lambda: models.run_overlapped(engine, jobs)).seconds,
        "pipeline": lambda: timed(lambda: pipeline.batched(texts)).seconds,
        "sorted": lambda: timed(lambda: pipeline.sorted(texts)).seconds,
    }
    what = f"{title}, Redis to rows"
    alone = session.measure(what, "texts/s", "its engine alone", 0.8)
    usual = session.measure(what, "texts/s", f"pipeline, batches of {BATCH}", 5.0)
    best = session.measure(what, "texts/s", f"pipeline, sorted, batches of {BATCH}")
    numbers = _SMOKE_PROCESSES if session.smoke else _PROCESSES
    of_number = {
        number: session.measure(f"{what}, {number} on the card", "texts/s") for number in numbers
    }
    failed = set()
    with end_to_end() as ours:
        for repeat in session.repeats():
            taken = take_turn(sides, repeat)
            fastest = 0.0
            for number, measure in of_number.items():
                trial = partial(_add_trial, ours, session, checkpoint, number, measure)
                if succeeds(f"{number} on the card", trial, session):
                    fastest = max(fastest, measure.ours[-1])
                else:
                    failed.add(number)
            if fastest:
                alone.add(fastest, len(texts) / taken["engine"])
                usual.add(fastest, len(texts) / taken["pipeline"])
                best.add(fastest, len(texts) / taken["sorted"])
    if failed:
        raise BenchmarkError(f"it failed for {', '.join(map(str, sorted(failed)))} on the card")


def _add_trial(
    ours: EndToEnd, session: Session, checkpoint: Path, number: int, measure: Measure
) -> None:
    """Measure so many workers, which share the card and the cores, once."""
    texts = session.texts * (_SMOKE_ROUNDS if session.smoke else _ROUNDS)
    warm_up = inputs.texts(min(len(session.texts), 2 * session.on.group_size), seed=1) * number
    meter = _Meter(session.on.name)
    figures = ours.trial(
        session.on.table("text", checkpoint),
        Load(texts, warm_up),
        replicas=number,
        settings={} if number == 1 else _share(number),
        during=meter.look,
    )
    measure.add(figures.rate)
    session.note(f"{measure.what}: {figures.rate:,.0f} texts/s; {meter.says(len(texts))}")


class _Meter:
    """What the device does and takes while workers have jobs."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._busy: float | None = None
        self._joules: float | None = None

    def look(self, watch: Watch, _: object) -> None:
        """Look at it until no job waits any more."""
        before = joules(self._device)
        with Utilisation() as utilisation:
            while watch.waiting():
                time.sleep(_PAUSE_S)
        after = joules(self._device)
        self._busy = utilisation.mean
        self._joules = None if before is None or after is None else after - before

    def says(self, texts: int) -> str:
        """What it showed, in words."""
        if self._busy is None:
            return "no GPU could be asked"
        busy = f"the device is busy {self._busy:.0f} % of the time"
        if self._joules is None:
            return busy
        return f"{busy}, and takes {self._joules * 1e6 / texts:,.0f} J a million texts"


def _share(number: int) -> dict[str, str]:
    cores = os.cpu_count() or 1
    return {
        "LABELMILL_DEVICE_MEMORY": f"{1 / number:.3f}",
        "LABELMILL_CPU_THREADS": str(max(1, cores // number)),
    }
