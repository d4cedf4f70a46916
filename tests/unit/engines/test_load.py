from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ConfigurationError, JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.engines import Engine
from labelmill.engines.image import ImageEngine
from labelmill.engines.load import load_engine
from labelmill.engines.text import TextEngine
from labelmill.worker.settings import WorkerSettings
from tests.support.answers import spec
from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint


class OwnEngine(Engine[None, None]):
    """An engine that somebody else wrote."""

    def prepare(self, jobs: Sequence[Job]) -> list[JobError | None]:
        return [None] * len(jobs)

    def forward(self, inputs: Sequence[None]) -> list[JobError | None]:
        return [None] * len(inputs)

    def decode(
        self, outputs: Sequence[None], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        return [[] for _ in outputs]


def own(engine: str, tmp_path: Path) -> ModelSpec:
    """The entry of a model with an engine of its own."""
    return spec("text-classification", tmp_path, engine=engine)


def test_a_text_model_has_the_text_engine(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")

    engine = load_engine(spec("text-classification", folder), WorkerSettings())

    assert isinstance(engine, TextEngine)


def test_an_image_model_has_the_image_engine(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "vit")

    engine = load_engine(spec("image-classification", folder), WorkerSettings())

    assert isinstance(engine, ImageEngine)


def test_an_engine_of_ones_own_is_given_the_models_entry(tmp_path: Path) -> None:
    entry = own(f"{__name__}:OwnEngine", tmp_path)

    engine = load_engine(entry, WorkerSettings())

    assert type(engine).__name__ == "OwnEngine"
    assert engine.spec is entry


@pytest.mark.parametrize("engine", ["no_such_module:Engine", "json:NoSuchEngine"])
def test_an_engine_that_cannot_be_imported_is_refused(engine: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"engine '{engine}' cannot be imported"):
        load_engine(own(engine, tmp_path), WorkerSettings())


@pytest.mark.parametrize("engine", ["json:JSONDecoder", "json:loads"])
def test_an_engine_has_to_be_a_subclass_of_engine(engine: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a subclass"):
        load_engine(own(engine, tmp_path), WorkerSettings())
