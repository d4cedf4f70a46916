from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from labelmill.engines.budget import BudgetFile, PassBudget, calibrate

SIZES = [256 << step for step in range(10)]


def saturating(at: int, *, memory: int = 10**9) -> Callable[[int], float]:
    """A device that is as fast, a token, from that many on as it can be."""

    def seconds(tokens: int) -> float:
        if tokens > memory:
            raise torch.OutOfMemoryError
        return max(tokens, at) * 1e-6

    return seconds


@pytest.mark.parametrize("at", [256, 1024, 16_384])
def test_the_smallest_of_the_fastest_is_chosen(at: int) -> None:
    assert calibrate(saturating(at), SIZES) == at


def test_a_device_that_is_as_fast_with_few_tokens_gets_few() -> None:
    assert calibrate(saturating(1), SIZES) == 256


def test_what_does_not_fit_into_memory_is_not_chosen() -> None:
    assert calibrate(saturating(16_384, memory=5000), SIZES) == 4096


def test_a_slow_device_is_not_asked_for_the_largest_passes() -> None:
    asked = []

    def seconds(tokens: int) -> float:
        asked.append(tokens)
        return 0.5 + tokens * 0.01

    calibrate(seconds, SIZES)

    assert max(asked) == 256


def test_a_budget_halves_what_failed_and_remembers_it() -> None:
    remembered: list[int] = []
    budget = PassBudget(4096, remembered.append)

    budget.shrink(3000)

    assert budget.size == 1500
    assert remembered == [1500]


def test_a_budget_never_ends_at_nothing() -> None:
    budget = PassBudget(1)

    budget.shrink(1)

    assert budget.size == 1


def test_a_budget_is_measured_once_and_remembered_when_it_shrinks(tmp_path: Path) -> None:
    file = BudgetFile(tmp_path / "budgets.json")

    file.budget("model", lambda: 1024).shrink(900)

    assert file.budget("model", lambda: pytest.fail("measured again")).size == 450


def test_a_file_remembers_each_key(tmp_path: Path) -> None:
    file = BudgetFile(tmp_path / "cache" / "budgets.json")

    file.write("a", 512)
    file.write("b", 1024)
    file.write("a", 256)

    assert file.read("a") == 256
    assert BudgetFile(tmp_path / "cache" / "budgets.json").read("b") == 1024
    assert file.read("c") is None
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["budgets.json"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "many"}', '{"a": -1}'])
def test_a_damaged_file_remembers_nothing(content: str, tmp_path: Path) -> None:
    path = tmp_path / "budgets.json"
    path.write_text(content)
    file = BudgetFile(path)

    assert file.read("a") is None
    file.write("a", 512)
    assert file.read("a") == 512


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    BudgetFile(tmp_path / "file" / "budgets.json").write("a", 512)

    assert BudgetFile(tmp_path / "file" / "budgets.json").read("a") is None
