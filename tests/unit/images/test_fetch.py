from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import fsspec
import pytest

from labelmill.core.errors import ConfigurationError, ErrorCode, JobError
from labelmill.core.job import Image
from labelmill.images.fetch import ImageFetcher
from labelmill.media.uploads import UploadStore

MAX_BYTES = 1000

SECRET = b"what the root does not hold"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with an image in it, and a secret beside it."""
    (tmp_path / "secret.png").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "animals").mkdir(parents=True)
    (root / "animals" / "cat.png").write_bytes(b"a cat")
    return root


@pytest.fixture
def fetcher(root: Path) -> ImageFetcher:
    """A fetcher that reads local images and those of one scheme."""
    return ImageFetcher(root, ("memory",), MAX_BYTES)


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    """An object store in memory."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def refusal(fetcher: ImageFetcher, uri: str) -> JobError:
    """The error that a uri is refused with."""
    with pytest.raises(JobError) as caught:
        fetcher.fetch(Image(uri=uri))
    return caught.value


def exchange_after_the_check(path: Path, target: Path, patch: pytest.MonkeyPatch) -> None:
    """Put a link in the place of a path, as soon as the fetcher has followed the links to it."""
    resolve = Path.resolve

    def resolve_and_exchange(self: Path, strict: bool = False) -> Path:
        resolved = resolve(self, strict)
        if not path.is_symlink():
            path.rename(path.with_name("away"))
            path.symlink_to(target)
        return resolved

    patch.setattr(Path, "resolve", resolve_and_exchange)


@pytest.mark.parametrize(
    "uri",
    [
        "animals/cat.png",
        "./animals/cat.png",
        "animals/../animals/cat.png",
        "file://animals/cat.png",
    ],
)
def test_a_path_is_read_under_the_root(uri: str, fetcher: ImageFetcher) -> None:
    assert fetcher.fetch(Image(uri=uri)) == b"a cat"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_absolute_path_under_the_root_is_read(
    scheme: str, fetcher: ImageFetcher, root: Path
) -> None:
    assert fetcher.fetch(Image(uri=f"{scheme}{root}/animals/cat.png")) == b"a cat"


def test_an_image_in_the_message_needs_no_root() -> None:
    image = Image(base64=base64.b64encode(b"a cat").decode())

    assert ImageFetcher(None, (), MAX_BYTES).fetch(image) == b"a cat"


def test_an_upload_is_read_from_its_store(tmp_path: Path) -> None:
    uploads = UploadStore.open(str(tmp_path / "uploads"))
    uri = uploads.put(b"a cat")

    assert ImageFetcher(None, (), MAX_BYTES, uploads).fetch(Image(uri=uri)) == b"a cat"


def test_without_a_store_no_upload_is_read(fetcher: ImageFetcher) -> None:
    error = refusal(fetcher, f"upload:sha256/{'0' * 64}")

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert "LABELMILL_UPLOAD_STORE" in error.message


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.png",
        "animals/../../secret.png",
        "file://../secret.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "../root-of-another/cat.png",
        "../no-such-file",
        "..",
    ],
)
def test_a_path_out_of_the_root_is_refused(uri: str, fetcher: ImageFetcher) -> None:
    error = refusal(fetcher, uri)

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert error.message == (
        "the image is not under the worker's image root; put it there, or send its bytes "
        "(labelmill submit --inline)"
    )


def test_a_folder_whose_name_begins_like_the_roots_is_not_the_root(
    fetcher: ImageFetcher, root: Path
) -> None:
    sibling = root.with_name("root2")
    sibling.mkdir()
    (sibling / "cat.png").write_bytes(SECRET)

    assert refusal(fetcher, f"{sibling}/cat.png").code == ErrorCode.IMAGE_FORBIDDEN


def test_a_link_to_a_file_out_of_the_root_is_refused(fetcher: ImageFetcher, root: Path) -> None:
    (root / "link.png").symlink_to(root.parent / "secret.png")

    assert refusal(fetcher, "link.png").code == ErrorCode.IMAGE_FORBIDDEN


