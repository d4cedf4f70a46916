"""Bad input, job by job: each gets a row that says why; its siblings succeed; the worker lives."""

from __future__ import annotations

import base64
import json
import pickle
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import psutil
import pytest
import redis
import torch
import transformers

from labelmill.core.result import Result
from labelmill.db.database import Database
from labelmill.db.schema import upgrade
from labelmill.local.redis import RedisServer
from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint
from tests.support.images import encoded, picture, turned
from tests.support.rows import a_message
from tests.support.waiting import wait_for
from tests.support.worker import WorkerProcess, Workers

MODELS = """
[models.texts]
task = "text-classification"
checkpoint = "texts"
device = "cpu"
token_budget = 1024

[models.images]
task = "image-classification"
checkpoint = "images"
device = "cpu"
"""

#: Its embedding is not a number, so that a text with it, and no other, has no scores.
UNSPEAKABLE = "refund"

MiB = 1024 * 1024

Rows = dict[str, Result]


@dataclass(frozen=True)
class Case:
    """An entry of a queue's list, and the code of its row; None where it succeeds."""

    queue: str
    entry: bytes
    code: str | None


def entry(job_id: str, kwargs: object, **changes: Any) -> bytes:
    """What a stranger's client may have written."""
    envelope: dict[str, Any] = json.loads(a_message(job_id, {"text": "x"}, "q"))
    body = json.dumps([[], kwargs, None]).encode()
    envelope["body"] = base64.b64encode(body).decode()
    headers = changes.pop("headers", {})
    envelope |= changes
    envelope["headers"] |= headers
    return json.dumps(envelope).encode()


def encoded_body(content: bytes) -> str:
    return base64.b64encode(content).decode()


