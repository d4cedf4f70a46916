"""The CUDA path of the engines, on stand-ins; see :mod:`tests.support.cuda`."""

from __future__ import annotations

import copy
import gc
import inspect
import logging
import random
import weakref
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention.varlen import varlen_attn

from labelmill.broker.heartbeat import heartbeats
from labelmill.client import NewJob
from labelmill.core.errors import JobError
from labelmill.engines.packed import mean_rows
from labelmill.engines.packing import Layout
from labelmill.engines.text import TextEngine
from labelmill.engines.transfer import gather
from tests.support.answers import (
    PIPELINE_OPTIONS,
    answers,
    assert_same,
    half_pipeline,
    image_engine,
    root_mean_square,
    scores,
    text_engine,
    text_jobs,
)
from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint
from tests.support.cuda import KERNELS, StandInDevice, stand_in_for_cuda, varlen_attn_of_2_14
from tests.support.images import encoded, inline_job, picture
from tests.support.worker import Workers

WORDS = ["The", "parcel", "never", "came", ",", "and", "nobody", "answers", "the", "telephone"]
_random = random.Random(3)
TEXTS = [" ".join(_random.choices(WORDS, k=_random.randint(1, 40))) for _ in range(100)]

#: Of the ways to attend: to all, in windows, to what came before, with fewer heads of keys; and of
#: the ways to pool.
FAMILIES = ["bert", "roberta", "distilbert", "albert", "modernbert", "gpt2", "llama", "qwen2"]

Kernel = Callable[..., torch.Tensor]
UseDevice = Callable[..., StandInDevice]


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> UseDevice:
    """Lets engines that are made from now on run on a stand-in, which it answers."""

    def use(*args: Any, **options: Any) -> StandInDevice:
        device = StandInDevice(*args, **options)
        stand_in_for_cuda(monkeypatch, device)
        return device

    return use


def refusal(engine: TextEngine) -> str:
    """Why its texts are not packed; only where they are padded."""
    assert engine.layout is Layout.PADDED
    (line,) = engine.refused
    return line


# --- the kernel ---------------------------------------------------------------------------------


def test_the_newest_stand_in_has_the_signature_of_the_real_kernel() -> None:
    real, ours = (inspect.signature(each).parameters for each in (varlen_attn, varlen_attn_of_2_14))
    assert [(each.name, each.kind, each.default) for each in ours.values()] == [
        (each.name, each.kind, each.default) for each in real.values()
    ]


@pytest.mark.parametrize(
    ("family", "version"),
    [*((family, "2.11") for family in FAMILIES), ("bert", "2.14"), ("llama", "2.14")],
)
def test_half_precision_is_packed_by_the_kernel_of_each_version(
    family: str, version: str, tmp_path: Path, on_cuda: UseDevice
) -> None:
    folder = save_text_checkpoint(tmp_path, family)
    calls = []

    @wraps(KERNELS[version])
    def kernel(*args: Any, **options: Any) -> torch.Tensor:
        calls.append(options)
        return KERNELS[version](*args, **options)

    on_cuda(kernel)
    engine = text_engine(folder)

    assert engine.refused == []
    assert engine.layout is Layout.PACKED
    calls.clear()
    assert len(answers(engine, text_jobs(TEXTS))) == len(TEXTS)
    assert calls
    # Where it is not needed it is not asked for: cuDNN's backend has none.
    fewer_keys = family in ("llama", "qwen2")
    asked = {call.get("enable_gqa", False) for call in calls}
    assert asked == {fewer_keys and version != "2.11"}


def test_heads_of_an_odd_width_are_padded_for_the_kernel(
    tmp_path: Path, on_cuda: UseDevice
) -> None:
    folder = save_text_checkpoint(tmp_path, "bert", hidden_size=36, num_attention_heads=3)
    on_cuda()

    assert text_engine(folder).layout is Layout.PACKED


