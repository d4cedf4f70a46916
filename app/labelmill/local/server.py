"""What the embedded servers have in common: starting, stopping, killing, starting again."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from labelmill.core.errors import EmbeddedServerError
from labelmill.local.process import User, exited_within, free_port, spawn, tail

_LOG = "server.log"
_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 60
_LOOK_AGAIN_S = 0.01


class Instance(NamedTuple):
    """One process of a server."""

    directory: Path
    port: int
    pid: int


class Server(ABC):
    """A server on a port of 127.0.0.1, with a password, that ends with this process.

    The port stays the same over restarts. The password is there because anyone on the machine
    can reach the port, and both servers run programs for whoever may command them.

    Parameters:
        directory: where the data is kept; None for a temporary folder that :meth:`stop` removes.
    """

    name: str
    stop_signal: signal.Signals

    def __init__(self, directory: Path | None) -> None:
        self._kept = directory
        self._directory: Path | None = None
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._password = ""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with the password."""

    @property
    def port(self) -> int:
        """The port; the same over restarts.

        Raises:
            EmbeddedServerError: if the server was never started.
        """
        if self._port is None:
            raise EmbeddedServerError(f"{self.name} has not been started")
        return self._port

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            EmbeddedServerError: if the server does not run.
        """
        if self._process is None:
            raise EmbeddedServerError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers; nothing happens if it runs.

        Raises:
            EmbeddedServerError: if it does not start; the message has the end of its log.
        """
        if self._process is not None:
            return
        # Before anything that has to be cleaned up.
        atexit.register(self.stop)
        try:
            self._start_in(self._directory or self._open_directory())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server in good order, and remove its folder if that is temporary."""
        self._end_process()
        if self._directory is not None and self._kept is None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None
        atexit.unregister(self.stop)

    @property
    def log(self) -> Path:
        """The log of its last start.

        Raises:
            EmbeddedServerError: if the server was never started.
        """
        if self._directory is None:
            raise EmbeddedServerError(f"{self.name} has not been started")
        return self._directory / _LOG

    @property
    def exit_code(self) -> int | None:
        """How its process ended by itself; None while it runs."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; :meth:`start` finds its data as it was."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop the server, if it runs, and start it again on the same port and data."""
        self._end_process()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What each server says about itself

    def _prepare(self, directory: Path) -> None:  # noqa: B027 - not every server needs it
        """Make what the server needs before its first start."""

    @abstractmethod
    def _command(self, directory: Path, port: int) -> Sequence[str | Path]:
        """The command that runs the server in the foreground."""

    @abstractmethod
    def _is_ready(self, instance: Instance) -> bool:
        """Whether that instance, and no other on its port, answers."""

    @abstractmethod
    def _may_try_again(self, log: str) -> bool:
        """Whether the reason why it did not start goes away by itself."""

    def _user(self) -> User | None:
        """The account to run under, if not ours."""
        return None

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            if exited_within(self._process, _STOP_TIMEOUT_S):
                self._process = None
            else:
                self.kill()

    # Starting

    def _open_directory(self) -> Path:
        if self._kept is None:
            directory = Path(tempfile.mkdtemp(prefix=f"labelmill-{self.name.lower()}-"))
        else:
            directory = self._kept.absolute()
            directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._password = _password(directory / "password")
        self._prepare(directory)
        return directory

    def _start_in(self, directory: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            log = self._attempt(directory, deadline)
            if log is None:
                return
            if time.monotonic() > deadline or not self._may_try_again(log):
                raise EmbeddedServerError(f"{self.name} does not start:\n{log}")

    def _attempt(self, directory: Path, deadline: float) -> str | None:
        """Start the process once; its log if it ended instead of answering."""
        log = directory / _LOG
        log.unlink(missing_ok=True)
        port = self._port or free_port()
        with log.open("ab") as output:
            process = spawn(
                self._command(directory, port),
                env=self._environment(),
                stop_signal=self.stop_signal,
                user=self._user(),
                cwd="/",
                output=output,
            )
        self._process = process
        instance = Instance(directory, port, process.pid)
        while not self._is_ready(instance):
            if exited_within(process, _LOOK_AGAIN_S):
                self._process = None
                return tail(log)
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"{self.name} does not answer:\n{tail(log)}")
        self._port = port
        return None


def _password(file: Path) -> str:
    """The password in the file, made when the file is."""
    try:
        file.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return file.read_text()
    password = secrets.token_urlsafe(24)
    file.write_text(password)
    return password