def png_that_promises(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header says that it is large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def png_bomb() -> bytes:
    """A whole PNG of 144 megapixels in 140 kB."""
    return encoded(PIL.Image.new("1", (12_000, 12_000)), "PNG", optimize=True)


TEXTS: dict[str, tuple[str, str | None]] = {
    "empty": ("", "invalid_job"),
    "10 MB": ("word " * (2 * MiB), "text_too_large"),
    "only a space": (" ", None),
    "NUL": ("a\x00b", None),
    "lone surrogate": ("a\ud800b", None),
    "control characters": ("".join(map(chr, range(1, 32))), None),
    "bidirectional": ("\u202eabc\u2066def\u2069", None),
    "a word of 100k characters": ("x" * 100_000, None),
    "combining": ("e" + "\u0301" * 10_000, None),
    "no finite score": (f"my {UNSPEAKABLE} please", "non_finite"),
}

IMAGES: dict[str, tuple[bytes, str | None]] = {
    "no bytes": (b"", "image_unreadable"),
    "truncated JPEG": (encoded(picture(), "JPEG")[:-200], "image_unreadable"),
    "truncated PNG": (encoded(picture())[:-200], "image_unreadable"),
    "a PDF": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" * 20, "image_unreadable"),
    "random bytes": (np.random.default_rng(0).bytes(5000), "image_unreadable"),
    "200 megapixels by its header": (png_that_promises(20_000, 10_000), "image_too_large"),
    "a bomb": (png_bomb(), "image_too_large"),
    "CMYK": (encoded(picture(mode="CMYK"), "JPEG"), None),
    "palette": (encoded(picture(mode="P")), None),
    "1 bit": (encoded(picture(mode="1")), None),
    "16 bits": (encoded(PIL.Image.fromarray(np.full((8, 8), 999, np.uint16))), None),
    "float TIFF": (encoded(PIL.Image.new("F", (8, 8), 0.5), "TIFF"), None),
    "alpha": (encoded(picture(mode="RGBA")), None),
    "animated": (
        encoded(picture(), "GIF", save_all=True, append_images=[picture(seed=1)]),
        None,
    ),
    "turned": (turned(6), None),
    "1 x 1": (encoded(picture(1, 1)), None),
    "1 x 20,000": (encoded(picture(1, 20_000)), None),
    "20,000 x 1": (encoded(picture(20_000, 1)), None),
}

KWARGS: dict[str, tuple[object, str]] = {
    "nothing": ({}, "invalid_job"),
    "a text and an image": ({"text": "x", "image": {"uri": "y"}}, "invalid_job"),
    "an extra field": ({"text": "x", "colour": "red"}, "invalid_job"),
    "a number as text": ({"text": 7}, "invalid_job"),
    "null as text": ({"text": None}, "invalid_job"),
    "an option out of range": ({"text": "x", "options": {"top_k": 0}}, "invalid_job"),
    "a newer schema": ({"text": "x", "version": 2}, "unsupported_version"),
    "an image": ({"image": {"uri": "a.png"}}, "wrong_input_kind"),
    "kwargs that are a list": ([], "invalid_message"),
}

ENVELOPES: dict[str, tuple[dict[str, Any], str]] = {
    "foreign task": ({"headers": {"task": "shop.tasks.sync"}}, "unknown_task"),
    "not base64": ({"body": "not base64!"}, "invalid_message"),
    "not JSON": ({"body": encoded_body(b"not JSON")}, "invalid_message"),
    "invalid UTF-8": ({"body": encoded_body(b'[[], {"text": "\xff\xfe"}, {}]')}, "invalid_message"),
    "pickle": (
        {
            "body": encoded_body(pickle.dumps([[], {"text": "x"}, {}])),
            "content-type": "application/x-python-serialize",
            "content-encoding": "binary",
        },
        "invalid_message",
    ),
    "pickle that calls itself JSON": (
        {"body": encoded_body(pickle.dumps([[], {"text": "x"}, {}]))},
        "invalid_message",
    ),
    "compressed": ({"headers": {"compression": "application/x-gzip"}}, "invalid_message"),
    "positional arguments": (
        {"body": encoded_body(json.dumps([["x"], {}, None]).encode())},
        "invalid_job",
    ),
    "an eta that is no time": ({"headers": {"eta": "tomorrow"}}, "invalid_message"),
}

REFERENCES: dict[str, tuple[str, str | None]] = {
    "a text that is called .jpg": ("text.jpg", "image_unreadable"),
    "no such file": ("missing.png", "image_not_found"),
    "out of the root": ("../models.toml", "image_forbidden"),
    "a folder": (".", "image_not_found"),
    "of the network": ("http://127.0.0.1:1/a.png", "image_forbidden"),
    "a good one": ("good.png", None),
}


def cases() -> dict[str, Case]:
    """All of them by their job's id."""
    found: dict[str, Case] = {}
    for name, (text, code) in TEXTS.items():
        found[f"text: {name}"] = Case("texts", entry(f"text: {name}", {"text": text}), code)
    for name, (content, code) in IMAGES.items():
        kwargs: object = {"image": {"base64": encoded_body(content)}}
        found[f"image: {name}"] = Case("images", entry(f"image: {name}", kwargs), code)
    for name, (uri, code) in REFERENCES.items():
        kwargs = {"image": {"uri": uri}}
        found[f"uri: {name}"] = Case("images", entry(f"uri: {name}", kwargs), code)
    for name, (kwargs, code) in KWARGS.items():
        found[f"kwargs: {name}"] = Case("texts", entry(f"kwargs: {name}", kwargs), code)
    for name, (changes, code) in ENVELOPES.items():
        raw = entry(f"message: {name}", {"text": "x"}, **changes)
        found[f"message: {name}"] = Case("texts", raw, code)
    return found


CASES = cases()


@dataclass(frozen=True)
class Outcome:
    """What became of all cases, sent at once."""

    rows: Rows
    siblings: Rows
    worker: WorkerProcess
    memory_before: int


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("bad-input")
    save_checkpoints(folder)
    root = folder / "root"
    root.mkdir()
    (root / "text.jpg").write_text("I am no picture")
    (root / "good.png").write_bytes(encoded(picture()))
    url = f"sqlite:///{folder / 'labelmill.db'}"
    upgrade(url)
    with RedisServer() as server, redis.Redis.from_url(server.url) as broker:
        workers = Workers(server.url, url, folder)
        workers.configure(MODELS, image_root=str(root), max_attempts="1")
        siblings = {
            f"{queue} sibling {number}": Case(
                queue,
                entry(
                    f"{queue} sibling {number}",
                    {"text": f"a good text, number {number}"}
                    if queue == "texts"
                    else {"image": {"base64": encoded_body(encoded(picture(seed=number)))}},
                ),
                None,
            )
            for queue in ("texts", "images")
            for number in range(20)
        }
        # Among each other, before a worker is there: they share its groups.
        for case in [case for pair in zip_longest(CASES, siblings) for case in pair]:
            broker.lpush(case.queue, case.entry)
        try:
            worker = workers.start()
            memory = psutil.Process(worker.pid).memory_info().rss
            with Database.open(url) as database:
                ids = [*CASES, *siblings]
                wait_for(lambda: len(database.results.get_many(ids)) == len(ids))
                rows = database.results.get_many(ids)
            yield Outcome(
                {name: rows[name] for name in CASES},
                {name: rows[name] for name in siblings},
                worker,
                memory,
            )
        finally:
            workers.stop()


def zip_longest(first: dict[str, Case], second: dict[str, Case]) -> Iterator[list[Case]]:
    """Alternately one of each, then what is left."""
    ones, others = list(first.values()), list(second.values())
    while ones or others:
        yield [each.pop(0) for each in (ones, others) if each]


def save_checkpoints(folder: Path) -> None:
    save_image_checkpoint(folder / "images", "vit")
    save_text_checkpoint(folder / "texts", "bert")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder / "texts")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "texts")
    token = tokenizer.convert_tokens_to_ids(UNSPEAKABLE)
    assert token != tokenizer.unk_token_id
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = float("nan")
    model.save_pretrained(folder / "texts")


@pytest.mark.parametrize("name", CASES)
def test_each_gets_a_row_that_says_why(outcome: Outcome, name: str) -> None:
    row = outcome.rows[name]

    assert row.error_code == CASES[name].code
    if row.error_code is None:
        assert row.status == "succeeded"
        assert row.scores
        assert all(0 <= each["score"] <= 1 for each in row.scores)
    else:
        assert row.status == "failed"
        assert row.error_message
        assert len(row.error_message) > 20
        assert row.scores is None


def test_the_siblings_succeed(outcome: Outcome) -> None:
    assert {row.status for row in outcome.siblings.values()} == {"succeeded"}
    assert max(row.group_size for row in outcome.siblings.values()) > 1


def test_the_worker_lives_and_takes_no_more_memory(outcome: Outcome) -> None:
    assert outcome.worker.process.poll() is None
    grown = psutil.Process(outcome.worker.pid).memory_info().rss - outcome.memory_before
    assert grown < 400 * MiB


def test_no_payload_is_quoted(outcome: Outcome) -> None:
    said = outcome.worker.text() + "".join(row.error_message or "" for row in outcome.rows.values())
    assert "I am no picture" not in said
    assert UNSPEAKABLE not in said