@pytest.mark.parametrize(
    ("config", "device", "dtype", "reason"),
    [
        ({}, {}, "float32", "takes half precision, not torch.float32"),
        ({}, {"capability": (7, 5)}, "float16", "needs compute capability 8.0, this card has 7.5"),
        (
            {"hidden_size": 264, "num_attention_heads": 1},
            {},
            "bfloat16",
            "NotImplementedError: the kernel for packs takes heads of one width up to 256, not 264",
        ),
    ],
    ids=["single precision", "an old card", "wide heads"],
)
def test_what_the_kernel_does_not_take_is_padded_and_said(
    config: dict[str, int],
    device: dict[str, Any],
    dtype: str,
    reason: str,
    tmp_path: Path,
    on_cuda: UseDevice,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = save_text_checkpoint(tmp_path, "bert", **config)
    on_cuda(**device)

    with caplog.at_level(logging.WARNING):
        engine = text_engine(folder, dtype=dtype)

    assert reason in refusal(engine)
    (said,) = [each.message for each in caplog.records if "cannot be run" in each.message]
    assert "packed (end to end, without padding)" in said
    assert reason in said
    assert "they run side by side, padded to the longest" in said


def test_a_kernel_that_answers_wrong_is_found_out(tmp_path: Path, on_cuda: UseDevice) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")

    @wraps(varlen_attn_of_2_14)
    def wrong(*args: Any, **options: Any) -> torch.Tensor:
        return varlen_attn_of_2_14(*args, **options).roll(1, dims=0)  # each row is another's

    on_cuda(wrong)

    assert "its logits are off by" in refusal(text_engine(folder))


def test_a_kernel_that_raises_is_named(tmp_path: Path, on_cuda: UseDevice) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")

    @wraps(varlen_attn_of_2_14)
    def broken(*args: Any, **options: Any) -> torch.Tensor:
        raise TypeError("varlen_attn() got an unexpected keyword argument 'enable_gqa'")

    on_cuda(broken)

    assert "TypeError: varlen_attn() got an unexpected keyword" in refusal(text_engine(folder))


# --- precision ----------------------------------------------------------------------------------


def test_the_mean_of_a_long_text_is_summed_in_single_precision() -> None:
    rows = torch.ones(4096 + 3, 8, dtype=torch.bfloat16)

    means = mean_rows(rows, torch.tensor([0, 4096, 4099], dtype=torch.int32))

    assert means.dtype == torch.float32
    assert means.eq(1).all()


@pytest.mark.parametrize(
    ("family", "dtype"),
    [("bert", "float16"), *((each, "bfloat16") for each in ("bert", "modernbert", "llama"))],
)
def test_half_precision_loses_no_more_than_the_pipeline_loses_in_it(
    family: str, dtype: str, tmp_path: Path, on_cuda: UseDevice
) -> None:
    folder = save_text_checkpoint(tmp_path, family)
    exact = scores(answers(text_engine(folder), text_jobs(TEXTS)))
    theirs = scores(half_pipeline(folder, "cpu", dtype)(TEXTS, **PIPELINE_OPTIONS))
    on_cuda()

    engine = text_engine(folder, dtype=dtype)
    ours = scores(answers(engine, text_jobs(TEXTS)))

    assert engine.layout is Layout.PACKED
    # Both are sums of many roundings, and equal ones differ by a few parts of a hundred: measured
    # were 0.87 to 1.04.
    assert root_mean_square(ours - exact) <= 1.1 * root_mean_square(theirs - exact)


def test_the_copy_in_single_precision_is_gone_when_the_model_is_loaded(
    tmp_path: Path, on_cuda: UseDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")
    copies: list[weakref.ref[Any]] = []

    def noted(model: Any) -> Any:
        copied = copy.deepcopy(model)
        copies.append(weakref.ref(copied))
        return copied

    monkeypatch.setattr("labelmill.engines.arrange.copy", SimpleNamespace(deepcopy=noted))
    on_cuda()
    gc.disable()  # nothing but its last reference may have kept it
    try:
        engine = text_engine(folder)
        assert [each() for each in copies] == [None]
    finally:
        gc.enable()
    assert engine.layout is Layout.PACKED


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_a_small_head_computes_in_single_precision(
    family: str, tmp_path: Path, on_cuda: UseDevice
) -> None:
    folder = save_text_checkpoint(tmp_path, family)
    on_cuda()
    engine = text_engine(folder)
    seen = []
    engine._model.classifier.register_forward_hook(lambda _, given, answer: seen.append(answer))

    answers(engine, text_jobs(TEXTS[:4]))

    assert engine.running()["dtype"] == "bfloat16"
    assert {answer.dtype for answer in seen} == {torch.float32}


# --- copies, streams and waits ------------------------------------------------------------------


def test_a_pass_is_one_copy_there_and_one_back_and_nothing_waits(
    tmp_path: Path, on_cuda: UseDevice
) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")
    device = on_cuda()
    engine = text_engine(folder, token_budget=100_000)
    inputs = [each for each in engine.prepare(text_jobs(TEXTS)) if not isinstance(each, JobError)]
    device.cuda.asked.clear()

    rows = [each for each in engine.forward(inputs) if not isinstance(each, JobError)]

    assert device.cuda.asked == [
        *("pinned", "on copies", "off", "passes wait for copies", "keep for passes"),
        *("pinned", "event on passes"),
    ]
    device.cuda.asked.clear()
    engine.wait(rows)
    assert device.cuda.asked == ["synchronize event"]
    device.cuda.asked.clear()
    assert gather(rows[:7]).shape == (7, 3)
    assert device.cuda.asked == ["synchronize event"]


def test_outputs_of_a_pass_stay_right_while_others_run(tmp_path: Path, on_cuda: UseDevice) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")
    on_cuda()
    engine = text_engine(folder)
    expected = answers(engine, text_jobs(TEXTS))

    first = engine.forward([x for x in engine.prepare(text_jobs(TEXTS[:9])) if x is not None])
    engine.forward([x for x in engine.prepare(text_jobs(TEXTS[9:])) if x is not None])

    assert_same(engine.decode(first, [1000] * 9), expected[:9])


def test_a_group_fills_a_pass(tmp_path: Path, on_cuda: UseDevice) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")
    assert text_engine(folder, token_budget=65_536).group_size == 128
    on_cuda()
    assert text_engine(folder, token_budget=65_536).group_size == 65_536 // 50
    assert text_engine(folder, token_budget=256).group_size == 128
    assert text_engine(folder, token_budget=10**6).group_size == 4096
    assert text_engine(folder, token_budget=65_536, group_size=200).group_size == 200


def test_images_go_through_the_same_copies(tmp_path: Path, on_cuda: UseDevice) -> None:
    folder = save_image_checkpoint(tmp_path, "vit")
    jobs = [inline_job(encoded(picture(seed=seed), "JPEG")) for seed in range(20)]
    expected = answers(image_engine(folder), jobs)
    device = on_cuda()
    engine = image_engine(folder, dtype="float32")
    device.cuda.asked.clear()

    assert_same(answers(engine, jobs), expected)

    assert device.cuda.asked.count("on copies") == device.cuda.asked.count("event on passes") == 1


def test_a_whole_worker_says_how_it_runs_its_model(workers: Workers) -> None:
    save_text_checkpoint(workers.folder / "bert", "bert")
    workers.configure(
        '[models.texts]\ntask = "text-classification"\ncheckpoint = "bert"\ntoken_budget = 10_000\n'
        'engine = "tests.support.cuda:StandInTextEngine"\n'
    )
    workers.start()
    with workers.client() as client, workers.broker() as broker:
        submitted = client.submit_many("texts", [NewJob(text=text) for text in TEXTS * 5])
        rows = [client.wait(job_id) for job_id in submitted.ids]
        [beat] = heartbeats(broker)
    assert {row.status for row in rows} == {"succeeded"}
    assert beat["devices"] == ["cuda"]
    assert beat["running"]["texts"] == {
        "device": "cuda",
        "dtype": "bfloat16",
        "layout": "packed",
        "budget": "10000 tokens",
        "group_size": 200,
    }
