"""Rates: what the engines do in a second, against a bare forward pass and the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

from labelmill.bench import models, vocabulary
from labelmill.bench.device.session import Device, Session
from labelmill.bench.limits import image_limit, text_limit
from labelmill.bench.peers import BATCH
from labelmill.bench.turns import take_turn, timed
from labelmill.engines.load import AnyEngine

_LIMIT_BATCH, _SMOKE_LIMIT_BATCH, _LIMIT_LENGTH = 256, 4, 64
_SEQUENCES, _SMOKE_SEQUENCES, _SEQUENCE = 2048, 8, 128  # the last in tokens


def texts(title: str, session: Session) -> None:
    """Measure tokens a second against the limit, and texts a second against the pipeline."""
    on, some, checkpoint = session.on, session.texts, session.checkpoint(title)
    engine = on.text_engine(checkpoint)
    pipeline = on.pipeline(checkpoint)
    jobs = models.text_jobs(some)
    tokens = models.token_count(vocabulary.tokenizer(), some)
    limit = text_limit(checkpoint, _limit_batch(session), _LIMIT_LENGTH, on.name, on.dtype)
    prepared = _prepared(engine, jobs, on.group_size)
    sides = {
        "forward": lambda: _seconds_of_forward(on, engine, prepared),
        "ours": lambda: timed(lambda: models.run_overlapped(engine, jobs)).seconds,
        "pipeline": lambda: timed(lambda: pipeline.batched(some)).seconds,
        "sorted": lambda: timed(lambda: pipeline.sorted(some)).seconds,
    }
    models.run(engine, jobs)
    pipeline.batched(some[:BATCH])
    alone = session.measure(f"{title}, forward", "tokens/s", "bare forward, one length", 0.85)
    whole = session.measure(f"{title}, all steps", "tokens/s", "bare forward, one length")
    usual = session.measure(f"{title}, all steps", "texts/s", f"pipeline, batches of {BATCH}", 5.0)
    best = session.measure(
        f"{title}, all steps", "texts/s", f"pipeline, sorted, batches of {BATCH}"
    )
    for number in session.repeats():
        taken, bare = take_turn(sides, number), limit()
        alone.add(tokens / taken["forward"], bare)
        whole.add(tokens / taken["ours"], bare)
        usual.add(len(some) / taken["ours"], len(some) / taken["pipeline"])
        best.add(len(some) / taken["ours"], len(some) / taken["sorted"])
        session.log(f"{title}: {tokens / taken['forward']:,.0f} tokens/s of {bare:,.0f}")


def sequences(session: Session) -> None:
    """Measure sequences a second of BERT base, of 128 tokens each, as others publish them."""
    on, title = session.on, f"BERT base, {_SEQUENCE} tokens"
    checkpoint = session.checkpoint(title)
    engine = on.text_engine(checkpoint)
    number = _SMOKE_SEQUENCES if session.smoke else _SEQUENCES
    jobs = models.text_jobs(_long_texts(number, session.texts))
    limit = text_limit(checkpoint, _limit_batch(session), _SEQUENCE, on.name, on.dtype)
    prepared = _prepared(engine, jobs, on.group_size)
    models.run(engine, jobs)
    alone = session.measure(f"{title}, forward", "texts/s", "bare forward, one length", 0.85)
    whole = session.measure(f"{title}, all steps", "texts/s", "bare forward, one length")
    for _ in session.repeats():
        bare = limit() / _SEQUENCE
        alone.add(number / _seconds_of_forward(on, engine, prepared), bare)
        whole.add(number / timed(lambda: models.run_overlapped(engine, jobs)).seconds, bare)


def images(session: Session) -> None:
    """Measure images a second from JPEG files, against the limit: the device's or the CPU's."""
    on, title, files = session.on, "ViT-B/16", session.images
    checkpoint = session.checkpoint(title)
    engine = models.load(on.table("image", checkpoint), files[0].parent)
    jobs = models.image_jobs(files)
    limit = image_limit(checkpoint, _limit_batch(session), on.name, on.dtype)
    sides = {
        "ours": lambda: timed(lambda: models.run_overlapped(engine, jobs)).seconds,
        "decoding": lambda: timed(lambda: _prepared(engine, jobs, on.group_size)).seconds,
    }
    models.run(engine, jobs[: on.group_size])
    what = f"{title}, JPEG files to labels"
    bare = session.measure(what, "images/s", "bare forward")
    slower = session.measure(what, "images/s", "the slower of bare forward and decoding", 0.8)
    decoding = session.measure(f"{title}, decoding alone, all cores", "images/s")
    for number in session.repeats():
        rates = {
            name: len(files) / seconds for name, seconds in take_turn(sides, number).items()
        } | {"forward": limit()}
        bare.add(rates["ours"], rates["forward"])
        slower.add(rates["ours"], min(rates["forward"], rates["decoding"]))
        decoding.add(rates["decoding"])
    limiting = min(("forward", "decoding"), key=rates.__getitem__)
    session.note(f"{title}: the limit is {limiting}, at {rates[limiting]:,.0f} images/s")


def compiled(session: Session) -> None:
    """Measure tokens a second of ``forward`` with ``compile`` in the model's table."""
    on, title = session.on, "DistilBERT"
    checkpoint, some = session.checkpoint(title), session.texts
    tokens = models.token_count(vocabulary.tokenizer(), some)
    jobs = models.text_jobs(some)
    plain = on.text_engine(checkpoint)
    # With the other's budget: to measure one would compile for each size that is tried.
    budget = plain.budget.size
    loading = timed(lambda: on.text_engine(checkpoint, compile=True, token_budget=budget))
    ours = loading.value
    prepared = {
        name: _prepared(engine, jobs, on.group_size)
        for name, engine in (("compiled", ours), ("plain", plain))
    }
    first = _seconds_of_forward(on, ours, prepared["compiled"])
    _seconds_of_forward(on, plain, prepared["plain"])
    session.note(
        f"{title}, compile = true, {ours.layout.name}: it loads in {loading.seconds:.1f} s, and all"
        f" texts take {first:.1f} s for the first time"
    )
    measure = session.measure(f"{title}, forward, compile = true", "tokens/s", "compile = false")
    turns = {
        "compiled": lambda: _seconds_of_forward(on, ours, prepared["compiled"]),
        "plain": lambda: _seconds_of_forward(on, plain, prepared["plain"]),
    }
    for number in session.repeats():
        taken = take_turn(turns, number)
        measure.add(tokens / taken["compiled"], tokens / taken["plain"])


def _seconds_of_forward(on: Device, engine: AnyEngine, prepared: Sequence[list[Any]]) -> float:
    """How long the device takes for groups that are ready."""

    def run() -> None:
        for group in prepared:
            models.all_done(engine.forward(group))
        on.wait()

    return timed(run).seconds


def _limit_batch(session: Session) -> int:
    return _SMOKE_LIMIT_BATCH if session.smoke else _LIMIT_BATCH


def _prepared(engine: AnyEngine, jobs: Sequence[Any], group_size: int) -> list[list[Any]]:
    return [models.all_done(engine.prepare(group)) for group in models.groups(jobs, group_size)]


def _long_texts(number: int, some: Sequence[str]) -> list[str]:
    """Texts of at least that many tokens: each word has one or more."""
    words = cycle(" ".join(some).split())
    return [" ".join(islice(words, _SEQUENCE)) for _ in range(number)]
