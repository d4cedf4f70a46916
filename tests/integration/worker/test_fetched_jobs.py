"""A whole worker whose images lie on the web and in the upload store."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from labelmill.demo.held_out import DATA, FOLDER
from labelmill.media.uploads import UploadStore
from tests.support.waiting import wait_for
from tests.support.web import WebServer, reply
from tests.support.worker import SCRIPTED_MODELS, Workers

DIGITS = DATA / "digits"
# Too few pixels for the image by which passes are measured: the workers start at once.
MAX_PIXELS = "100000"
MODELS = f"""
{SCRIPTED_MODELS}
[models.digits]
task = "image-classification"
checkpoint = "{FOLDER}/models/digits"
"""


@pytest.fixture
def image() -> bytes:
    return sorted(DIGITS.glob("*.png"))[0].read_bytes()


def test_images_of_the_web_and_uploads_get_their_labels_and_others_their_errors(
    workers: Workers, image: bytes, tmp_path: Path
) -> None:
    def handler(request: str) -> list[bytes]:
        target = request.split()[1]
        if target.startswith("/cat.png"):
            return reply(image, content_type="text/plain")
        if target == "/moved":
            return reply(b"", "302 Found", location="http://169.254.169.254/latest/")
        if target == "/page":
            return reply(b"<!doctype html><p>hunter2", content_type="image/png")
        return reply(b"", "503 Busy" if target == "/busy" else "404 Not Found")

    uploads = UploadStore.open(str(tmp_path / "uploads"))
    expected = {
        "http://example.org/cat.png?key=hunter2": None,
        uploads.put(image): None,
        "http://example.org/missing?key=hunter2": "image_not_found",
        "http://example.org/busy": "image_unavailable",
        "http://example.org/page": "image_unreadable",
        "http://example.org/moved": "image_forbidden",
        "http://evil.example/?key=hunter2": "image_forbidden",
        "http://user:hunter2@example.org/cat.png": "image_forbidden",
        "http://127.0.0.1/cat.png": "image_forbidden",
        f"upload:sha256/{'0' * 64}": "image_not_found",
        "upload:sha256/cat": "invalid_job",
    }
    workers.configure(
        MODELS,
        models="digits",
        image_hosts="http://example.org",
        upload_store=str(tmp_path / "uploads"),
        max_image_pixels=MAX_PIXELS,
    )
    with WebServer(handler) as server, workers.client() as client:
        ids = {uri: client.submit_image("digits", uri) for uri in expected}
        worker = workers.start_faulty("web", str(server.port))
        rows = {uri: client.wait(job_id) for uri, job_id in ids.items()}

    assert {uri: row.error_code for uri, row in rows.items()} == expected
    labelled = [row for row in rows.values() if row.error_code is None]
    assert len({row.label for row in labelled}) == 1
    assert not [row for row in rows.values() if "hunter2" in str(row.error_message)]
    assert "hunter2" not in worker.text()


def test_images_are_fetched_together_and_hold_nothing_else_up(
    workers: Workers, image: bytes
) -> None:
    asked, go = threading.Semaphore(0), threading.Event()

    def handler(request: str) -> list[bytes]:
        if "/slow" in request:
            asked.release()
            go.wait(60)
        return reply(image)

    workers.configure(
        MODELS, image_hosts="http://example.org", image_timeout="60", max_image_pixels=MAX_PIXELS
    )
    with WebServer(handler) as server, workers.client() as client:
        workers.start_faulty("web", str(server.port))
        slow = [client.submit_image("digits", f"http://example.org/slow{i}") for i in range(8)]
        assert all(asked.acquire(timeout=30) for _ in slow)  # all of them wait at the same time
        others = [
            client.submit_text("scripted", "a text"),
            client.submit_image("digits", "http://example.org/fast"),
            client.submit_image("digits", image),
        ]
        statuses = [client.wait(job_id).status for job_id in others]
        go.set()
        statuses += [client.wait(job_id).status for job_id in slow]

    assert set(statuses) == {"succeeded"}


def test_a_worker_that_waits_for_a_host_gives_the_job_back_at_once(
    workers: Workers, image: bytes
) -> None:
    asked, go = threading.Event(), threading.Event()

    def handler(_: str) -> list[bytes]:
        asked.set()
        go.wait(60)
        return reply(image)

    workers.configure(
        MODELS,
        models="digits",
        image_hosts="http://example.org",
        image_timeout="5",
        max_image_pixels=MAX_PIXELS,
    )
    with WebServer(handler) as server, workers.client() as client:
        worker = workers.start_faulty("web", str(server.port))
        client.submit_image("digits", "http://example.org/cat.png")
        assert asked.wait(30)
        worker.process.terminate()
        with workers.broker() as broker:
            wait_for(lambda: broker.llen("digits") == 1)
        assert worker.process.poll() is None  # the job has not waited for the host
        go.set()
        assert worker.process.wait() == 0
