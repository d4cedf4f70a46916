"""Our own engines conform, on real models."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from labelmill.core.catalog import Catalog, ModelSpec
from labelmill.core.job import Image, Job
from labelmill.core.settings import EngineSettings
from labelmill.engines.load import load_engine
from labelmill.testing import InlineWorker, InMemoryClient, check_engine
from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint
from tests.support.images import encoded, picture

TEXTS = [
    "The parcel never came, and nobody answers the telephone.",
    "I love this shop!",
    "Where is my refund? It has been 3 weeks, 12 e-mails and no reply...",
    "Das Paket ist nie angekommen.",
    "A dull film",
]


def loaded(folder: Path, task: str, **options: Any) -> tuple[Any, ModelSpec]:
    given = {"task": f'"{task}"', "checkpoint": f'"{folder}"', **options}
    lines = [f"{name} = {value}" for name, value in given.items()]
    (folder / "models.toml").write_text("\n".join(["[models.m]", *lines]))
    spec = Catalog.load(folder / "models.toml")["m"]
    settings = EngineSettings(cache_dir=folder / "cache", image_root=folder)
    return load_engine(spec, settings), spec


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_the_text_engine_conforms(family: str, tmp_path: Path) -> None:
    save_text_checkpoint(tmp_path, family)
    engine, _ = loaded(tmp_path, "text-classification", token_budget=256)
    check_engine(engine, [Job(text=text) for text in TEXTS], bound=1e-5)


@pytest.mark.parametrize("exact", ["true", "false"])
def test_the_image_engine_conforms(exact: str, tmp_path: Path) -> None:
    save_image_checkpoint(tmp_path, "vit")
    engine, _ = loaded(tmp_path, "image-classification", exact=exact)
    files = [
        *(encoded(picture(seed=seed), "JPEG") for seed in range(3)),
        encoded(picture(40, 90, "RGBA", seed=4)),
    ]
    (tmp_path / "scan.png").write_bytes(encoded(picture(seed=9)))
    inline = [Job(image=Image(base64=base64.b64encode(file).decode())) for file in files]
    by_path = Job(image=Image(uri=str(tmp_path / "scan.png")))
    check_engine(engine, [*inline, by_path], bound=1e-5)


def test_the_inline_worker_runs_a_real_model(tmp_path: Path) -> None:
    save_text_checkpoint(tmp_path, "bert", labels=3)
    engine, spec = loaded(tmp_path, "text-classification", token_budget=256, top_k=2)
    with InMemoryClient() as client:
        worker = InlineWorker(client, {"m": engine})
        job_id = client.submit_text("m", TEXTS[0])
        [row] = worker.run()
        assert row.id == job_id
        assert row.revision == engine.revision
        assert row.checkpoint == spec.checkpoint
        assert row.scores is not None
        assert [len(row.scores), row.scores[0]["label"]] == [2, row.label]
