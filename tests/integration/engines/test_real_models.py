"""A whole worker with real models: every way in, each database, and transformers' own answers."""

from __future__ import annotations

import base64
import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import celery
import pytest
from transformers import pipeline

from labelmill.client import NewJob
from labelmill.core.result import Result
from labelmill.demo.held_out import DATA, FOLDER
from tests.support.worker import Workers

CHECKPOINTS = FOLDER / "models"
MODELS = f"""
[models.topics]
task = "text-classification"
checkpoint = "{CHECKPOINTS}/topics"
top_k = 6

[models.digits]
task = "image-classification"
checkpoint = "{CHECKPOINTS}/digits"
"""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    with (DATA / "topics_heldout.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)][:60]


@pytest.fixture(scope="module")
def images() -> list[Path]:
    return sorted((DATA / "digits").glob("*.png"))[:40]


def assert_answers(rows: list[Result], expected: list[list[dict[str, Any]]]) -> None:
    """The rows are what transformers says, to 1e-5, and name the weights that they come from."""
    for row, answer in zip(rows, expected, strict=True):
        assert row.status == "succeeded"
        assert row.scores is not None
        assert [each["label"] for each in row.scores] == [each["label"] for each in answer]
        for ours, theirs in zip(row.scores, answer, strict=True):
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-5)
        assert (row.label, row.score) == (row.scores[0]["label"], row.scores[0]["score"])
        assert row.checkpoint == f"{CHECKPOINTS}/{row.model}"
        assert str(row.revision).startswith("sha256:")


def test_every_way_in_gives_transformers_answer_on_each_database(
    workers_on_each: Workers, texts: list[str], images: list[Path], tmp_path: Path
) -> None:
    workers = workers_on_each
    workers.configure(MODELS, image_root=str(DATA))
    workers.start()
    shop = celery.Celery("shop", broker=workers.broker_url)
    table = tmp_path / "texts.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("id", "text"), *((f"cli-{i}", t) for i, t in enumerate(texts))]
        )

    with workers.client() as client:
        by_client = client.submit_many("topics", [NewJob(text=text) for text in texts]).ids
        for i, text in enumerate(texts):
            shop.send_task(
                "labelmill.classify", kwargs={"text": text}, queue="topics", task_id=f"bare-{i}"
            )
        subprocess.run(
            [sys.executable, "-m", "labelmill", "submit", "topics", table, "--id-column", "id"],
            env=workers.environment(), cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        by_path = client.submit_many("digits", [NewJob(image=path) for path in images]).ids
        in_message = [client.submit_image("digits", path.read_bytes()) for path in images]
        for i, path in enumerate(images):
            content = base64.b64encode(path.read_bytes()).decode()
            shop.send_task(
                "labelmill.classify",
                kwargs={"image": {"base64": content}},
                queue="digits",
                task_id=f"bare-image-{i}",
            )

        classify = pipeline("text-classification", model=str(CHECKPOINTS / "topics"))
        expected = [classify(text, top_k=6) for text in texts]
        for ids in (
            by_client,
            [f"bare-{i}" for i in range(len(texts))],
            [f"cli-{i}" for i in range(len(texts))],
        ):
            assert_answers([client.wait(job_id) for job_id in ids], expected)

        look = pipeline("image-classification", model=str(CHECKPOINTS / "digits"))
        seen = [look(str(path)) for path in images]
        for ids in (by_path, in_message, [f"bare-image-{i}" for i in range(len(images))]):
            assert_answers([client.wait(job_id) for job_id in ids], seen)


def test_a_job_may_ask_for_more_labels_than_its_model_keeps(workers: Workers) -> None:
    workers.configure(MODELS.replace("top_k = 6", "top_k = 1"))
    workers.start()
    with workers.client() as client:
        one = client.wait(client.submit_text("topics", "Where is my parcel?"))
        three = client.wait(client.submit_text("topics", "Where is my parcel?", top_k=3))
    assert one.scores is not None
    assert three.scores is not None
    assert (len(one.scores), len(three.scores)) == (1, 3)
    assert three.scores[0]["score"] == pytest.approx(one.scores[0]["score"], abs=1e-6)


def test_bad_images_fail_alone(workers: Workers, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "notes.png").write_text("not an image")
    (tmp_path / "inside" / "good.png").write_bytes(images[0].read_bytes())
    (tmp_path / "inside" / "cut.png").write_bytes(images[0].read_bytes()[:60])
    (tmp_path / "outside.png").write_bytes(images[0].read_bytes())
    workers.configure(MODELS, image_root=str(tmp_path / "inside"))
    expected = {
        "good.png": None,
        "notes.png": "image_unreadable",
        "cut.png": "image_unreadable",
        "missing.png": "image_not_found",
        "../outside.png": "image_forbidden",
        "/etc/passwd": "image_forbidden",
        "https://example.com/a.png": "image_forbidden",
    }
    with workers.client() as client:
        ids = {uri: client.submit_image("digits", uri) for uri in expected}
        workers.start()
        found = {uri: client.wait(job_id).error_code for uri, job_id in ids.items()}
    assert found == expected
