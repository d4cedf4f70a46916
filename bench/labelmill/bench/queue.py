"""The queue: jobs through Labelmill and through stock Celery, in one run.

The model is a no-op on both sides, so that what is measured is all that is around a model: Redis,
messages, leases or acknowledgements, and one committed row a job.

=====================  =========================================================================
queue to rows          jobs that wait in Redis until their rows are committed, by one worker
                       (:mod:`.queueing.trial` says how the clock runs)
worker's CPU time      processor time a job that the worker's processes used for it; of these
                       figures the one that others at work on the machine disturb least
latency                a lone job, from sending it to its committed row, on an idle worker
publishing             jobs from texts to messages in Redis (:mod:`.queueing.publishing`)
=====================  =========================================================================

The sides take turns on one Redis and on databases made alike, and change who begins. The peer is
taken at its best: with the pool that is the fastest in a short trial of each, with rows written
through the bare driver, and with PostgreSQL told not to wait for the disk, which would cost it a
wait a job and us a wait a group. Our side is ``labelmill worker`` as it comes.

It fails unless each job of each trial has exactly one row.
"""

from __future__ import annotations

import redis

from labelmill.bench.facts import QUEUE_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.chosen import chosen_databases
from labelmill.bench.queueing.rounds import Rounds
from labelmill.bench.report import Report
from labelmill.local.redis import RedisServer


def run(options: Options, log: Log) -> Report:
    """Measure Labelmill's queue against stock Celery's."""
    jobs = options.pick(options.jobs, min(options.jobs, 1000))
    with (
        RedisServer() as server,
        chosen_databases(options.database, fsync=options.fsync) as databases,
    ):
        with redis.Redis.from_url(server.url) as broker:
            redis_version = broker.info("server")["redis_version"]
        measured_on = facts(*QUEUE_PACKAGES) | {
            "redis-server": redis_version,
            **{str(each.kind): each.version() for each in databases},
        }
        rounds = Rounds(server.url, jobs, options.group_size, log)
        rates = {each: rounds.pool_rates(each) for each in databases}
        pools = {each: max(rates[each], key=rates[each].__getitem__) for each in databases}
        measures = rounds.run(databases, pools, options.repeats)
    return Report(
        "queue",
        measures,
        {**options.as_json(), "jobs": jobs},
        measured_on,
        notes=[
            f"Celery's pool on {each.kind}: {pools[each]}, the best of "
            + ", ".join(f"{pool} ({rate:,.0f}/s)" for pool, rate in rates[each].items())
            for each in databases
        ],
    )
