"""CSV, JSONL and folders of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.errors import SourceError
from producer.client import NewJob
from producer.sources import Columns, count_source, read_source


def read(path: Path, **columns: str) -> list[NewJob]:
    return list(read_source(path, Columns(**columns)))


def test_csv_with_a_byte_order_mark_and_quoted_newlines(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b'\xef\xbb\xbfid,text\n1,"two\nlines, one row"\n2,\xc3\xa9\n')
    assert read(file, id="id") == [
        NewJob(id="1", text="two\nlines, one row"),
        NewJob(id="2", text="é"),
    ]


def test_jsonl_skips_empty_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"body": "x", "n": 1}\n\n{"body": "y"}\n')
    assert read(file, text="body") == [NewJob(text="x"), NewJob(text="y")]


def test_a_folder_gives_its_images_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "deep/a.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert read(tmp_path) == [
        NewJob(image=tmp_path / "b.PNG"),
        NewJob(image=tmp_path / "deep/a.jpg"),
    ]
    assert count_source(tmp_path) == 2


def test_images_of_a_table_are_relative_to_it_unless_they_are_uris(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("picture\none.png\ns3://bucket/two.png\n")
    assert read(file, image="picture") == [
        NewJob(image=tmp_path / "one.png"),
        NewJob(image="s3://bucket/two.png"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1,2\n", "has no column 'text', it has 'a', 'b'"),
        ("a.jsonl", '{"text": "x"}\nnot json\n', "line 2"),
        ("a.jsonl", "[1]\n", "not a JSON object"),
        ("a.jsonl", '{"a": 1}\n', "line 1 has no column 'text'"),
        ("a.xlsx", "", "neither .csv nor .jsonl"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(SourceError, match=message):
        read(file)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file or folder"):
        read_source(tmp_path / "nothing", Columns())


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"text\nfine\ncaf\xe9\n")
    with pytest.raises(SourceError, match=r"a\.csv"):
        read(file)
