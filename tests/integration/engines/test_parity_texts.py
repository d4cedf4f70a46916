"""Texts: labels and scores are those of ``transformers.pipeline`` on the same checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import transformers

from labelmill.engines.packing import Layout
from tests.support.answers import (
    ALL,
    answers,
    assert_same,
    assert_varied,
    text_engine,
    text_jobs,
    text_pipeline,
)
from tests.support.checkpoints import MAX_LENGTH, TEXT_FAMILIES, save_text_checkpoint

OVER_LONG = "The film was too long. " * 40

# Of many lengths, so that a group has padding.
TEXTS = [
    "a",
    "The parcel never came, and nobody answers the telephone.",
    " \t\n ",
    "I ❤️ this 👩‍👩‍👧‍👦 shop 🎉",
    "包裹从来没有到。我很生气。",
    "הטרוד לא הגיע, لم يصل الطرد",
    "one\x00two\x07three\x1b[0m four\u200b\u202efive\r\n",
    "I love this shop!",
    "größer, größer, GRÖẞER; e\u0301te\u0301, ﬁn",
    OVER_LONG,
    "ends with <pad> [PAD] <|endoftext|> and </s> <pad>",
    "I love this shop!",
]

#: How texts of a family share a pass; what is not named here has an attention of its own.
LAYOUTS = {
    **dict.fromkeys(TEXT_FAMILIES, Layout.PACKED),
    **dict.fromkeys(["deberta-v2", "mpnet", "ibert", "esm"], Layout.PADDED),
    "qwen2_moe": Layout.ALONE,  # and it has no padding token
    **dict.fromkeys(["convbert", "fnet", "mobilebert", "nystromformer", "yoso"], Layout.EQUAL),
}

families = pytest.mark.parametrize("family", TEXT_FAMILIES)


@families
def test_a_group_of_texts_has_the_scores_of_the_pipeline(family: str, tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, family)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_varied(ours)
    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


@families
def test_packs_of_any_size_have_the_scores_of_the_pipeline(family: str, tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, family)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder, token_budget=2 * MAX_LENGTH), text_jobs(TEXTS))

    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


@families
def test_texts_are_packed_where_the_architecture_allows_it(family: str, tmp_path: Path) -> None:
    assert text_engine(save_text_checkpoint(tmp_path, family)).layout is LAYOUTS[family]


@families
def test_a_text_is_cut_at_the_models_length_where_the_tokenizer_names_none(
    family: str, tmp_path: Path
) -> None:
    folder = save_text_checkpoint(tmp_path, family, max_length=None)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs([OVER_LONG]))

    assert_same(ours, [pipeline(OVER_LONG, top_k=None, truncation=True, max_length=MAX_LENGTH)])


def test_a_text_is_cut_at_the_tokenizers_length_where_it_is_the_shorter(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "bert", max_length=12)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs([OVER_LONG]))

    assert_same(ours, [pipeline(OVER_LONG, top_k=None, truncation=True)])


def test_gpt2_with_a_padding_token_shares_packs(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "gpt2", pad_token="<|padding|>")
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_varied(ours)
    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


def test_gpt2_may_pad_with_its_end_of_text(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "gpt2", pad_token="<|endoftext|>")
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


def test_masks_in_one_text_change_no_other(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "esm", token_dropout=True)
    pipeline = text_pipeline(folder)
    texts = ["I love this shop!", "<mask> <mask> <mask>", "a <mask> b", "Where is it?"]

    ours = answers(text_engine(folder), text_jobs(texts))

    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in texts])


@pytest.mark.parametrize("family", ["qwen2", "qwen2_moe"])
def test_a_window_longer_than_any_probe_is_kept(family: str, tmp_path: Path) -> None:
    folder = save_text_checkpoint(
        tmp_path, family, max_length=1200, max_position_embeddings=1200, sliding_window=900
    )
    pipeline = text_pipeline(folder)
    texts = [OVER_LONG * 4, "I love this shop!"]

    ours = answers(text_engine(folder), text_jobs(texts))

    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in texts])


def test_a_long_neighbour_changes_no_frequencies(tmp_path: Path) -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [1.0, 3.0, 5.0, 9.0],
        "original_max_position_embeddings": 60,
        "factor": 4.0,
    }
    folder = save_text_checkpoint(
        tmp_path,
        "llama",
        pad_token="<|padding|>",
        max_length=240,
        max_position_embeddings=240,
        rope_parameters=rope,
    )
    pipeline = text_pipeline(folder)
    engine = text_engine(folder)
    texts = [OVER_LONG, "I love this shop!", OVER_LONG[:100]]

    ours = answers(engine, text_jobs(texts))

    assert engine.layout is Layout.EQUAL
    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in texts])


def test_a_head_that_reads_the_mean_of_a_text_is_packed(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "modernbert", classifier_pooling="mean")
    pipeline = text_pipeline(folder)
    engine = text_engine(folder)

    ours = answers(engine, text_jobs(TEXTS))

    assert engine.layout is Layout.PACKED
    assert_varied(ours)
    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_compiled_model_has_the_scores_of_the_pipeline(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "bert", num_hidden_layers=1)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder, compile=True), text_jobs(TEXTS))

    assert_varied(ours)
    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["gpt2", "qwen2", "deberta-v2", "bert"])
def test_the_side_of_the_padding_does_not_matter(family: str, side: str, tmp_path: Path) -> None:
    pad_token = {"gpt2": "<|padding|>", "qwen2": "<|padding|>"}.get(family)
    folder = save_text_checkpoint(tmp_path, family, pad_token=pad_token)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = side
    tokenizer.save_pretrained(folder)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    [
        (4, None),
        (4, "single_label_classification"),
        (4, "multi_label_classification"),
        (2, "regression"),
        (1, "regression"),
        (1, None),
        (1, "multi_label_classification"),
    ],
)
def test_each_kind_of_problem_has_the_scores_of_the_pipeline(
    labels: int, problem_type: str | None, tmp_path: Path
) -> None:
    folder = save_text_checkpoint(tmp_path, "bert", labels=labels, problem_type=problem_type)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS))

    assert_varied(ours)
    assert_same(ours, [pipeline(text, top_k=None, truncation=True) for text in TEXTS])


@pytest.mark.parametrize("top_k", [1, 2, 4, 5, ALL])
def test_top_k_keeps_as_many_labels_as_the_pipeline(top_k: int, tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "bert", labels=4)
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(TEXTS), top_k)

    assert_same(ours, [pipeline(text, top_k=top_k, truncation=True) for text in TEXTS])


def test_a_lone_surrogate_reads_as_a_replacement_character(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "roberta")
    pipeline = text_pipeline(folder)

    ours = answers(text_engine(folder), text_jobs(["half \ud83d a pair", "🎉 \udc00"]))

    assert_same(ours, [pipeline(text, top_k=None) for text in ["half \ufffd a pair", "🎉 \ufffd"]])


def test_a_text_of_the_largest_size_is_answered(tmp_path: Path) -> None:
    folder = save_text_checkpoint(tmp_path, "bert")

    [answer] = answers(text_engine(folder), text_jobs(["a " * (128 * 1024)]))

    assert len(answer) == 3
