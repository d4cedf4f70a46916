"""A shell in a folder, in which a virtual environment is active."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for

_INSIDE = Path(__file__).parent / "inside"


@dataclass
class Running:
    """A command that runs until it is ended, and what it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self, text: str, timeout: float = 120) -> None:
        """Wait until it has printed a text."""

        def said() -> bool:
            printed = self.log.read_text()
            assert text in printed or self.process.poll() is None, printed
            return text in printed

        wait_for(said, timeout)

    def end(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


@dataclass
class Terminal:
    """A folder, and the environment's commands in it.

    Attributes:
        programs: the environment's ``bin``.
        variables: what is set besides.
        python: how a script is run.
    """

    programs: Path
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    python: tuple[str, ...] = ("python",)

    def environment(self) -> dict[str, str]:
        """Nothing of ours is set, and nothing that would add to the import path."""
        kept = {key: value for key, value in os.environ.items() if "LABELMILL" not in key}
        kept.pop("PYTHONPATH", None)
        path = os.pathsep.join([str(self.programs), os.environ["PATH"]])
        return kept | {
            "PATH": path,
            "PYTHONWARNINGS": "default",
            "COLUMNS": "160",
            **self.variables,
        }

    def run(self, *words: str) -> str:
        """What a command prints that is to succeed."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def inside(self, script: str, asked: object) -> Any:
        """The answer of a script of ours that has this folder first on its import path."""
        asking = replace(self, variables={**self.variables, "ASKED": json.dumps(asked)})
        printed = asking.run(*self.python, "-c", (_INSIDE / script).read_text())
        return json.loads(printed.splitlines()[-1])

    def labelmill(self, *lines: str) -> list[str]:
        """What command lines say that are to succeed, one after the other in one process."""
        outcomes = self.inside("commands.py", [shlex.split(line, True)[1:] for line in lines])
        for line, (code, said) in zip(lines, outcomes, strict=True):
            assert code == 0, f"{line}\n{said}"
        return [said for _, said in outcomes]

    @contextmanager
    def running(self, *words: str, log: Path) -> Iterator[Running]:
        """A command that does not outlive the block."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @contextmanager
    def up(self, *options: str) -> Iterator[None]:
        """``labelmill up`` in this folder."""
        log = self.folder / "up.log"
        with self.running("labelmill", "up", *options, log=log) as process:
            process.says("labelmill is up")
            yield
            assert process.end() == 0, log.read_text()
