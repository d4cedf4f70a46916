"""Folders of images with odd names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labelmill.core.job import MAX_INLINE_IMAGE_BYTES
from labelmill.media.uploads import UploadStore
from labelmill.sources.base import Kind, Source
from labelmill.sources.columns import ColumnMapping
from labelmill.sources.images import ImageFolder
from labelmill.sources.jobs import JobMaker, Made, NewRow
from labelmill.sources.plan import Plan
from labelmill.sources.rows import Reason, Reject
from tests.support.sources import opened, read, texts

ODD = [b"a b.jpg", "\u00fc.PNG".encode(), b"new\nline.webp", b'quote".gif', b"\xff\xfe.jpeg"]


def odd_folder(folder: Path) -> Path:
    (folder / "in").mkdir()
    for name in ODD:
        Path(os.fsdecode(os.fsencode(folder / "in") + b"/" + name)).write_bytes(name)
    return folder


def test_odd_names_and_what_is_left_out(tmp_path: Path) -> None:
    odd_folder(tmp_path)
    (tmp_path / ".hidden.png").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a.png").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.png").mkdir()
    found = texts(tmp_path, "image")
    assert sorted(os.fsencode(each) for each in found) == sorted(
        os.fsencode(tmp_path / "in") + b"/" + name for name in ODD
    )


def test_links_are_followed_into_no_folder_twice(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    for each in (folder, elsewhere):
        each.mkdir()
    (elsewhere / "a.png").touch()
    (folder / "loop").symlink_to(folder)
    (folder / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (folder / "dangling.png").symlink_to(tmp_path / "none.png")
    (folder / "self.png").symlink_to(folder / "self.png")
    assert [Path(each).name for each in texts(folder, "image")] == ["a.png"]


def test_the_order_is_that_of_the_names_and_a_new_name_is_seen(tmp_path: Path) -> None:
    for name in ("b/1.png", "a.png", "b/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = ImageFolder(tmp_path)
    names = [Path(each).relative_to(tmp_path).as_posix() for each in texts(tmp_path, "image")]
    assert names == ["a.png", "b/0.png", "b/1.png"]
    assert folder.count() == 3
    before = folder.fingerprint()
    (tmp_path / "c.png").touch()
    assert folder.fingerprint() != before


def test_one_image(tmp_path: Path) -> None:
    file = tmp_path / "a.TIFF"
    file.touch()
    assert texts(file, "image") == [str(file)]


def made(source: Source, plan: Plan, store: UploadStore | None = None) -> list[Made]:
    maker = JobMaker("r", plan, ColumnMapping(content="image", kind=Kind.IMAGE), store)
    return list(maker.make(source, source.rows(["image"]), 0))


def test_a_name_that_no_message_holds_is_named_or_uploaded(tmp_path: Path) -> None:
    source = opened(odd_folder(tmp_path))
    plan = Plan(sources=(str(tmp_path),))
    rejects = [each for each in made(source, plan) if isinstance(each, Reject)]
    assert [each.code for each in rejects] == [Reason.UNDECODABLE]
    store = UploadStore.open(str(tmp_path / "store"))
    rows = [each for each in made(source, plan, store) if isinstance(each, NewRow)]
    uris = [row.payload["image"]["uri"] for row in rows]  # type: ignore[index,call-overload]
    assert sorted(store.get(str(uri), 100) for uri in uris) == sorted(ODD)
    names = {row.payload["image"]["name"] for row in rows}  # type: ignore[index,call-overload]
    assert names == {
        "in/a b.jpg", "in/ü.PNG", "in/new line.webp", 'in/quote".gif', "in/\ufffd\ufffd.jpeg"
    }  # fmt: skip


def test_an_uploaded_image_of_a_row_is_called_as_there_and_a_referenced_one_by_its_uri(
    tmp_path: Path,
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.png").write_bytes(b"a")
    table = tmp_path / "a.csv"
    table.write_text(f"image\nscans/a.png\n{tmp_path}/scans/a.png\nfile://{tmp_path}/scans/a.png\n")
    plan = Plan(sources=(str(table),))
    store = UploadStore.open(str(tmp_path / "store"))
    rows = [each for each in made(opened(table), plan, store) if isinstance(each, NewRow)]
    names = [row.payload["image"]["name"] for row in rows]  # type: ignore[index,call-overload]
    assert names == ["scans/a.png", "a.png", "a.png"]
    assert "name" not in str([row.payload for row in made(opened(table), plan)])  # type: ignore[union-attr]


def test_inline_images_are_limited(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x" * (MAX_INLINE_IMAGE_BYTES + 1))
    small, large = made(opened(tmp_path), Plan(sources=(str(tmp_path),), inline=True))
    assert isinstance(small, NewRow)
    assert small.payload["image"] == {"base64": "eA==", "name": "a.png"}
    assert isinstance(large, Reject)
    assert large.code is Reason.TOO_LARGE


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    rows, rejects = read(opened(tmp_path), ["image"])
    assert len(rows) == 1
    assert [each.rows for each in rejects] == [0]
