"""The engines and a whole worker on a CUDA device, where there is one: ``pytest -m gpu``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
import torch
from torch.nn.attention.varlen import varlen_attn

from labelmill.client import NewJob
from labelmill.core.errors import JobError
from labelmill.engines.packing import Layout
from labelmill.engines.varlen import Varlen
from tests.integration.engines.test_cuda import FAMILIES, TEXTS
from tests.support.answers import (
    PIPELINE_OPTIONS,
    answers,
    half_pipeline,
    image_engine,
    root_mean_square,
    scores,
    text_engine,
    text_jobs,
)
from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint
from tests.support.cuda import varlen_attn_of_2_14
from tests.support.images import encoded, inline_job, picture
from tests.support.worker import Workers

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def no_wait() -> Iterator[None]:
    """Whatever waits for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (3, 3), (3, 0)])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_the_kernel_attends_as_its_stand_in(window: tuple[int, int], key_heads: int) -> None:
    generator = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(70, heads, 20, generator=generator).bfloat16()
        for heads in (4, key_heads, key_heads)
    )
    bounds = torch.tensor([0, 1, 6, 40, 70], dtype=torch.int32)

    def attended(kernel: object, device: str) -> torch.Tensor:
        return Varlen(kernel)(  # type: ignore[arg-type]
            *(each.to(device) for each in (query, key, value)),
            query_bounds=bounds.to(device),
            key_bounds=bounds.to(device),
            longest_query=34,
            longest_key=34,
            scale=None,
            window=window,
        ).cpu()

    torch.testing.assert_close(
        attended(varlen_attn, "cuda"), attended(varlen_attn_of_2_14, "cpu"), atol=2e-2, rtol=2e-2
    )


def test_single_precision_equals_the_cpu(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")
    on_cpu = scores(answers(text_engine(folder), text_jobs(TEXTS)))
    engine = text_engine(folder, device="cuda", dtype="float32")
    assert abs(scores(answers(engine, text_jobs(TEXTS))) - on_cpu).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_packed_and_loses_no_more_than_the_pipeline(
    family: str, tmp_path: Path
) -> None:
    folder = save_text_checkpoint(tmp_path, family)
    exact = scores(answers(text_engine(folder), text_jobs(TEXTS)))
    pipeline = half_pipeline(folder, "cuda", "bfloat16")
    theirs = scores(pipeline(TEXTS, **PIPELINE_OPTIONS))

    engine = text_engine(folder, device="cuda", dtype="bfloat16")
    ours = scores(answers(engine, text_jobs(TEXTS)))

    assert engine.refused == []
    assert engine.layout is Layout.PACKED
    assert root_mean_square(ours - exact) <= 1.1 * root_mean_square(theirs - exact)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_waits_between_a_pass_and_its_decoding(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = text_engine(save_text_checkpoint(tmp_path, family), device="cuda", dtype="bfloat16")
    inputs = [each for each in engine.prepare(text_jobs(TEXTS)) if not isinstance(each, JobError)]
    answers(engine, text_jobs(TEXTS))  # what is made once is made
    request.getfixturevalue("no_wait")

    assert len(engine.forward(inputs)) == len(TEXTS)


def test_images_are_near_those_of_the_cpu(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "vit")
    jobs = [inline_job(encoded(picture(seed=seed), "JPEG")) for seed in range(20)]
    on_cpu = scores(answers(image_engine(folder), jobs))
    engine = image_engine(folder, device="cuda", dtype="float32")
    assert abs(scores(answers(engine, jobs)) - on_cpu).max() < 0.01


def test_a_whole_worker(workers: Workers, tmp_path: Path) -> None:
    save_text_checkpoint(workers.folder / "bert", "bert")
    save_image_checkpoint(workers.folder / "vit", "vit")
    PIL.Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    workers.configure(
        '[models.texts]\ntask = "text-classification"\ncheckpoint = "bert"\n'
        '[models.images]\ntask = "image-classification"\ncheckpoint = "vit"\n',
        image_root=str(tmp_path),
    )
    workers.start()
    with workers.client() as client:
        texts = client.submit_many("texts", [NewJob(text=text) for text in TEXTS * 20]).ids
        image = client.submit_image("images", "red.png")
        rows = [client.wait(job_id) for job_id in [*texts, image]]
    assert {row.status for row in rows} == {"succeeded"}
