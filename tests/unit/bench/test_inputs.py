"""The made-up inputs are what the benchmarks say of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from labelmill.bench import inputs, vocabulary
from labelmill.core.errors import SourceError


def lengths(texts: list[str]) -> list[int]:
    """In tokens."""
    return [len(ids) for ids in vocabulary.tokenizer()(texts)["input_ids"]]


def test_texts_have_the_lengths_that_are_told() -> None:
    found = lengths(inputs.texts(3000))
    assert np.mean(found) == pytest.approx(inputs.MEAN_TOKENS, rel=0.1)
    assert np.std(np.log(found)) == pytest.approx(inputs.SIGMA, rel=0.1)
    assert max(found) <= vocabulary.MAX_LENGTH


def test_no_text_is_longer_than_asked_for() -> None:
    assert max(lengths(inputs.texts(300, mean=12, longest=20))) <= 20


def test_texts_are_the_same_for_a_seed_and_differ_from_each_other() -> None:
    texts = inputs.texts(500)
    assert texts == inputs.texts(500)
    assert texts != inputs.texts(500, seed=1)
    assert len(set(texts)) == 500


def test_every_word_is_known() -> None:
    tokenizer = vocabulary.tokenizer()
    assert len(tokenizer) == 30_522
    ids = {id for text in tokenizer(inputs.texts(500))["input_ids"] for id in text}
    assert tokenizer.unk_token_id not in ids


def test_photographs_weigh_as_much_as_real_ones(tmp_path: Path) -> None:
    (file,) = inputs.photographs(tmp_path, 1, (500, 375))
    assert 40_000 < file.stat().st_size < 80_000
    with PIL.Image.open(file) as image:
        assert (image.format, image.size) == ("JPEG", (500, 375))


def test_own_texts_are_read_up_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("body\none\n\ntwo\nthree\n")
    assert inputs.own_texts(file, "body", 2) == ["one", "two"]


def test_data_without_inputs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text\n")
    with pytest.raises(SourceError, match="has no texts"):
        inputs.own_texts(tmp_path / "mine.csv", "text", 2)
    with pytest.raises(SourceError, match="has no column 'image'"):
        inputs.own_images(tmp_path, 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="has no images"):
        inputs.own_images(tmp_path / "empty", 2)
