"""A whole Labelmill on this machine: Redis, the database, workers, reconciler and gateway."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import redis

from labelmill.broker.heartbeat import heartbeat_key, heartbeat_of, is_ready
from labelmill.core.errors import EmbeddedServerError
from labelmill.db import schema
from labelmill.local.gateway import answers, port_of
from labelmill.local.process import described, exited_within, spawn, tail
from labelmill.local.redis import RedisServer
from labelmill.local.restarts import Deaths

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
        database_schema: in which of its schemas; empty for none of Labelmill's own.
        models_file: the models.
        models: which of them to serve; all if empty.
        image_root: the folder under which the workers read images.
        workers: how many.
        appendonly: whether Redis keeps the jobs over a restart.
        gateway: the socket on which it listens; closed when the stack stops. None for no gateway.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str,
        database_schema: str = "",
        models_file: Path,
        models: str = "",
        image_root: Path,
        workers: int = 1,
        appendonly: bool = True,
        gateway: socket.socket | None = None,
    ) -> None:
        self._directory = directory
        self._database = database_url, database_schema
        self._settings = {
            "LABELMILL_DATABASE_URL": database_url,
            "LABELMILL_DATABASE_SCHEMA": database_schema,
            "LABELMILL_MODELS_FILE": str(models_file.resolve()),
            "LABELMILL_MODELS": models,
            "LABELMILL_IMAGE_ROOT": str(image_root.resolve()),
            "LABELMILL_UPLOAD_STORE": str((directory / "uploads").resolve()),
        }
        self._gateway = gateway
        self._redis = RedisServer(directory / "redis", appendonly=appendonly)
        self._names = [f"worker{number}@{os.uname().nodename}" for number in range(1, workers + 1)]
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._deaths = Deaths()

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables by which clients and workers find this stack."""
        return {"LABELMILL_BROKER_URL": self._redis.url} | self._settings

    @property
    def gateway_url(self) -> str | None:
        """Where the page and the API are; None without a gateway."""
        return None if self._gateway is None else f"http://127.0.0.1:{port_of(self._gateway)}"

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
            schema.upgrade(*self._database)
            self._forget_heartbeats()
            for name in self._names:
                self._spawn(name, "worker", "--name", name)
            self._spawn("reconciler", "reconcile", "--every", str(_RECONCILE_S))
            if self._gateway is not None:
                self._spawn("gateway", "serve", "--fd", str(self._gateway.fileno()))
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
        if self._gateway is not None:
            self._gateway.close()

    def log(self, name: str) -> Path:
        """The log of a worker, of the ``reconciler`` or of the ``gateway``."""
        return self._directory / f"{name.partition('@')[0]}.log"

    def watch(self, say: Callable[[str], None]) -> None:
        """Start Redis and children again that have ended; return only by raising.

        Parameters:
            say: told of each that is started again.

        Raises:
            EmbeddedServerError: they end again and again.
        """
        while True:
            time.sleep(_LOOK_AGAIN_S)
            if (exit_code := self._redis.exit_code) is not None:
                self._restart_redis(exit_code, say)
            for name in [
                name for name, child in self._children.items() if child.poll() is not None
            ]:
                self._restart(name, say)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _restart_redis(self, exit_code: int, say: Callable[[str], None]) -> None:
        how = f"Redis {described(exit_code)}"
        if self._deaths.are_too_many(time.monotonic()):
            raise EmbeddedServerError(f"{how}, again and again; its log: {self._redis.log}")
        say(f"{how} and is started again, with its data")
        self._redis.restart()

    def _restart(self, name: str, say: Callable[[str], None]) -> None:
        if self._deaths.are_too_many(time.monotonic()):
            raise EmbeddedServerError(self._ending(name))
        how = described(self._children[name].returncode)
        say(f"{name} {how} and is started again; its log: {self.log(name)}")
        self._spawn(name, *self._commands[name], again=True)

    def _spawn(self, name: str, *arguments: str, again: bool = False) -> None:
        command = [sys.executable, "-m", "labelmill", *arguments]
        self._commands[name] = list(arguments)
        with self.log(name).open("ab" if again else "wb") as log:
            self._children[name] = spawn(
                command,
                env=os.environ | self.settings,
                stop_signal=signal.SIGTERM,
                output=log,
                pass_fds=[self._gateway.fileno()] if self._gateway and name == "gateway" else [],
            )

    def _forget_heartbeats(self) -> None:
        """Those of workers that were killed; they would make these ones look ready."""
        with redis.Redis.from_url(self._redis.url) as broker:
            broker.delete(*map(heartbeat_key, self._names))

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        with redis.Redis.from_url(self._redis.url) as broker:
            waiting = [*self._names, *(["gateway"] if self._gateway else [])]
            while waiting:
                waiting = [name for name in waiting if not self._is_ready(name, broker)]
                self._check_children()
                if waiting and time.monotonic() > deadline:
                    name = waiting.pop()
                    raise EmbeddedServerError(f"{name} is not ready:\n{tail(self.log(name))}")
                time.sleep(_LOOK_AGAIN_S)

    def _is_ready(self, name: str, broker: redis.Redis) -> bool:
        if name == "gateway":
            return self._gateway is not None and answers(port_of(self._gateway))
        beat = heartbeat_of(broker, name)
        return beat is not None and is_ready(beat)

    def _check_children(self) -> None:
        for name, process in self._children.items():
            if process.poll() is not None:
                raise EmbeddedServerError(self._ending(name))

    def _ending(self, name: str) -> str:
        how = described(self._children[name].returncode)
        return f"{name} {how}; the end of its log:\n{tail(self.log(name))}"