def test_a_link_to_a_folder_out_of_the_root_is_refused(fetcher: ImageFetcher, root: Path) -> None:
    (root / "link").symlink_to(root.parent)

    assert refusal(fetcher, "link/secret.png").code == ErrorCode.IMAGE_FORBIDDEN


def test_a_link_within_the_root_is_followed(fetcher: ImageFetcher, root: Path) -> None:
    (root / "link.png").symlink_to("animals/cat.png")

    assert fetcher.fetch(Image(uri="link.png")) == b"a cat"


def test_a_root_that_is_a_link_is_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)

    fetched = ImageFetcher(tmp_path / "link", (), MAX_BYTES).fetch(Image(uri="animals/cat.png"))

    assert fetched == b"a cat"


def test_a_link_to_itself_is_an_error_of_the_job(fetcher: ImageFetcher, root: Path) -> None:
    (root / "loop.png").symlink_to("loop.png")

    assert refusal(fetcher, "loop.png").code in {
        ErrorCode.IMAGE_NOT_FOUND,
        ErrorCode.IMAGE_UNREADABLE,
    }


@pytest.mark.parametrize("uri", ["animals/dog.png", "animals", ".", "animals/cat.png/cat.png"])
def test_what_is_no_file_is_not_found(uri: str, fetcher: ImageFetcher) -> None:
    assert refusal(fetcher, uri).code == ErrorCode.IMAGE_NOT_FOUND


def test_a_pipe_is_not_waited_for(fetcher: ImageFetcher, root: Path) -> None:
    os.mkfifo(root / "pipe.png")

    assert refusal(fetcher, "pipe.png").code == ErrorCode.IMAGE_NOT_FOUND


@pytest.mark.parametrize("uri", ["cat\0.png", "x" * 2000], ids=ascii)
def test_a_name_that_no_file_can_have_is_an_error_of_the_job(
    uri: str, fetcher: ImageFetcher
) -> None:
    assert refusal(fetcher, uri).code in {ErrorCode.IMAGE_NOT_FOUND, ErrorCode.IMAGE_UNREADABLE}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(fetcher: ImageFetcher, root: Path) -> None:
    (root / "animals" / "cat.png").chmod(stat.S_IWUSR)

    assert refusal(fetcher, "animals/cat.png").code == ErrorCode.IMAGE_UNREADABLE


def test_a_file_of_as_many_bytes_as_allowed_is_read(fetcher: ImageFetcher, root: Path) -> None:
    (root / "large.png").write_bytes(bytes(MAX_BYTES))

    assert len(fetcher.fetch(Image(uri="large.png"))) == MAX_BYTES


def test_a_file_of_more_bytes_is_refused_with_the_limit(fetcher: ImageFetcher, root: Path) -> None:
    (root / "large.png").write_bytes(bytes(MAX_BYTES + 1))

    error = refusal(fetcher, "large.png")

    assert error.code == ErrorCode.IMAGE_TOO_LARGE
    assert "1,000 bytes" in error.message


@pytest.mark.parametrize("uri", ["cat.png", "/etc/passwd", "file:///etc/passwd"])
def test_without_a_root_no_path_is_read(uri: str) -> None:
    error = refusal(ImageFetcher(None, (), MAX_BYTES), uri)

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert "LABELMILL_IMAGE_ROOT" in error.message


@pytest.mark.parametrize(
    "uri", ["s3://bucket/cat.png", "ftp://localhost/cat.png", "data://x", "FILE:///etc/passwd"]
)
def test_a_scheme_that_was_not_allowed_is_refused(uri: str, fetcher: ImageFetcher) -> None:
    error = refusal(fetcher, uri)

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert "LABELMILL_IMAGE_SCHEMES" in error.message


@pytest.mark.parametrize("uri", ["https://example.org/cat.png", "HTTP://example.org", "http:cat"])
def test_without_hosts_nothing_is_fetched_from_the_web(uri: str, fetcher: ImageFetcher) -> None:
    error = refusal(fetcher, uri)

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert "LABELMILL_IMAGE_HOSTS" in error.message


