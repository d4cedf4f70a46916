"""Layout and scores: how models share a pass on the device, and what their scores lose there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from labelmill.bench import inputs, models
from labelmill.bench.device.families import FAMILIES, save
from labelmill.bench.device.parts import succeeds
from labelmill.bench.device.session import Session
from labelmill.bench.errors import BenchmarkError
from labelmill.bench.peers import Answers, TextPipeline, agreement, largest_difference
from labelmill.engines.text import TextEngine

_DTYPES = ("float32", "bfloat16", "float16")
_SMOKE_DTYPES = ("float32", "bfloat16")
_SMOKE_FAMILIES = ("BERT", "MPNet")  # one that is packed, and one that is not
_BUDGET = 4096  # tokens: to measure one for each of these would take longer than all else
_TEXTS, _SMOKE_TEXTS = 256, 6
_LONG_TEXT, _SMOKE_LONG_TEXT = 4096, 512  # tokens


def layout(session: Session) -> None:
    """Note in which layout each family runs, and why not in a better one."""
    _for_each(session, "layout", partial(_note_layout, session))


def parity(session: Session) -> None:
    """Note how far scores are from those in single precision on the CPU.

    Beside it stands what the pipeline loses on the same device in the same precision.
    """
    texts = inputs.texts(_SMOKE_TEXTS if session.smoke else _TEXTS, seed=3)
    _compare(session, "DistilBERT, full size", session.checkpoint("DistilBERT"), texts)
    _for_each(session, "parity", lambda title: _note_scores(session, title, texts))


def long_text(session: Session) -> None:
    """Note what becomes of the mean over a long text, which few digits cannot add up to.

    The rows have a mean of about 1, so that a sum in half precision would stop growing at 256.
    """
    tokens = _SMOKE_LONG_TEXT if session.smoke else _LONG_TEXT
    folder = session.folder / "long"
    save(folder, "ModernBERT", longest=tokens, classifier_pooling="mean", norm_bias=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    torch.nn.init.ones_(model.model.final_norm.bias)
    model.save_pretrained(folder)
    text = " ".join(inputs.texts(tokens // 20, seed=3))
    _compare(session, f"the mean of {tokens:,} tokens", folder, [text])


def _for_each(session: Session, what: str, action: Callable[[str], None]) -> None:
    """Do it for each family; those that fail are noted.

    Raises:
        BenchmarkError: some failed.
    """
    families = _SMOKE_FAMILIES if session.smoke else FAMILIES
    failed = [
        title
        for title in families
        if not succeeds(f"{what} of {title}", partial(action, title), session)
    ]
    if failed:
        raise BenchmarkError(f"it failed for {', '.join(failed)}")


def _note_layout(session: Session, title: str) -> None:
    checkpoint = _checkpoint(session, title)
    for dtype in _dtypes(session):
        engine = _engine(session, checkpoint, dtype)
        refused = getattr(engine, "refused", [])
        why = f"; refused: {'; '.join(refused)}" if refused else ""
        session.note(f"{title}, {dtype}: {engine.layout.name}{why}")


def _note_scores(session: Session, title: str, texts: list[str]) -> None:
    _compare(session, title, _checkpoint(session, title), texts)


def _compare(session: Session, title: str, checkpoint: Path, texts: list[str]) -> None:
    expected = TextPipeline(checkpoint, device="cpu", dtype=torch.float32).batched(texts)
    for dtype in _dtypes(session):
        engine = _engine(session, checkpoint, dtype)
        ours = models.run(engine, models.text_jobs(texts))
        theirs = replace(session.on, dtype=dtype).pipeline(checkpoint).batched(texts)
        session.note(
            f"{title}, {dtype}, {engine.layout.name}, against float32 on the CPU:"
            f" {_apart(ours, expected)}; the pipeline's {_apart(theirs, expected)}"
        )


def _apart(answers: Answers, expected: Answers) -> str:
    return (
        f"scores differ by at most {largest_difference(answers, expected):.1e},"
        f" {agreement(answers, expected):.1f} % of the labels are the same"
    )


def _checkpoint(session: Session, title: str) -> Path:
    folder = session.folder / "families" / title
    return folder if folder.exists() else save(folder, title)


def _engine(session: Session, checkpoint: Path, dtype: str) -> TextEngine:
    return session.on.text_engine(checkpoint, dtype=dtype, token_budget=_BUDGET)


def _dtypes(session: Session) -> tuple[str, ...]:
    return _SMOKE_DTYPES if session.smoke else _DTYPES
