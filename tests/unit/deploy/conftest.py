"""What the tests of the deployment read: the Dockerfile's stages and labelmill's commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from labelmill.cli.main import COMMANDS, command

ROOT = Path(__file__).parents[3]


@dataclass
class Stage:
    """A stage of the Dockerfile: its parent and its instructions, as (name, arguments)."""

    parent: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [arguments for instruction, arguments in self.instructions if instruction == name]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile, by name."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found: dict[str, Stage] = {}
    for line in filter(None, code.replace("\\\n", " ").splitlines()):
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            parent, _, alias = arguments.split()
            found[alias] = Stage(parent)
        else:
            list(found.values())[-1].instructions.append((name, " ".join(arguments.split())))
    return found


@pytest.fixture(scope="session")
def check_command() -> Callable[[Sequence[str]], None]:
    """Fails unless the words are a command of labelmill with options that it takes."""

    def check(words: Sequence[str]) -> None:
        left = list(words)
        assert set(left[:1]) <= set(COMMANDS), f"{list(words)} is no command"
        found = command(left.pop(0))
        while hasattr(found, "commands"):
            assert left, f"{list(words)} ends before a command"
            assert left[0] in found.commands, f"labelmill has no command {left[0]!r}"
            found = found.commands[left.pop(0)]
        found.make_context("labelmill", left, resilient_parsing=False)

    return check
