"""The text engine where something goes wrong on its device, and how it finds its budget."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from labelmill.core.errors import ErrorCode, JobError
from labelmill.engines.budget import BudgetFile
from labelmill.engines.text import TextEngine
from labelmill.engines.tokens import Encoding
from labelmill.engines.transfer import Row, gather
from tests.support.answers import ALL, answers, assert_same, text_engine, text_jobs
from tests.support.checkpoints import TEXT_FAMILIES, save_text_checkpoint

TEXTS = ["I love this shop! " * (1 + number % 4) for number in range(40)]


@pytest.fixture(params=["bert", "deberta-v2"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> TextEngine:
    """An engine that packs, and one that pads; all texts fit into one pass."""
    folder = save_text_checkpoint(tmp_path, request.param)
    return text_engine(folder, token_budget=4096)


def with_memory_for(tokens: int, engine: TextEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the device have memory for so many tokens; returns the passes that will be run."""
    run: Callable[[Sequence[Encoding]], torch.Tensor] = engine._run
    passes: list[int] = []

    def limited(texts: Sequence[Encoding]) -> torch.Tensor:
        passes.append(len(texts))
        if sum(text.shape[1] for text in texts) > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(texts)

    monkeypatch.setattr(engine, "_run", limited)
    return passes


def test_without_memory_passes_are_halved_and_stay_small(
    engine: TextEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(engine, text_jobs(TEXTS))
    passes = with_memory_for(100, engine, monkeypatch)

    assert_same(answers(engine, text_jobs(TEXTS)), expected)

    assert 25 <= engine.budget.size <= 100
    passes.clear()
    assert_same(answers(engine, text_jobs(TEXTS)), expected)
    assert sum(passes) == len(TEXTS)  # no pass was tried in vain


def test_a_text_that_has_no_memory_alone_fails_alone(
    engine: TextEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = engine.prepare(text_jobs(["I love it", "I love this shop! " * 5, "I love you"]))
    with_memory_for(15, engine, monkeypatch)

    first, failed, last = engine.forward(
        [each for each in inputs if not isinstance(each, JobError)]
    )

    assert isinstance(failed, JobError)
    assert failed.code is ErrorCode.OUT_OF_MEMORY
    assert isinstance(first, Row)
    assert isinstance(last, Row)


def test_only_the_pass_of_a_text_that_makes_the_model_raise_is_run_again(
    engine: TextEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.budget.size = 100
    inputs = [each for each in engine.prepare(text_jobs(TEXTS)) if not isinstance(each, JobError)]
    expected = gather([row for row in engine.forward(inputs) if not isinstance(row, JobError)])
    bad = inputs[7].copy()
    bad[0, 0] = 10**6  # no such token
    passes = with_memory_for(10**6, engine, monkeypatch)

    outputs = engine.forward([*inputs[:7], bad, *inputs[8:]])

    failed = outputs.pop(7)
    assert isinstance(failed, JobError)
    assert failed.code is ErrorCode.MODEL_FAILED
    rows = gather([row for row in outputs if not isinstance(row, JobError)])
    np.testing.assert_allclose(rows, np.delete(expected, 7, axis=0), atol=1e-5)
    assert sum(passes) < len(TEXTS) + 2 * max(passes)


def test_a_budget_is_measured_once_for_a_model_and_a_device(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path / "bert", "bert")
    file = BudgetFile(tmp_path / "budgets.json")
    engine = text_engine(folder)
    engine.calibrate(file)
    kept = json.loads((tmp_path / "budgets.json").read_text())
    assert list(kept.values()) == [engine.budget.size]
    (tmp_path / "budgets.json").write_text(json.dumps(dict.fromkeys(kept, 77)))

    again, other = text_engine(folder), text_engine(save_text_checkpoint(tmp_path / "x", "albert"))
    again.calibrate(file)
    other.calibrate(file)

    assert again.budget.size == 77
    assert other.budget.size != 77
    assert len(answers(other, text_jobs(TEXTS), ALL)) == len(TEXTS)


@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_every_layout_can_be_measured(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelmill.engines.text._BUDGETS", [256, 512])  # it takes seconds with all
    engine = text_engine(save_text_checkpoint(tmp_path / family, family))
    before = answers(engine, text_jobs(TEXTS))

    engine.calibrate(BudgetFile(tmp_path / "budgets.json"))

    assert_same(answers(engine, text_jobs(TEXTS)), before)


def test_what_the_memory_taught_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_text_checkpoint(tmp_path / "bert", "bert")
    file = BudgetFile(tmp_path / "budgets.json")
    engine = text_engine(folder)
    engine.calibrate(file)
    with_memory_for(100, engine, monkeypatch)
    answers(engine, text_jobs(TEXTS))

    again = text_engine(folder)
    again.calibrate(file)

    assert again.budget.size == engine.budget.size <= 100
