"""The command ``labelmill worker``."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from itertools import count
from typing import Annotated

import typer
from celery.utils.nodenames import default_nodename, host_format

from labelmill.broker.connection import open_broker
from labelmill.broker.heartbeat import heartbeat_of
from labelmill.broker.heartbeat import is_ready as takes_jobs
from labelmill.core.errors import BrokerUnavailable, ConfigurationError
from labelmill.local import parts
from labelmill.local.devices import choose
from labelmill.local.process import spawn
from labelmill.local.supervisor import Supervisor, Worker

_DEFAULT_NAME = "labelmill@%h"


class LogLevel(StrEnum):
    """How much a worker logs."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


_ANSWER_S = 1.0


def worker(
    models: Annotated[
        str | None,
        typer.Option(help="The models to serve, separated by commas; by default all."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="The worker's name; %h is the host's. Each worker has its own: by default the next"
            " that is free. With --devices only @ and the part behind it.",
            show_default=_DEFAULT_NAME,
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            help="Run workers on these devices, restarted when they end: all (every GPU), cpu, or"
            " cuda:0,cuda:2. By default one worker alone.",
            show_default=False,
        ),
    ] = None,
    per_device: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many workers on each device (1), by default of all.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option(help="How much to log.", case_sensitive=False)
    ] = LogLevel.INFO,
) -> None:
    """Run a worker: take groups of jobs, run the models, write the rows.

    It stops at Ctrl-C or SIGTERM, after the group on the device; the rest goes back at once. With
    --devices or --per-device it is several, called gpu0.1@HOST, gpu0.2@HOST and so on.

    Examples:

      labelmill worker --models topics,digits

      labelmill worker --name gpu1@%h --log-level warning

      labelmill worker --devices all --per-device 2
    """
    if models is not None:
        os.environ["LABELMILL_MODELS"] = models
    if devices is None and per_device is None:
        raise typer.Exit(_work(name, log_level))
    raise typer.Exit(_supervise(devices or "all", per_device or 1, name or "@%h", log_level))


def _work(name: str | None, log_level: str) -> int:
    """Be one worker; its exit code."""
    from labelmill.worker.ending import EarlyEnd

    early_end = EarlyEnd()
    # The app reads the environment when it is imported.
    from labelmill.worker.celery import app
    from labelmill.worker.presence import Presence
    from labelmill.worker.settings import WorkerSettings

    settings = WorkerSettings()
    if name is None:
        claimed = Presence.claim(_default_names(), settings, patience=0)
    else:
        claimed = Presence.claim([host_format(default_nodename(name))], settings)
    with closing(claimed) as presence:
        early_end.presence = presence
        # Several workers may write to one stream.
        app.conf.worker_log_format = f"[%(asctime)s: %(levelname)s/{presence.name}] %(message)s"
        process = app.Worker(
            hostname=presence.name,
            loglevel=log_level.upper(),
            # Workers of other hosts have nothing to tell this one.
            without_gossip=True,
            without_mingle=True,
            early_end=early_end,
            presence=presence,
        )
        process.start()
    return int(process.exitcode or 0)


def _default_names() -> Iterator[str]:
    """``labelmill@host``, then ``labelmill-2@host`` and so on."""
    first, _, host = host_format(_DEFAULT_NAME).partition("@")
    yield f"{first}@{host}"
    for number in count(2):
        yield f"{first}-{number}@{host}"


def _supervise(devices: str, per_device: int, name: str, log_level: str) -> int:
    """Keep workers on several devices running; the worst of their exit codes."""
    from labelmill.worker.settings import WorkerSettings

    prefix, at, host = host_format(name).partition("@")
    if prefix or not (at and host):
        raise ConfigurationError(
            f"--name {name}: with --devices workers are called gpu0.1@HOST and so on; give the part"
            " behind the @ alone, such as --name @%h-b"
        )
    settings = WorkerSettings()
    # A Redis that is silent must not keep signals waiting for long.
    broker = open_broker(settings.broker_url, answer_seconds=_ANSWER_S)

    def start(worker: Worker, per_device: int, workers: int) -> subprocess.Popen[bytes]:
        part = parts.environment(worker.device, settings, per_device=per_device, workers=workers)
        words = ["--name", worker.name, "--log-level", log_level]
        return spawn(
            [sys.executable, "-m", "labelmill", "worker", *words],
            env=os.environ | part,
            stop_signal=signal.SIGTERM,
        )

    def is_ready(worker: Worker) -> bool:
        try:
            beat = heartbeat_of(broker, worker.name)
        except BrokerUnavailable:
            return False
        return bool(
            beat and takes_jobs(beat) and worker.process and beat["pid"] == worker.process.pid
        )

    logging.basicConfig(
        level=log_level.upper(),
        format="[%(asctime)s: %(levelname)s/Supervisor] %(message)s",
        stream=sys.stderr,
    )
    return Supervisor(
        choose(devices),
        per_device,
        host=host,
        spawn=start,
        is_ready=is_ready,
        grace=settings.shutdown_grace,
    ).run()
