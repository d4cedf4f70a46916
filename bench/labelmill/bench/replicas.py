"""Replicas: what more workers on one queue bring, where the device is the limit.

The engine is :class:`.engines.WaitingEngine`, which sleeps for a fixed time a group, as a
worker's CPU does while a GPU computes. So one machine can carry several workers, and what is seen
is whether the queue and the database hold them up. Linear is the rate of one worker, times their
number.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from labelmill.bench.endtoend import EndToEnd
from labelmill.bench.engines import GROUP_SECONDS
from labelmill.bench.facts import QUEUE_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.chosen import chosen_databases
from labelmill.bench.queueing.messages import messages
from labelmill.bench.queueing.trial import Load
from labelmill.bench.report import Measure, Report
from labelmill.bench.tables import ModelTable, engine_table
from labelmill.bench.turns import take_turns
from labelmill.local.redis import RedisServer

_GOAL = 0.9
_ENGINE = "WaitingEngine"
_REPLICAS = (1, 2, 4)
_SMOKE_REPLICAS = (1, 2)
_FULL_GROUPS, _SMOKE_GROUPS = 160, 8  # for all workers together: a multiple of each number


def run(options: Options, log: Log) -> Report:
    """Measure one worker and several, on each database."""
    numbers = options.pick(_REPLICAS, _SMOKE_REPLICAS)
    jobs = options.group_size * options.pick(_FULL_GROUPS, _SMOKE_GROUPS)
    model = engine_table(_ENGINE, options.group_size)
    measures: list[Measure] = []
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        chosen = chosen_databases(options.database, fsync=options.fsync)
        for databases in stack.enter_context(chosen):
            ours = EndToEnd(server.url, databases)
            of_number = {
                number: Measure(f"{databases.kind}, {number} workers", "jobs/s", "linear", _GOAL)
                for number in numbers[1:]
            }
            sides = {str(number): _rate(ours, model, jobs, number, options) for number in numbers}
            for taken in take_turns(sides, options.repeats):
                for number, measure in of_number.items():
                    measure.add(taken[str(number)], taken["1"] * number)
                shown = ", ".join(f"{number}: {rate:,.0f}" for number, rate in taken.items())
                log(f"{databases.kind}, jobs/s by workers: {shown}")
            measures += of_number.values()
    limit = options.group_size / GROUP_SECONDS
    return Report(
        "replicas",
        measures,
        options.as_json(),
        facts(*QUEUE_PACKAGES),
        notes=[
            f"the simulated device takes {GROUP_SECONDS * 1000:g} ms a group of"
            f" {options.group_size}: at most {limit:,.0f} jobs/s a worker"
        ],
    )


def _rate(
    ours: EndToEnd, model: ModelTable, jobs: int, number: int, options: Options
) -> Callable[[], float]:
    load = Load(messages(jobs), messages(2 * number * options.group_size))
    return lambda: ours.trial(model, load, replicas=number).rate
