"""A device that fails: no job is blamed for it, and none is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labelmill.core import exit_codes
from tests.support.worker import SCRIPTED_MODELS, Workers

LOST = "CUDA error: uncorrectable ECC error encountered"
CRASHED = "CUDA error: device-side assert triggered"


@pytest.mark.parametrize("step", ["launch", "wait"])
def test_a_lost_device_ends_the_worker_and_its_jobs_go_back_uncounted(
    step: str, workers: Workers, tmp_path: Path
) -> None:
    workers.configure(lease_seconds="60", max_attempts="1")
    hold = tmp_path / "hold"
    with workers.client() as client:
        texts = [f"hold {hold}", f"fail-once {step} {tmp_path / 'failed'} {LOST}", "innocent"]
        ids = [client.submit_text("scripted", text) for text in texts]
        hold.touch()
        first = workers.start(wait=False)
        assert first.process.wait() == exit_codes.DEVICE_LOST
        workers.start()
        # Long before their leases would have expired.
        rows = [client.wait(job_id, timeout=30) for job_id in ids]
    assert [(row.label, row.attempt) for row in rows] == [(text, 1) for text in texts]
    assert "the device is gone or ill, by no job's doing" in first.text()
    assert LOST in first.text()
    assert "Traceback" not in first.text()


def test_a_crash_of_the_device_counts_as_an_attempt_and_each_job_comes_back_alone(
    workers: Workers, tmp_path: Path
) -> None:
    workers.configure(lease_seconds="0.5", max_attempts="2")
    with workers.client() as client:
        guilty = client.submit_text("scripted", f"fail launch {CRASHED}")
        innocent = client.submit_text("scripted", "innocent")
        codes = [workers.start(wait=False).process.wait() for _ in range(2)]
        workers.start()
        poisoned, row = client.wait(guilty), client.wait(innocent)
    assert codes == [exit_codes.DEVICE_LOST] * 2
    assert poisoned.error_code == "poisoned"
    assert (row.label, row.status) == ("innocent", "succeeded")


def test_nobody_waits_for_the_commit_of_a_worker_whose_device_is_lost(
    workers: Workers, tmp_path: Path
) -> None:
    workers.configure(SCRIPTED_MODELS + "group_size = 1\n", shutdown_grace="3000")
    go = tmp_path / "go"
    with workers.client() as client:
        texts = [f"hold {go}", f"fail-once wait {tmp_path / 'failed'} {LOST}"]
        ids = [client.submit_text("scripted", text) for text in texts]
        # What fails in the first step goes to the commit stage at once, and fills its queue.
        bad = [client.submit_text("scripted", "raise-in-prepare") for _ in range(30)]
        first = workers.start()
        go.touch()
        assert first.process.wait(120) == exit_codes.DEVICE_LOST
        workers.start()
        rows = [client.wait(job_id) for job_id in ids]
        failed = {client.wait(job_id).error_code for job_id in bad}
    assert "the database did not answer" not in first.text()
    assert [(row.label, row.attempt) for row in rows] == [(text, 1) for text in texts]
    assert failed == {"model_failed"}


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_a_library_without_memory_is_given_smaller_groups(message: str, workers: Workers) -> None:
    workers.configure()
    with workers.client() as client:
        texts = [f"fail-in-company {message}", "innocent", "other"]
        ids = [client.submit_text("scripted", text) for text in texts]
        worker = workers.start()
        rows = [client.wait(job_id) for job_id in ids]
    assert [row.label for row in rows] == texts
    assert worker.process.poll() is None


def test_a_device_that_fails_while_a_model_is_loaded_has_the_same_exit_code(
    workers: Workers, tmp_path: Path
) -> None:
    workers.configure(SCRIPTED_MODELS.replace("ScriptedEngine", "LostDeviceEngine"))
    (tmp_path / "lost").write_text("0")
    workers.settings |= {"LOST_CARDS": str(tmp_path / "lost"), "CUDA_VISIBLE_DEVICES": "0"}
    worker = workers.start(wait=False)
    assert worker.process.wait() == exit_codes.DEVICE_LOST
    assert "a new process may find it again" in " ".join(worker.text().split())


def test_a_card_that_is_gone_is_not_replaced_by_the_cpu(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0000")
    folder = os.path.relpath(Path("bench/labelmill/demo/models/topics").resolve(), workers.folder)
    workers.configure(f'[models.topics]\ntask = "text-classification"\ncheckpoint = "{folder}"\n')
    worker = workers.start(wait=False)
    assert worker.process.wait() == exit_codes.DEVICE_LOST
    assert "PyTorch finds no card 'GPU-0000'" in " ".join(worker.text().split())
