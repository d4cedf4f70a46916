"""The `topics` model: a small BERT that routes customer messages to one of six topics."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.model_selection import StratifiedKFold
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from labelmill.demo.training.common import (
    DATA,
    MODELS,
    Schedule,
    accuracy_as_shipped,
    fit,
    make_deterministic,
    save,
)
from labelmill.demo.training.examples import Examples

LABELS = ("delivery", "billing", "returns", "account", "technical", "feedback")
MAX_LENGTH = 128
VOCABULARY = 1500
HIDDEN = 64
SEED = 20
FOLDS = 5
FOLDER = MODELS / "topics"
SCHEDULE = Schedule(
    steps=1500, batch_size=128, learning_rate=4e-3, weight_decay=0.1, label_smoothing=0.05
)
# Far more than BERT's 0.02: with so few updates a small model does not grow out of that.
EMBEDDING_STD = 0.1


@dataclass(frozen=True)
class Message:
    """A customer message and the topic it belongs to."""

    text: str
    label: str


def train() -> float:
    """Fit on the training messages, save, and score the saved model on the held-out ones."""
    tokenizer, model = _fit_model(_read(DATA / "topics_train.csv"))
    save(FOLDER, model, tokenizer)
    heldout = _read(DATA / "topics_heldout.csv")
    texts, truth = [m.text for m in heldout], [m.label for m in heldout]
    return accuracy_as_shipped("text-classification", FOLDER, texts, truth)


def validate() -> float:
    """Mean accuracy over folds of the training messages: what the settings were chosen by."""
    messages = _read(DATA / "topics_train.csv")
    labels = [m.label for m in messages]
    scores = []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    for rows, others in folds.split(labels, labels):
        tokenizer, model = _fit_model([messages[row] for row in rows])
        check = [messages[row] for row in others]
        with torch.no_grad():
            batch = tokenizer([m.text for m in check], padding=True, return_tensors="pt")
            guesses = model(**batch).logits.argmax(-1).tolist()
        right = sum(LABELS[g] == m.label for g, m in zip(guesses, check, strict=True))
        scores.append(right / len(check))
        print(f"  fold accuracy {scores[-1]:.4f}", flush=True)
    return float(sum(scores) / len(scores))


def _read(path: Path) -> list[Message]:
    """The labelled messages in a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Message(row["text"], row["label"]) for row in csv.DictReader(file)]


def _fit_tokenizer(texts: list[str]) -> BertTokenizer:
    """A lowercase WordPiece tokenizer whose vocabulary comes from these texts alone."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, min_frequency=2, special_tokens=special, show_progress=False
    )
    pieces.train_from_iterator(texts, trainer)
    return BertTokenizer(vocab=pieces.get_vocab(), do_lower_case=True, model_max_length=MAX_LENGTH)


def _fit_model(messages: list[Message]) -> tuple[BertTokenizer, BertForSequenceClassification]:
    """Fit a new tokenizer and a new model on these messages."""
    make_deterministic(SEED)
    texts = [m.text for m in messages]
    tokenizer = _fit_tokenizer(texts)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=2 * HIDDEN,
            hidden_dropout_prob=0.2,
            attention_probs_dropout_prob=0.1,
            max_position_embeddings=MAX_LENGTH,
            type_vocab_size=1,
            pad_token_id=tokenizer.pad_token_id,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
            problem_type="single_label_classification",
        )
    )
    torch.nn.init.normal_(model.bert.embeddings.word_embeddings.weight, std=EMBEDDING_STD)
    labels = [LABELS.index(m.label) for m in messages]
    examples = Examples(texts, labels, len(LABELS), tokenizer, MAX_LENGTH, SEED)
    fit(model, lambda: examples.batch(SCHEDULE.batch_size), SCHEDULE)
    return tokenizer, model
