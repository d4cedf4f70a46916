"""A job's scores do not depend on the jobs beside it, nor on their order."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelmill.core.errors import JobError
from labelmill.engines.bisect import run_bisecting
from tests.support.answers import (
    Answer,
    answers,
    assert_same,
    image_engine,
    text_engine,
    text_jobs,
    text_pipeline,
)
from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint
from tests.support.images import encoded, inline_job, picture

TEXTS = ["a", "The parcel never came.", "I love this shop, and everything in it was wonderful!"]

SIZES = [(64, 48), (1, 1), (1, 300), (640, 11), (33, 47), (32, 32)]

few = settings(max_examples=30, deadline=None)

texts = st.lists(
    st.sampled_from(TEXTS) | st.text(st.characters(codec=None), min_size=1, max_size=80),
    min_size=1,
    max_size=10,
)
images = st.lists(st.sampled_from(SIZES), min_size=1, max_size=6).flatmap(st.permutations)


@pytest.fixture(
    scope="module", params=["bert", "roberta", "modernbert", "gpt2", "deberta-v2", "convbert"]
)
def answer_texts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[list[str]], list[Answer]]:
    """Answers one group of texts, in packs that are soon full."""
    folder = save_text_checkpoint(tmp_path_factory.mktemp("neighbours"), request.param)
    engine = text_engine(folder, token_budget=100)
    return lambda group: answers(engine, text_jobs(group))


@pytest.fixture(scope="module")
def answer_images(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[list[tuple[int, int]]], list[Answer]]:
    """Answers one group of images of the given widths and heights."""
    engine = image_engine(save_image_checkpoint(tmp_path_factory.mktemp("neighbours"), "vit"))
    job = cache(lambda size: inline_job(encoded(picture(*size, seed=SIZES.index(size)))))
    return lambda group: answers(engine, [job(size) for size in group])


@few
@given(group=texts)
def test_a_text_has_the_same_scores_in_any_group(
    answer_texts: Callable[[list[str]], list[Answer]], group: list[str]
) -> None:
    alone = [answer_texts([text])[0] for text in group]

    assert_same(answer_texts(group), alone)
    assert_same(answer_texts(group[::-1]), alone[::-1])


@few
@given(group=images)
def test_an_image_has_the_same_scores_in_any_group(
    answer_images: Callable[[list[tuple[int, int]]], list[Answer]], group: list[tuple[int, int]]
) -> None:
    alone = [answer_images([size])[0] for size in group]

    assert_same(answer_images(group), alone)
    assert_same(answer_images(group[::-1]), alone[::-1])


def test_images_that_are_preprocessed_to_different_shapes_share_a_group(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "convnext")
    keep_the_shape = {"do_resize": False, "image_processor_type": "ViTImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(keep_the_shape))
    engine = image_engine(folder)
    jobs = [inline_job(encoded(picture(*size))) for size in [(64, 48), (48, 64), (64, 48)]]

    together = answers(engine, jobs)

    assert_same(together, [answers(engine, [job])[0] for job in jobs])


# A model that pads otherwise than its tokenizer says sees the padding as part of the text.


def test_a_model_without_a_padding_token_has_the_scores_of_the_pipeline(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "gpt2", pad_token="<|padding|>", pad_token_id=None)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_same(ours, [pipeline(text, top_k=None) for text in TEXTS])


def test_a_model_with_another_padding_token_has_the_scores_of_the_pipeline(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "gpt2", pad_token="<|padding|>", pad_token_id=5)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_same(ours, [pipeline(text, top_k=None) for text in TEXTS])


@pytest.mark.parametrize("family", ["bert", "gpt2", "roberta"])
def test_a_tokenizer_that_pads_on_the_left_has_the_scores_of_the_pipeline(
    family: str, tmp_path: Path
) -> None:
    pad_token = "<|padding|>" if family == "gpt2" else None
    folder = save_text_checkpoint(tmp_path, family, pad_token=pad_token)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left"}))
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_same(ours, [pipeline(text, top_k=None) for text in TEXTS])


def test_a_text_without_any_token_fails_in_company_as_it_does_alone(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "modernbert")
    file = folder / "tokenizer.json"
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    bare = {**json.loads(file.read_text()), "normalizer": strip, "post_processor": None}
    file.write_text(json.dumps(bare))
    engine = text_engine(folder)

    inputs = run_bisecting(engine.prepare, text_jobs(["I love this shop!", " \n"]))
    prepared = [each for each in inputs if not isinstance(each, JobError)]
    outputs = run_bisecting(engine.forward, prepared)

    assert [type(each) for each in inputs + outputs].count(JobError) == 1
