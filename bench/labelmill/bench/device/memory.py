"""Memory: what happens when the device has too little of it."""

from __future__ import annotations

import logging

import torch

from labelmill.bench import models, vocabulary
from labelmill.bench.device.session import Device, Session
from labelmill.bench.errors import BenchmarkError
from labelmill.engines.bisect import run_bisecting

_MIB = 2**20


def too_little_memory(session: Session) -> None:
    """Take memory away until the device runs out of it, and see that all jobs are answered.

    Raises:
        BenchmarkError: a job failed for it, or it never ran out.
    """
    on = session.on
    if not on.is_cuda:
        session.note("too little memory: not tried, there is no GPU")
        return
    texts = session.texts[: 2 * on.group_size]
    # It warns of each halving.
    logging.getLogger("labelmill.engines").setLevel(logging.ERROR)
    # One pass for all, so that there is something to halve.
    everything = vocabulary.MAX_LENGTH * len(texts)
    checkpoint = session.checkpoint("DistilBERT")
    engine = on.text_engine(checkpoint, token_budget=everything)
    prepared = models.all_done(engine.prepare(models.text_jobs(texts)))
    _, total = torch.cuda.mem_get_info(on.name)
    spare = 512 * _MIB
    try:
        while spare >= _MIB:
            torch.cuda.empty_cache()
            allowed = torch.cuda.memory_reserved(on.name) + spare
            torch.cuda.set_per_process_memory_fraction(allowed / total, on.name)
            before = _out_of_memory_count(on)
            answers = run_bisecting(engine.forward, prepared)
            if (times := _out_of_memory_count(on) - before) > 0:
                models.all_done(answers)
                session.note(
                    f"too little memory: with {spare // _MIB} MiB to spare the device ran out of it"
                    f" {times} times, and all {len(texts)} texts were answered"
                )
                return
            spare //= 2
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, on.name)
    raise BenchmarkError("the device never ran out of memory; give it more texts")


def _out_of_memory_count(on: Device) -> int:
    return int(torch.cuda.memory_stats(on.name).get("num_ooms", 0))
