"""The families: a tiny checkpoint of each architecture, two layers of 128."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from labelmill.bench import checkpoints, vocabulary

_SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
}
_GPT2: dict[str, Any] = {"n_embd": 128, "n_layer": 2, "n_head": 2}
_DISTILBERT: dict[str, Any] = {"dim": 128, "n_layers": 2, "n_heads": 2, "hidden_dim": 512}
_DEBERTA: dict[str, Any] = {
    **_SIZES,
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
}
_MODERNBERT: dict[str, Any] = {**_SIZES, "global_attn_every_n_layers": 2}

#: By name: the type of the configuration, and what differs from its defaults.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "BERT": ("bert", _SIZES),
    "RoBERTa": ("roberta", _SIZES),
    "DistilBERT": ("distilbert", _DISTILBERT),
    "ALBERT": ("albert", {**_SIZES, "embedding_size": 128}),
    "MPNet": ("mpnet", _SIZES),
    "ModernBERT": ("modernbert", _MODERNBERT),
    "Llama, a key for two heads": ("llama", {**_SIZES, "num_key_value_heads": 1}),
    "GPT-2": ("gpt2", _GPT2),
    "DeBERTa": ("deberta-v2", _DEBERTA),
}


def save(folder: Path, family: str, *, longest: int = vocabulary.MAX_LENGTH, **more: Any) -> Path:
    """A checkpoint with random weights, which reads texts of up to ``longest`` tokens."""
    kind, settings = FAMILIES[family]
    tokenizer = vocabulary.tokenizer()
    # Ids of tokens that other tokenizers have elsewhere, or not at all.
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": None}
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        # RoBERTa and MPNet count positions from behind padding.
        max_position_embeddings=longest + 1,
        num_labels=checkpoints.LABELS,
        # Wider than for training, so that scores differ from text to text.
        initializer_range=128**-0.5,
        **{**ids, **settings, **more},
    )
    checkpoints.save_text(folder, config)
    return checkpoints.cut_at(longest, folder)
