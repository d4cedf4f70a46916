"""Launches: where the CPU waits for the device, and which of the two a pass waits for."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any

import torch

from labelmill.bench import models, vocabulary
from labelmill.bench.device.session import Device, Session
from labelmill.bench.turns import timed
from labelmill.engines.load import AnyEngine

_TRIES = 5
_SMALLEST, _LARGEST, _SMOKE_LARGEST = 256, 1 << 17, 512  # tokens of a pass


def waits(session: Session) -> None:
    """Note each line at which ``forward`` makes the CPU wait, and the times of a group's steps."""
    on = session.on
    engine = on.text_engine(session.checkpoint("DistilBERT"))
    jobs = models.text_jobs(session.texts[: on.group_size])
    preparing = timed(lambda: models.all_done(engine.prepare(jobs)))
    launched, done = _seconds_of_forward(on, engine, preparing.value)
    outputs = models.all_done(engine.forward(preparing.value))
    on.wait()
    decoding = timed(lambda: engine.decode(outputs, [1] * len(outputs)))
    session.note(
        f"a group of {len(jobs)} texts, DistilBERT, {engine.layout.name},"
        f" {engine.budget.size:,} tokens a pass: prepare"
        f" {1e3 * preparing.seconds:.1f} ms, forward returns after {1e3 * launched:.1f} ms, the"
        f" device is done after {1e3 * done:.1f} ms, decode {1e3 * decoding.seconds:.1f} ms"
    )
    if not on.is_cuda:
        session.note("waits of forward: not counted, there is no GPU")
        return
    places = _places_of_waits(engine, preparing.value)
    session.note(f"waits of forward, a group: {places.total()}")
    for place, number in places.most_common():
        session.note(f"forward waited {number} times at {place}")


def passes(session: Session) -> None:
    """Draw when ``forward`` returns and when the device is done, over the tokens of one pass.

    As long as both take the same time, however many tokens there are, launches are the limit.
    """
    on, largest = session.on, _SMOKE_LARGEST if session.smoke else _LARGEST
    checkpoint = session.checkpoint("BERT base")
    engine = on.text_engine(checkpoint, token_budget=2 * largest)  # all in one
    lengths = models.token_counts(vocabulary.tokenizer(), session.texts)
    axes = ("tokens of a pass", "ms")
    launching = session.curve("BERT base: forward returns", *axes)
    running = session.curve("BERT base: the device is done", *axes)
    wanted = _SMALLEST
    while wanted <= largest:
        texts, tokens = _texts_of(wanted, session.texts, lengths)
        prepared = models.all_done(engine.prepare(models.text_jobs(texts)))
        launched, done = _seconds_of_forward(on, engine, prepared)
        launching.append((tokens, 1e3 * launched))
        running.append((tokens, 1e3 * done))
        session.log(
            f"a pass of {tokens:,} tokens: forward returns after {1e3 * launched:.2f} ms, the"
            f" device is done after {1e3 * done:.2f} ms, {tokens / done:,.0f} tokens/s"
        )
        wanted *= 2


def _seconds_of_forward(on: Device, engine: AnyEngine, prepared: list[Any]) -> tuple[float, float]:
    """Until it returns, and until the device is done; each the least of some tries."""
    engine.forward(prepared)
    on.wait()
    launched, done = [], []
    for _ in range(_TRIES):
        start = time.perf_counter()
        outputs = engine.forward(prepared)
        launched.append(time.perf_counter() - start)
        on.wait()
        done.append(time.perf_counter() - start)
        models.all_done(outputs)
    return min(launched), min(done)


def _places_of_waits(engine: AnyEngine, prepared: list[Any]) -> Counter[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            engine.forward(prepared)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Counter(
        f"{'/'.join(Path(each.filename).parts[-3:])}:{each.lineno}"
        for each in caught
        if "synchronizing CUDA operation" in str(each.message)
    )


def _texts_of(wanted: int, texts: Sequence[str], lengths: Sequence[int]) -> tuple[list[str], int]:
    """Texts from the beginning, and again from there, with that many tokens or a few more."""
    chosen = []
    for text, tokens in zip(cycle(texts), accumulate(cycle(lengths)), strict=False):
        chosen.append(text)
        if tokens >= wanted:
            break
    return chosen, tokens
