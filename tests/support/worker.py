"""Real workers, as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis

from labelmill.broker.heartbeat import heartbeat_of, is_ready
from labelmill.client import Client
from tests.support.signals import inheriting
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]

OTHER_VERSION = "LABELMILL_TESTS_PYTHONPATH_OF_WORKERS"
"""The variable by which workers are those of another version; see :mod:`tests.compatibility`."""

SCRIPTED_MODELS = """
[models.scripted]
task = "text-classification"
checkpoint = "."
engine = "tests.support.engines:ScriptedEngine"
"""


@dataclass
class WorkerProcess:
    """One worker process and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL for the process and all that it may have started, as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait()

    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")


@dataclass
class Workers:
    """Starts workers on one Redis and one database, and ends them all at the end.

    Attributes:
        place: the second half of their names.
    """

    broker_url: str
    database_url: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    started: list[WorkerProcess] = field(default_factory=list)
    place: str = "test"
    producers_url: str | None = None

    def configure(self, models_toml: str = SCRIPTED_MODELS, **settings: str) -> None:
        """Write models.toml, and set further LABELMILL_* variables."""
        (self.folder / "models.toml").write_text(models_toml)
        self.settings |= {f"LABELMILL_{name.upper()}": value for name, value in settings.items()}

    def environment(self) -> dict[str, str]:
        """The environment of a worker or a command."""
        return os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "LABELMILL_BROKER_URL": self.broker_url,
            "LABELMILL_DATABASE_URL": self.database_url,
            "LABELMILL_MODELS_FILE": str(self.folder / "models.toml"),
            "LABELMILL_CACHE_DIR": str(self.folder / "cache"),
            **self.settings,
        }

    def client(self) -> Client:
        """A client of theirs, by a way to Redis of its own where theirs is made to fail."""
        return Client(self.producers_url or self.broker_url, self.database_url)

    def broker(self) -> redis.Redis:
        """A connection to their Redis, by the same way."""
        return redis.Redis.from_url(self.producers_url or self.broker_url)

    def start_faulty(self, fault: str, argument: str, *, wait: bool = True) -> WorkerProcess:
        """Start a worker with a fault built in; see :mod:`tests.support.faulty`."""
        words = ("-m", "tests.support.faulty", fault, argument, "worker", "--name", "%n")
        return self.start(sys.executable, *words, wait=wait)

    def start(
        self,
        *command: str,
        wait: bool = True,
        inherited: signal.Handlers = signal.SIG_DFL,
    ) -> WorkerProcess:
        """Start a worker; by default ``labelmill worker``, and wait until it is ready.

        Parameters:
            inherited: what it finds set for a terminal's signals, whatever the tests found.
        """
        name = f"w{len(self.started) + 1}@{self.place}"
        words = command or (sys.executable, "-m", "labelmill", "worker", "--name", name)
        log = self.folder / f"{name}.log"
        with log.open("wb") as output, inheriting(inherited):
            process = subprocess.Popen(
                [word.replace("%n", name) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment() | _other_version(),
                start_new_session=True,
            )
        worker = WorkerProcess(name, process, log)
        self.started.append(worker)
        if wait:
            self.wait_ready(worker)
        return worker

    def run(self, *words: str, module: str = "labelmill") -> subprocess.CompletedProcess[str]:
        """Run a command of ``labelmill``, or another module's, to its end."""
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            timeout=120,
            check=False,
        )

    def wait_ready(self, worker: WorkerProcess) -> None:
        """Wait for the worker's heartbeat and for Celery's own word that it is ready."""
        with self.broker() as broker:

            def ready() -> bool:
                if worker.process.poll() is not None:
                    raise AssertionError(f"the worker ended:\n{worker.text()}")
                return _is_ready(broker, worker) and "ready." in worker.text()

            wait_for(ready)

    def stop(self) -> None:
        """End whatever still runs; none outlives another that cannot be ended."""
        with ExitStack() as all_of_them:
            for worker in self.started:
                if worker.process.poll() is None:
                    all_of_them.callback(worker.kill)


def _is_ready(broker: redis.Redis, worker: WorkerProcess) -> bool:
    beat = heartbeat_of(broker, worker.name)
    return beat is not None and is_ready(beat)


def _other_version() -> dict[str, str]:
    path = os.environ.get(OTHER_VERSION)
    return {"PYTHONPATH": path} if path else {}


class Supervisor:
    """Keeps a number of workers running, as systemd or Kubernetes would.

    Parameters:
        count: how many.
    """

    def __init__(self, workers: Workers, count: int = 1) -> None:
        self._workers = workers
        self.running = [workers.start(wait=False) for _ in range(count)]

    def look(self) -> None:
        """Start another worker for each that has ended."""
        self.running = [
            each if each.process.poll() is None else self._workers.start(wait=False)
            for each in self.running
        ]

    def ready(self) -> list[WorkerProcess]:
        """Those whose heartbeat says so."""
        with self._workers.broker() as broker:
            return [each for each in self.running if _is_ready(broker, each)]
