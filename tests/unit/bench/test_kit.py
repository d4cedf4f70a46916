"""What the kit for a machine with a GPU carries: all that such a machine may lack, as pinned."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from labelmill.bench.gpu import PARTS

ROOT = Path(__file__).parents[3]
KIT = ROOT / "bench" / "kit"


def pins(file: Path) -> dict[str, str]:
    """The versions by name of a file of ``name==version``."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    split = [line.partition("==") for line in lines]
    return {str(canonicalize_name(name)): version for name, _, version in split}


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """The names of facts.py, which is a script."""
    return runpy.run_path(str(KIT / "facts.py"))


def test_the_wheels_are_those_of_the_constraints() -> None:
    assert pins(KIT / "wheels.txt").items() <= pins(ROOT / "constraints.txt").items()


def test_the_wheels_are_all_that_a_machine_with_torch_may_lack(facts: dict[str, Any]) -> None:
    needed, missing = facts["packages"](facts["ROOTS"])
    assert missing == {}
    of_ours = {"labelmill", "labelmill-bench"}
    assert set(needed) - {*facts["BROUGHT"], *of_ours} == set(pins(KIT / "wheels.txt"))


def test_what_is_missing_is_said_with_who_needs_it(facts: dict[str, Any]) -> None:
    _, missing = facts["packages"](["labelmill[webhook]", "no-such-package"])
    assert missing == {"no-such-package": "not installed; the kit needs it"}


def test_the_steps_have_all_parts_of_the_benchmark_once() -> None:
    named = re.findall(r"--parts ([a-z0-9 -]+)", (KIT / "kit.sh").read_text())
    assert " ".join(named).split() == list(PARTS)
