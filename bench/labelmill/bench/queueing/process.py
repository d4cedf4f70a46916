"""A worker as a child process, with its log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from labelmill.bench.errors import BenchmarkError
from labelmill.local.process import exited_within, launcher, parent_death, tail

_STOP_TIMEOUT_S = 60


class WorkerProcess:
    """Runs ``python -m …`` in a folder of its own until the end of the block.

    Parameters:
        arguments: the module and its arguments.
        folder: where it runs and writes its log.
        settings: environment variables; those that this process has for Labelmill are hidden.
            Where it finds its modules, the worker does too.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, settings: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._folder = folder
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("LABELMILL_")
        }
        if path := inherited.get("PYTHONPATH"):
            inherited["PYTHONPATH"] = _absolute(path)
        self._environment = {**inherited, **settings}
        self._log = folder / "worker.log"

    def check(self) -> None:
        """Notice that the worker has ended.

        Raises:
            BenchmarkError: it has; the message has the end of its log.
        """
        if (code := self._process.poll()) is not None:
            raise BenchmarkError(f"the worker ended with exit code {code}:\n{self.log()}")

    def log(self) -> str:
        """The end of its log."""
        return tail(self._log)

    def cpu_seconds(self) -> float:
        """Processor time that the worker has used so far, with the children of its pool."""
        process = psutil.Process(self._process.pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def memory(self) -> int:
        """Its resident memory, in bytes."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *launcher(None, parent_death(signal.SIGTERM)),
                    *(sys.executable, "-m", *self._arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,  # a Ctrl-C is for us
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        if not exited_within(self._process, _STOP_TIMEOUT_S):
            # With the children of its pool: they are in its session.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _absolute(path: str) -> str:
    """A search path that leads to the same folders from any other."""
    return os.pathsep.join(str(Path(folder).absolute()) for folder in path.split(os.pathsep))