@pytest.mark.parametrize(
    ("image", "remote"),
    [
        (Image(base64="YQ=="), False),
        (Image(uri="animals/cat.png"), False),
        (Image(uri="file:///animals/cat.png"), False),
        (Image(uri="https://example.org/cat.png"), True),
        (Image(uri="s3://bucket/cat.png"), True),
        (Image(uri="upload:sha256/"), True),
    ],
)
def test_what_lies_on_other_machines_is_known(
    image: Image, remote: bool, fetcher: ImageFetcher
) -> None:
    assert fetcher.is_remote(image) == remote


def test_a_file_that_has_become_a_link_since_the_check_is_not_read(
    fetcher: ImageFetcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange_after_the_check(root / "animals" / "cat.png", root.parent / "secret.png", monkeypatch)

    assert refusal(fetcher, "animals/cat.png").code == ErrorCode.IMAGE_UNREADABLE


def test_a_folder_that_has_become_a_link_since_the_check_is_not_entered(
    fetcher: ImageFetcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "cat.png").write_bytes(SECRET)
    exchange_after_the_check(root / "animals", outside, monkeypatch)

    assert refusal(fetcher, "animals/cat.png").code == ErrorCode.IMAGE_NOT_FOUND


def test_a_scheme_that_was_allowed_is_read(
    fetcher: ImageFetcher, bucket: fsspec.AbstractFileSystem
) -> None:
    bucket.pipe("/images/cat.png", b"a cat")

    assert fetcher.fetch(Image(uri="memory://images/cat.png")) == b"a cat"


def test_an_object_that_is_not_there_is_not_found(
    fetcher: ImageFetcher, bucket: fsspec.AbstractFileSystem
) -> None:
    assert refusal(fetcher, "memory://images/dog.png").code == ErrorCode.IMAGE_NOT_FOUND


def test_an_object_of_more_bytes_is_refused(
    fetcher: ImageFetcher, bucket: fsspec.AbstractFileSystem
) -> None:
    bucket.pipe("/images/large.png", bytes(MAX_BYTES + 1))

    assert refusal(fetcher, "memory://images/large.png").code == ErrorCode.IMAGE_TOO_LARGE


@pytest.mark.parametrize(
    "uri",
    [
        "memory://cat.png::file:///etc/passwd",
        "simplecache::file:///etc/passwd",
        "filecache::memory://cat.png",
    ],
)
def test_a_chain_of_schemes_is_not_followed(
    uri: str, fetcher: ImageFetcher, bucket: fsspec.AbstractFileSystem
) -> None:
    assert refusal(fetcher, uri).code in {ErrorCode.IMAGE_FORBIDDEN, ErrorCode.IMAGE_NOT_FOUND}


def test_behind_an_allowed_scheme_no_other_one_is_read(root: Path) -> None:
    with ZipFile(root.parent / "secret.zip", "w") as archive:
        archive.writestr("secret.png", SECRET)
    fetcher = ImageFetcher(root, ("zip",), MAX_BYTES)

    error = refusal(fetcher, f"zip://secret.png::file://{root.parent}/secret.zip")

    assert error.code == ErrorCode.IMAGE_FORBIDDEN


def test_a_file_system_that_is_not_installed_is_an_error_of_the_job(root: Path) -> None:
    fetcher = ImageFetcher(root, ("nosuch",), MAX_BYTES)

    assert refusal(fetcher, "nosuch://cat.png").code == ErrorCode.IMAGE_UNREADABLE


def test_an_error_quotes_no_uri(fetcher: ImageFetcher, root: Path) -> None:
    messages = [refusal(fetcher, uri).message for uri in ["../hunter2", "hunter2", "s3://hunter2"]]

    assert not [message for message in messages if "hunter2" in message]


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
def test_addresses_of_the_web_cannot_be_allowed(scheme: str, root: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{scheme} cannot be allowed"):
        ImageFetcher(root, ("memory", scheme), MAX_BYTES)


def test_a_scheme_that_reads_past_the_root_cannot_be_allowed(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="local cannot be allowed"):
        ImageFetcher(root, ("local",), MAX_BYTES)


def test_the_root_has_to_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="LABELMILL_IMAGE_ROOT"):
        ImageFetcher(tmp_path / "missing", (), MAX_BYTES)
