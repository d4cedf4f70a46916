"""The engines and a whole worker on a CUDA device, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from labelmill.client import NewJob
from labelmill.core.catalog import ModelSpec
from labelmill.core.job import parse_job
from labelmill.engines.text import TextEngine
from tests.support.answers import answers, image_engine
from tests.support.checkpoints import save_image_checkpoint
from tests.support.images import encoded, inline_job, picture
from tests.support.worker import Workers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

TEXTS = [" ".join(["the", "parcel", "never", "came"][: 1 + i % 4] * (1 + i)) for i in range(60)]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small BERT with random weights."""
    torch.manual_seed(0)
    folder = tmp_path / "bert"
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "parcel", "never", "came"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=128).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        num_labels=4,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def labels(folder: Path, **settings: str) -> list[dict[str, float]]:
    """The scores of all texts, by label."""
    table = {"task": "text-classification", "checkpoint": str(folder), **settings}
    engine = TextEngine(ModelSpec.model_validate(table))
    inputs = engine.prepare([parse_job({"text": text}) for text in TEXTS])
    decoded = engine.decode(engine.forward(inputs), [4] * len(TEXTS))
    return [{each["label"]: each["score"] for each in scores} for scores in decoded]


def test_single_precision_on_cuda_equals_the_cpu(checkpoint: Path) -> None:
    on_cpu = labels(checkpoint, device="cpu")
    on_cuda = labels(checkpoint, device="cuda", dtype="float32")
    for expected, found in zip(on_cpu, on_cuda, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)


def test_the_default_on_cuda_is_half_precision_and_near(checkpoint: Path) -> None:
    engine = TextEngine(
        ModelSpec.model_validate({"task": "text-classification", "checkpoint": str(checkpoint)})
    )
    assert engine.device == "cuda"
    assert next(engine._model.parameters()).dtype in (torch.bfloat16, torch.float16)
    for expected, found in zip(labels(checkpoint, device="cpu"), labels(checkpoint), strict=True):
        assert found == pytest.approx(expected, abs=0.05)


def test_images_on_cuda_are_near_those_on_the_cpu(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "vit")
    jobs = [inline_job(encoded(picture(seed=seed), "JPEG")) for seed in range(20)]
    on_cpu = answers(image_engine(folder), jobs)
    on_cuda = answers(image_engine(folder, device="cuda", dtype="float32"), jobs)
    for expected, found in zip(on_cpu, on_cuda, strict=True):
        scores = {each["label"]: each["score"] for each in expected}
        assert {each["label"]: each["score"] for each in found} == pytest.approx(scores, abs=0.01)


def test_a_whole_worker_on_cuda(workers: Workers, checkpoint: Path, tmp_path: Path) -> None:
    import PIL.Image

    folder = tmp_path / "vit"
    config = ViTConfig(
        image_size=32, patch_size=8, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, num_labels=3,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
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
        inspected = client.wait(client.submit_text("texts", "the parcel"))
        assert inspected.label is not None
