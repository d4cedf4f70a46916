"""Compressed files, told by their first bytes, damaged ones, and files behind URLs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.sources import readers
from labelmill.sources.base import Format
from labelmill.sources.location import StandardInput
from labelmill.sources.plan import Plan
from labelmill.sources.rows import Reason
from tests.support.sources import opened, read, texts

CONTENT = b"id,text\n" + b"".join(b"%d,row %d\n" % (n, n) for n in range(20_000))
EXPECTED = [f"row {number}" for number in range(20_000)]


def zipped(content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inner.csv", content)
    return archive.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "zip": zipped,
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_each_compression(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.csv.{suffix}"
    file.write_bytes(COMPRESSIONS[suffix](CONTENT))
    assert texts(file) == EXPECTED
    wrongly_named = tmp_path / "b.csv"
    wrongly_named.write_bytes(COMPRESSIONS[suffix](CONTENT))
    assert texts(wrongly_named) == EXPECTED


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_parts_that_were_joined(tmp_path: Path, suffix: str) -> None:
    compress = COMPRESSIONS[suffix]
    file = tmp_path / f"a.csv.{suffix}"
    file.write_bytes(compress(CONTENT) + compress(b"x,last\n"))
    assert texts(file)[-1] == "last"


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_truncated_file_is_read_up_to_there(tmp_path: Path, suffix: str) -> None:
    # Not the same row again and again: half of the file has to be half of the rows or so.
    content = b"id,text\n" + b"".join(
        b"%d,%x\n" % (n, hash((n, 7)) % 2**64) for n in range(100_000)
    )
    file = tmp_path / f"a.csv.{suffix}"
    whole = COMPRESSIONS[suffix](content)
    file.write_bytes(whole[: len(whole) * 3 // 4])
    rows, rejects = read(opened(file))
    assert len(rows) > 1000
    assert [each.code for each in rejects if each.rows == 0] == [Reason.UNREADABLE]


def test_an_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", "text\n")
        archive.writestr("b.csv", "text\n")
    with pytest.raises(SourceError, match="2 files"):
        texts(file)


@pytest.mark.parametrize("suffix", ["", "gz", "xz", "zst"])
def test_a_pipe(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = COMPRESSIONS[suffix](CONTENT) if suffix else CONTENT

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    monkeypatch.setattr(readers, "StandardInput", lambda: StandardInput(Pipe(content)))
    source = opened("-", name="csv")
    assert [column.name for column in source.columns()] == ["id", "text"]
    rows, rejects = read(source)
    assert [row[0] for row in rows] == EXPECTED
    assert rejects == []


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


def test_a_file_behind_a_url(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/bucket/a.csv.gz", gzip.compress(CONTENT))
    assert texts("memory://bucket/a.csv.gz") == EXPECTED


def test_a_folder_of_images_behind_a_url(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("b.JPG", "deep/a.png", "notes.txt"):
        memory.pipe_file(f"/bucket/{name}", b"x")
    assert texts("memory://bucket", "image") == [
        "memory:///bucket/b.JPG",
        "memory:///bucket/deep/a.png",
    ]


def test_a_pattern_behind_a_url(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("a", "b"):
        memory.pipe_file(f"/bucket/{name}.csv", b"text\nx\n")
    assert readers.expand(["memory://bucket/*.csv"]) == [
        "memory:///bucket/a.csv",
        "memory:///bucket/b.csv",
    ]


def test_a_url_that_leads_nowhere_is_told_without_its_secrets() -> None:
    with pytest.raises(SourceError) as raised:
        texts("memory://user:password@bucket/none.csv?token=secret")
    assert "none.csv" in str(raised.value)
    assert "password" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_scheme_whose_package_is_missing() -> None:
    with pytest.raises((ConfigurationError, SourceError)):
        texts("nosuchscheme://bucket/a.csv")


def test_secrets_of_a_url_are_not_written_down() -> None:
    plan = Plan(sources=("https://u:p@host/a.csv?token=t",), form=Format())
    assert plan.source == "https://host/a.csv"
    assert plan.to_json()["sources"] == ["https://host/a.csv"]
    assert plan.secret


@pytest.mark.parametrize(
    "broken",
    [gzip.compress(CONTENT)[:9000], gzip.compress(CONTENT[:99]) + b"x"],
    ids=["cut", "with more behind it"],
)
def test_a_short_file_that_breaks_off_is_read_up_to_there(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(broken)
    rows, rejects = read(opened(file))
    assert [row[0] for row in rows] == EXPECTED[: len(rows)]
    assert rows
    assert [(each.code, each.rows) for each in rejects] == [(Reason.UNREADABLE, 0)]
