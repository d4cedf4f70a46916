"""A whole Labelmill on this machine: Redis, the database, workers, reconciler and gateway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from db import schema
from embedded import gateway
from embedded.errors import EmbeddedServerError
from embedded.process import exited_within, launcher, parent_death, tail
from embedded.redis import RedisServer
from producer.contract.queues import heartbeat_key

_START_TIMEOUT_S = 180  # a worker imports torch and loads its models first
_STOP_TIMEOUT_S = 60
_LOOK_AGAIN_S = 0.1
_RECONCILE_S = 60


class Stack:
    """Redis, a migrated database, workers that are ready, a reconciler and, if asked for, a
    gateway, until :meth:`stop`.

    Parameters:
        directory: where Redis keeps its data and the workers write their logs.
        database_url: the results database.
        models_file: the models.
        models: which of them to serve; all if empty.
        image_root: the folder under which the workers read images.
        workers: how many.
        appendonly: whether Redis keeps the jobs over a restart.
        gateway_port: of 127.0.0.1; None for no gateway.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str,
        models_file: Path,
        models: str = "",
        image_root: Path,
        workers: int = 1,
        appendonly: bool = True,
        gateway_port: int | None = None,
    ) -> None:
        self._directory = directory
        self._database_url = database_url
        self._settings = {
            "LABELMILL_DATABASE_URL": database_url,
            "LABELMILL_MODELS_FILE": str(models_file.resolve()),
            "LABELMILL_MODELS": models,
            "LABELMILL_IMAGE_ROOT": str(image_root.resolve()),
            "LABELMILL_UPLOAD_STORE": str((directory / "uploads").resolve()),
        }
        self._gateway_port = gateway_port
        self._redis = RedisServer(directory / "redis", appendonly=appendonly)
        self._names = [f"worker{number}@{os.uname().nodename}" for number in range(1, workers + 1)]
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables by which clients and workers find this stack."""
        return {"LABELMILL_BROKER_URL": self._redis.url} | self._settings

    @property
    def gateway_url(self) -> str | None:
        """Where the page and the API are; None without a gateway."""
        return None if self._gateway_port is None else f"http://127.0.0.1:{self._gateway_port}"

    @property
    def worker_names(self) -> list[str]:
        """The workers, by name."""
        return list(self._names)

    def start(self) -> None:
        """Start everything and wait until the workers are ready.

        Raises:
            EmbeddedServerError: something does not start; the message has the end of its log.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            self._redis.start()
            schema.upgrade(self._database_url)
            self._forget_heartbeats()
            for name in self._names:
                self._spawn(name, "worker", "--name", name)
            self._spawn("reconciler", "reconcile", "--every", str(_RECONCILE_S))
            if self._gateway_port is not None:
                self._spawn("gateway", "serve", "--port", str(self._gateway_port))
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the children in good order, then Redis."""
        for process in self._children.values():
            process.send_signal(signal.SIGTERM)
        for process in self._children.values():
            if not exited_within(process, _STOP_TIMEOUT_S):
                process.kill()
                process.wait()
        self._children.clear()
        self._redis.stop()

    def log(self, name: str) -> Path:
        """The log of a worker, of the ``reconciler`` or of the ``gateway``."""
        return self._directory / f"{name.partition('@')[0]}.log"

    def watch(self) -> None:
        """Return only by raising: when a child has ended, or at a signal.

        Raises:
            EmbeddedServerError: a child has ended by itself.
        """
        while True:
            time.sleep(_LOOK_AGAIN_S)
            self._check_children()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "labelmill", *arguments]
        with self.log(name).open("wb") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603 - our own program
                [*launcher(None, parent_death(signal.SIGTERM)), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self.settings,
                start_new_session=True,  # a Ctrl-C is for us: workers stop before Redis does
            )

    def _forget_heartbeats(self) -> None:
        """Those of workers that were killed; they would make these ones look ready."""
        with redis.Redis.from_url(self._redis.url) as broker:
            broker.delete(*map(heartbeat_key, self._names))

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        with redis.Redis.from_url(self._redis.url) as broker:
            waiting = [*self._names, *(["gateway"] if self._gateway_port is not None else [])]
            while waiting:
                waiting = [name for name in waiting if not self._is_ready(name, broker)]
                self._check_children()
                if waiting and time.monotonic() > deadline:
                    name = waiting.pop()
                    raise EmbeddedServerError(f"{name} is not ready:\n{tail(self.log(name))}")
                time.sleep(_LOOK_AGAIN_S)

    def _is_ready(self, name: str, broker: redis.Redis) -> bool:
        if name == "gateway":
            return self._gateway_port is not None and gateway.answers(self._gateway_port)
        return bool(broker.exists(heartbeat_key(name)))

    def _check_children(self) -> None:
        for name, process in self._children.items():
            if process.poll() is not None:
                raise EmbeddedServerError(
                    f"{name} ended with exit code {process.returncode}:\n{tail(self.log(name))}"
                )
