"""Checkpoints of known architectures with random weights: what speed depends on is all there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PretrainedConfig

from labelmill.bench import inputs, vocabulary
from labelmill.bench.peers import quiet

#: How many each has.
LABELS = 4
_PICTURES = 16

#: A word that the tokenizer knows and no embedding has: a text with it makes the model raise.
POISON = "zzpoison"


def tiny_bert(folder: Path, **config: Any) -> Path:
    """Two layers of 128: BERT tiny. ``config`` overrides its configuration."""
    return save_text(folder, _bert(**{**_sizes(128, 2, 2), **config}))


def bert_base(folder: Path) -> Path:
    """Twelve layers of 768."""
    return save_text(folder, _bert(**_sizes(768, 12, 12)))


def distilbert(folder: Path) -> Path:
    """Six layers of 768, as DistilBERT base has."""
    config = transformers.DistilBertConfig(
        vocab_size=len(vocabulary.tokenizer()),
        max_position_embeddings=vocabulary.MAX_LENGTH,
        num_labels=LABELS,
        initializer_range=768**-0.5,
    )
    return save_text(folder, config)


def cut_at(length: int, folder: Path) -> Path:
    """Let a checkpoint's tokenizer cut texts off there, in tokens."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = length
    tokenizer.save_pretrained(folder)
    return folder


def poisonable_bert(folder: Path) -> Path:
    """A tiny BERT that raises at each text with the word :data:`POISON`."""
    tiny_bert(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([POISON])
    tokenizer.save_pretrained(folder)
    return folder


def tiny_vit(folder: Path) -> Path:
    """Two layers of 128 on patches of 16: to images what BERT tiny is to texts."""
    return _save_vit(folder, 128, 2, 2)


def vit_ti(folder: Path) -> Path:
    """Twelve layers of 192 on patches of 16: ViT-Ti/16."""
    return _save_vit(folder, 192, 12, 3)


def vit_base(folder: Path) -> Path:
    """Twelve layers of 768 on patches of 16: ViT-B/16."""
    return _save_vit(folder, 768, 12, 12)


def _bert(**config: Any) -> PretrainedConfig:
    return transformers.BertConfig(
        vocab_size=len(vocabulary.tokenizer()),
        max_position_embeddings=vocabulary.MAX_LENGTH,
        num_labels=LABELS,
        **config,
    )


def _sizes(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        # Wider than for training, so that scores differ from text to text.
        "initializer_range": hidden**-0.5,
    }


def save_text(folder: Path, config: PretrainedConfig) -> Path:
    """A sequence classifier of that configuration, with the tokenizer of the made-up language."""
    quiet()
    torch.manual_seed(1)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    vocabulary.tokenizer().save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _save_vit(folder: Path, hidden: int, layers: int, heads: int) -> Path:
    quiet()
    torch.manual_seed(1)
    config = transformers.ViTConfig(
        image_size=224, patch_size=16, num_labels=LABELS, **_sizes(hidden, layers, heads)
    )
    model = transformers.ViTForImageClassification(config)
    processor = transformers.ViTImageProcessor()
    _balance(model, processor)
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _balance(model: Any, processor: Any) -> None:
    """Let no label be every picture's best, or equal labels would say nothing."""
    generator = np.random.default_rng(1)
    pictures = [inputs.photograph(generator, (224, 224)) for _ in range(_PICTURES)]
    with torch.inference_mode():
        mean = model.eval()(**processor(images=pictures, return_tensors="pt")).logits.mean(0)
    model.classifier.bias.data -= mean
