from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from labelmill.core.errors import ConfigurationError, ErrorCode, JobError, UploadStoreUnavailable
from labelmill.media.uploads import UploadStore, is_upload

CONTENT = b"a cat"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
URI = f"upload:sha256/{DIGEST}"


@pytest.fixture(params=["folder", "file://", "memory://"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store is: a folder that is not there yet, or an object store."""
    if request.param == "folder":
        yield str(tmp_path / "not" / "yet")
    elif request.param == "file://":
        yield f"file://{tmp_path}/uploads"
    else:
        files = fsspec.filesystem("memory")
        yield "memory://bucket/uploads/"
        files.store.clear()
        files.pseudo_dirs[:] = [""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a store, with one upload."""
    UploadStore.open(str(tmp_path)).put(CONTENT)
    return tmp_path


def refusal(store: UploadStore, uri: str = URI, max_bytes: int = 1000) -> JobError:
    """The error that a uri is refused with."""
    with pytest.raises(JobError) as caught:
        store.get(uri, max_bytes)
    return caught.value


def test_what_was_put_is_got(url: str) -> None:
    assert UploadStore.open(url).put(CONTENT) == URI
    assert UploadStore.open(url).get(URI, len(CONTENT)) == CONTENT


def test_equal_contents_are_one_upload(url: str) -> None:
    store = UploadStore.open(url)

    assert store.put(CONTENT) == store.put(CONTENT)
    assert store.get(URI, 1000) == CONTENT


def test_an_upload_that_is_not_there_is_not_found(url: str) -> None:
    error = refusal(UploadStore.open(url))

    assert error.code == ErrorCode.IMAGE_NOT_FOUND
    assert "LABELMILL_UPLOAD_STORE" in error.message


def test_an_upload_of_more_bytes_is_refused_with_the_limit(url: str) -> None:
    store = UploadStore.open(url)
    store.put(CONTENT)

    error = refusal(store, max_bytes=len(CONTENT) - 1)

    assert error.code == ErrorCode.IMAGE_TOO_LARGE
    assert "4 bytes" in error.message


def test_uploads_lie_in_folders_by_their_first_two_digits(folder: Path) -> None:
    assert [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()] == [
        f"{DIGEST[:2]}/{DIGEST}"
    ]


@pytest.mark.parametrize("damaged", [b"a cut", b"a ca", b"", b"another file"])
def test_what_does_not_match_its_address_is_not_read(damaged: bytes, folder: Path) -> None:
    (folder / DIGEST[:2] / DIGEST).write_bytes(damaged)

    assert refusal(UploadStore.open(str(folder))).code == ErrorCode.IMAGE_UNREADABLE


def test_to_put_it_again_mends_a_damaged_upload(folder: Path) -> None:
    (folder / DIGEST[:2] / DIGEST).write_bytes(b"a ca")
    store = UploadStore.open(str(folder))

    store.put(CONTENT)

    assert store.get(URI, 1000) == CONTENT


@pytest.mark.parametrize(
    "uri",
    [
        "upload:",
        "upload:sha256/",
        f"upload:sha256/{DIGEST[:-1]}",
        f"upload:sha256/{DIGEST}0",
        f"upload:sha256/{DIGEST}\n",
        f"upload:sha256/{DIGEST.upper()}",
        f"upload:md5/{DIGEST}",
        f"upload://sha256/{DIGEST}",
        "upload:sha256/../../../../etc/passwd",
        f"upload:sha256/../{'0' * 61}",
    ],
)
def test_a_uri_of_another_form_is_no_job(uri: str, folder: Path) -> None:
    assert is_upload(uri)
    assert refusal(UploadStore.open(str(folder)), uri).code == ErrorCode.INVALID_JOB


@pytest.mark.parametrize("uri", ["cat.png", "uploads/cat.png", "s3://upload:sha256/x", ""])
def test_other_uris_are_no_uploads(uri: str) -> None:
    assert not is_upload(uri)


def test_a_link_in_the_store_is_not_followed(folder: Path) -> None:
    upload = folder / DIGEST[:2] / DIGEST
    upload.rename(folder / "elsewhere")
    upload.symlink_to(folder / "elsewhere")

    assert refusal(UploadStore.open(str(folder))).code == ErrorCode.IMAGE_UNREADABLE


def test_a_pipe_in_the_store_is_not_waited_for(folder: Path) -> None:
    (folder / DIGEST[:2] / DIGEST).unlink()
    os.mkfifo(folder / DIGEST[:2] / DIGEST)

    assert refusal(UploadStore.open(str(folder))).code == ErrorCode.IMAGE_NOT_FOUND


def test_a_put_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / DIGEST[:2]).mkdir()

    with pytest.raises(UploadStoreUnavailable, match="OSError"):
        UploadStore.open(str(tmp_path)).put(CONTENT)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_upload_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    upload = tmp_path / "store" / DIGEST[:2] / DIGEST
    original = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(f"{Path(f'/proc/self/fd/{descriptor}').readlink()} {upload.exists()}")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    UploadStore.open(str(tmp_path / "store")).put(CONTENT)

    assert synced[:2] == [f"{tmp_path} False", f"{tmp_path}/store False"]
    assert synced[2].startswith(f"{upload.parent}/.")
    assert synced[2].endswith(" False")
    assert synced[3:] == [f"{upload.parent} True"]


def test_many_may_put_the_same_at_once(tmp_path: Path) -> None:
    store = UploadStore.open(str(tmp_path / "store"))

    with ThreadPoolExecutor(8) as pool:
        uris = set(pool.map(store.put, [CONTENT] * 64))

    assert uris == {URI}
    assert store.get(URI, 1000) == CONTENT
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_store_that_cannot_be_opened_is_told_without_its_credentials() -> None:
    with pytest.raises(ConfigurationError, match="nosuch:// store") as caught:
        UploadStore.open("nosuch://user:hunter2@bucket")

    assert "hunter2" not in str(caught.value)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="is not a folder"):
        UploadStore.open(str(tmp_path / "file"))
