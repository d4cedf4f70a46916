"""Tiny random checkpoints: real architectures with real tokenizers, a few kilobytes each.

The weights are spread widely, so that scores differ clearly from input to input: an engine that
mixes up two inputs, or reads the wrong token, is seen at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

#: Positions that the text models have; longer texts are truncated.
MAX_LENGTH = 48

#: Height and width of what the image models see.
IMAGE_SIZE = 32

_CORPUS = [
    "The parcel never came, and nobody answers the telephone.",
    "I love this shop! Everything was wonderful, and quick; thank you so much.",
    "Where is my refund? It has been 3 weeks, 12 e-mails and no reply...",
    "A dull film, badly acted, badly lit and far too long.",
    "Das Paket ist nie angekommen, größer war der Ärger über die Hotline.",
    "Le colis n'est jamais arrivé; où est passé mon remboursement?",
    "包裹从来没有到。我很生气,请退款。",
    "荷物がまだ届きません。とても残念です。",
    "הטרוד לא הגיע ואני כועס מאוד",
    "لم يصل الطرد أبدا وأنا غاضب جدا",
    "Посылка так и не пришла, верните деньги.",
]

# Small in every direction. A configuration takes those of these that it knows.
_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@dataclass(frozen=True)
class _TextFamily:
    tokenizer: Callable[[], PreTrainedTokenizerBase]
    config: dict[str, Any]


def save_text_checkpoint(
    folder: Path,
    family: str,
    *,
    labels: int = 3,
    problem_type: str | None = None,
    pad_token: str | None = None,
    max_length: int | None = MAX_LENGTH,
    **config: Any,
) -> Path:
    """Save a sequence classifier with its tokenizer, and return the folder.

    Parameters:
        family: a key of ``TEXT_FAMILIES``.
        pad_token: made the tokenizer's, and its id the model's; by default the family's own.
        max_length: what the tokenizer is told that the model reads at most.
        config: overrides the family's configuration.
    """
    tokenizer = TEXT_FAMILIES[family].tokenizer()
    if pad_token is not None:
        tokenizer.pad_token = pad_token
    tokenizer.model_max_length = max_length or int(1e30)
    made = _config(
        family,
        labels,
        problem_type,
        **{
            **TEXT_FAMILIES[family].config,
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            **config,
        },
    )
    model = transformers.AutoModelForSequenceClassification.from_config(made)
    spread_weights(model)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def save_image_checkpoint(
    folder: Path,
    family: str,
    *,
    labels: int = 3,
    problem_type: str | None = None,
    **config: Any,
) -> Path:
    """Save an image classifier with its processor, and return the folder.

    Parameters:
        family: a key of ``IMAGE_FAMILIES``.
        config: overrides the family's configuration.
    """
    made = _config(family, labels, problem_type, **{**IMAGE_FAMILIES[family], **config})
    model = transformers.AutoModelForImageClassification.from_config(made)
    spread_weights(model)
    _normalize_batches(model)
    _processor(family).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def spread_weights(model: torch.nn.Module, seed: int = 7) -> None:
    """Draw matrices anew, so wide that scores differ clearly but are not all 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                fan_in = parameter[0].numel()
                spread = 1.0 if "embed" in name else 1.5 / fan_in**0.5
                parameter.normal_(std=spread, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(std=0.2, generator=generator)


def _normalize_batches(model: PreTrainedModel) -> None:
    """Let batch normalisation see images once, or deep models shrink every image to nothing."""
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    if not layers:
        return
    model.eval()  # without dropout, which is random
    for layer in layers:
        layer.train().momentum = None
        torch.nn.init.ones_(layer.weight)
    images = torch.randn(16, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        model(pixel_values=images)


def _config(family: str, labels: int, problem_type: str | None, **options: Any) -> PretrainedConfig:
    made = transformers.AutoConfig.for_model(family, **options)
    made.id2label = {i: f"label {i}" for i in range(labels)}
    made.label2id = {label: i for i, label in made.id2label.items()}
    made.problem_type = problem_type
    return made


# --- tokenizers ---------------------------------------------------------------------------------


@cache
def _word_pieces(special: tuple[str, ...]) -> dict[str, int]:
    """A vocabulary of whole words, and of letters to spell all others with."""
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    lines = [splitter.pre_tokenize_str(normalizer.normalize_str(line)) for line in _CORPUS]
    words = sorted({word for line in lines for word, _ in line})
    letters = sorted(set("".join(words)))
    continued = [f"##{letter}" for letter in letters]
    return _numbered([*special, *letters, *continued, *words])


@cache
def _byte_pairs(special: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of bytes and words, and merges that build each word from its beginning."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = sorted({word for line in _CORPUS for word, _ in splitter.pre_tokenize_str(line)})
    merges = dict.fromkeys(
        (word[:end], word[end]) for word in words for end in range(1, min(len(word), 8))
    )
    merged = [f"{left}{right}" for left, right in merges]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return _numbered([*special, *alphabet, *merged]), list(merges)


@cache
def _pieces(special: tuple[str, ...]) -> list[tuple[str, float]]:
    """A vocabulary like SentencePiece's: pieces with log probabilities."""
    words = {f"▁{word}" for line in _CORPUS for word in line.lower().split()}
    letters = {letter for line in _CORPUS for letter in line + line.lower()} - {" "}
    pieces = ["▁", *sorted(letters), *sorted(words)]
    return [(token, 0.0) for token in special] + [
        (piece, -2.0 - 0.01 * rank) for rank, piece in enumerate(pieces)
    ]


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _bert_tokenizer() -> PreTrainedTokenizerBase:
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return transformers.BertTokenizer(vocab=_word_pieces(special))


def _mpnet_tokenizer() -> PreTrainedTokenizerBase:
    special = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    return transformers.MPNetTokenizer(vocab=_word_pieces(special))


def _roberta_tokenizer() -> PreTrainedTokenizerBase:
    vocabulary, merges = _byte_pairs(("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    return transformers.RobertaTokenizer(vocab=vocabulary, merges=merges)


def _gpt2_tokenizer() -> PreTrainedTokenizerBase:
    vocabulary, merges = _byte_pairs(("<|endoftext|>", "<|padding|>"))
    return transformers.GPT2Tokenizer(vocab=vocabulary, merges=merges)


def _xlm_roberta_tokenizer() -> PreTrainedTokenizerBase:
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    return transformers.XLMRobertaTokenizer(vocab=_pieces(special))


def _camembert_tokenizer() -> PreTrainedTokenizerBase:
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    return transformers.CamembertTokenizer(vocab=_pieces(special))


def _albert_tokenizer() -> PreTrainedTokenizerBase:
    return transformers.AlbertTokenizer(
        vocab=_pieces(("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"))
    )


def _deberta_tokenizer() -> PreTrainedTokenizerBase:
    return transformers.DebertaV2Tokenizer(
        vocab=_pieces(("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")), unk_id=3
    )


def _modernbert_tokenizer() -> PreTrainedTokenizerBase:
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    vocabulary, merges = _byte_pairs(special)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )


TEXT_FAMILIES = {
    "bert": _TextFamily(_bert_tokenizer, {**_SMALL, "max_position_embeddings": MAX_LENGTH}),
    "distilbert": _TextFamily(
        _bert_tokenizer,
        {
            "dim": 32,
            "hidden_dim": 64,
            "n_layers": 2,
            "n_heads": 4,
            "max_position_embeddings": MAX_LENGTH,
        },
    ),
    "roberta": _TextFamily(
        _roberta_tokenizer,
        {**_SMALL, "max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1},
    ),
    "xlm-roberta": _TextFamily(
        _xlm_roberta_tokenizer,
        {**_SMALL, "max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1},
    ),
    "camembert": _TextFamily(
        _camembert_tokenizer,
        {**_SMALL, "max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1},
    ),
    "albert": _TextFamily(
        _albert_tokenizer,
        {**_SMALL, "embedding_size": 16, "max_position_embeddings": MAX_LENGTH},
    ),
    "electra": _TextFamily(
        _bert_tokenizer,
        {**_SMALL, "embedding_size": 16, "max_position_embeddings": MAX_LENGTH},
    ),
    "deberta-v2": _TextFamily(
        _deberta_tokenizer,
        {
            **_SMALL,
            "max_position_embeddings": MAX_LENGTH,
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "mpnet": _TextFamily(_mpnet_tokenizer, {**_SMALL, "max_position_embeddings": MAX_LENGTH + 2}),
    "modernbert": _TextFamily(
        _modernbert_tokenizer,
        {
            **_SMALL,
            "max_position_embeddings": MAX_LENGTH,
            "global_attn_every_n_layers": 2,
            "local_attention": 16,
            "cls_token_id": 1,
            "sep_token_id": 2,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    # Counts positions from behind its padding token, as RoBERTa does.
    "ibert": _TextFamily(
        _roberta_tokenizer,
        {**_SMALL, "max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1},
    ),
    # These read what stands behind a text's end, masked or not.
    "convbert": _TextFamily(
        _bert_tokenizer,
        {**_SMALL, "embedding_size": 16, "max_position_embeddings": MAX_LENGTH},
    ),
    "fnet": _TextFamily(_albert_tokenizer, {**_SMALL, "max_position_embeddings": MAX_LENGTH}),
    "mobilebert": _TextFamily(
        _bert_tokenizer,
        {
            **_SMALL,
            "embedding_size": 16,
            "true_hidden_size": 32,
            "intra_bottleneck_size": 32,
            "max_position_embeddings": MAX_LENGTH,
            "normalization_type": "layer_norm",
        },
    ),
    "nystromformer": _TextFamily(
        _albert_tokenizer,
        {
            **_SMALL,
            "max_position_embeddings": MAX_LENGTH,
            "num_landmarks": 8,
            "segment_means_seq_len": 8,
        },
    ),
    "yoso": _TextFamily(_albert_tokenizer, {**_SMALL, "max_position_embeddings": MAX_LENGTH}),
    "gpt2": _TextFamily(
        _gpt2_tokenizer,
        {
            "n_embd": 32,
            "n_head": 4,
            "n_layer": 2,
            "n_positions": MAX_LENGTH,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    # Several queries share a key, and every other layer sees a window only.
    "qwen2": _TextFamily(
        _gpt2_tokenizer,
        {
            **_SMALL,
            "num_key_value_heads": 2,
            "max_position_embeddings": MAX_LENGTH,
            "use_sliding_window": True,
            "sliding_window": 8,
            "max_window_layers": 1,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    # Its window is in its mask alone.
    "qwen2_moe": _TextFamily(
        _gpt2_tokenizer,
        {
            **_SMALL,
            "num_key_value_heads": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
            "max_position_embeddings": MAX_LENGTH,
            "use_sliding_window": True,
            "sliding_window": 8,
            "max_window_layers": 1,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    # Scales all tokens of a sequence by how many of them are masked.
    "esm": _TextFamily(
        _roberta_tokenizer,
        {
            **_SMALL,
            "max_position_embeddings": MAX_LENGTH + 2,
            "mask_token_id": 4,
            "token_dropout": True,
        },
    ),
    "llama": _TextFamily(
        _gpt2_tokenizer,
        {
            **_SMALL,
            "num_key_value_heads": 1,
            "max_position_embeddings": MAX_LENGTH,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
}


# --- images -------------------------------------------------------------------------------------


def _processor(family: str) -> Any:
    square = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    edge = {"shortest_edge": IMAGE_SIZE}
    options: dict[str, dict[str, Any]] = {
        "beit": {"size": square, "do_center_crop": False},
        "convnext": {"size": edge, "crop_pct": 0.875},
        "deit": {"size": {"height": 40, "width": 40}, "crop_size": square},
        "mobilevit": {"size": {"shortest_edge": 40}, "crop_size": square},
        "resnet": {"size": edge, "crop_pct": 0.875},
        "siglip2": {"patch_size": 8, "max_num_patches": 16},
        "swin": {"size": square},
        "vit": {"size": square},
    }
    made: dict[str, Any] = {
        "beit": transformers.BeitImageProcessorPil,
        "convnext": transformers.ConvNextImageProcessorPil,
        "deit": transformers.DeiTImageProcessorPil,
        "mobilevit": transformers.MobileViTImageProcessorPil,
        "resnet": transformers.ConvNextImageProcessorPil,
        "siglip2": transformers.Siglip2ImageProcessorPil,
        "swin": transformers.ViTImageProcessorPil,
        "vit": transformers.ViTImageProcessorPil,
    }
    return made[family](**options[family])


_PATCHES: dict[str, Any] = {**_SMALL, "image_size": IMAGE_SIZE, "patch_size": 8}

IMAGE_FAMILIES: dict[str, dict[str, Any]] = {
    "vit": _PATCHES,
    "deit": {**_PATCHES, "architectures": ["DeiTForImageClassification"]},
    "beit": {**_PATCHES, "use_relative_position_bias": True},
    "swin": {
        "image_size": IMAGE_SIZE,
        "patch_size": 4,
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 4],
        "window_size": 4,
    },
    "convnext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "resnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
    "mobilevit": {
        "image_size": IMAGE_SIZE,
        "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [8, 8, 16, 16, 16, 16, 32],
        "num_attention_heads": 2,
    },
    # Reads more than pixel values: which patches there are, and where.
    "siglip2": {
        "vision_config": {**_SMALL, "patch_size": 8, "num_patches": 16},
        "text_config": _SMALL,
    },
}
