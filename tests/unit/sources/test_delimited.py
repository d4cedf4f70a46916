"""CSV and TSV as they are found in real life."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.sources import delimited
from labelmill.sources.rows import Reason
from tests.support.sources import guessed, opened, read, texts


def written(folder: Path, content: bytes, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def test_quoted_newlines_a_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    file = written(tmp_path, b'\xef\xbb\xbfid,text\r\n1,"two\nlines"\r\n2,\xc3\xa9\r\n')
    rows, rejects = read(opened(file), ["id", "text"])
    assert rows == [("1", "two\nlines"), ("2", "é")]
    assert rejects == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_guessed(tmp_path: Path, delimiter: str) -> None:
    lines = [["id", "text"], ["1", '"a, b; c"'], ["2", "d"]]
    file = written(tmp_path, "\n".join(delimiter.join(line) for line in lines).encode())
    assert texts(file) == ["a, b; c", "d"]


def test_a_delimiter_that_excel_names(tmp_path: Path) -> None:
    file = written(tmp_path, b"sep=;\r\nid;text\r\n1;x\r\n")
    rows = list(opened(file).rows(["text"]))
    assert [(row.number, row.line) for row in rows] == [(1, 3)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("text\ncaf\u00e9 \u201cq\u201d\n".encode("cp1252"), "café “q”"),
        ("text\ncafé\n".encode("utf-16"), "café"),
        ("text,b\ncafé,1\n".encode("utf-16-le"), "café"),
        (b"text\n" + b"x\n" * 200_000 + "café\n".encode("cp1252"), "café"),
        (b"text\n" + b"x\n" * 200_000 + "café\n".encode(), "café"),
    ],
    ids=["windows-1252", "utf-16", "utf-16 without mark", "late windows-1252", "late utf-8"],
)
def test_the_encoding_is_guessed(tmp_path: Path, content: bytes, text: str) -> None:
    assert texts(written(tmp_path, content))[-1] == text


def test_the_encoding_can_be_said(tmp_path: Path) -> None:
    file = written(tmp_path, "text\nпривет\n".encode("koi8-r"))
    assert texts(file, encoding="koi8-r") == ["привет"]
    with pytest.raises(ConfigurationError, match="no encoding 'utf-9'"):
        texts(file, encoding="utf-9")


def test_bytes_that_do_not_fit_are_marked_and_stop_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, "text\nüé\n".encode() + b"\xff\nfine\n")
    rows, rejects = read(opened(file))
    assert [row[0] for row in rows] == ["üé", "\udcff", "fine"]
    assert rejects == []


def test_ragged_rows_are_named(tmp_path: Path) -> None:
    file = written(tmp_path, b"id,text\n1,a\n2\n3,b,c\n\n4,d\n")
    rows, rejects = read(opened(file))
    assert [row[0] for row in rows] == ["a", "d"]
    assert [(each.number, each.line, each.code) for each in rejects] == [
        (2, 3, Reason.RAGGED),
        (3, 4, Reason.RAGGED),
    ]


def test_a_quote_that_is_never_closed_costs_its_line_alone(tmp_path: Path) -> None:
    file = written(tmp_path, b'id,text\n1,a\n2,"open\n3,b\n4,c\n')
    rows, rejects = read(opened(file))
    assert [row[0] for row in rows] == ["a", "b", "c"]
    assert [(each.number, each.line, each.code) for each in rejects] == [
        (2, 3, Reason.UNCLOSED_QUOTE)
    ]


def test_a_quote_that_is_closed_too_late_costs_its_line_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "MAX_RECORD", 100)
    many = "".join(f"{number},row {number}\n" for number in range(3, 100))
    file = written(tmp_path, f'id,text\n1,a\n2,"open\n{many}100,"z"\n'.encode())
    rows, rejects = read(opened(file))
    assert len(rows) == 99
    assert [(each.number, each.code) for each in rejects] == [(2, Reason.UNCLOSED_QUOTE)]


def test_nul_and_empty_fields_are_values(tmp_path: Path) -> None:
    assert texts(written(tmp_path, b"id,text\n1,a\x00b\n2,\n")) == ["a\x00b", ""]


@pytest.mark.parametrize(
    ("header", "row", "column"),
    [
        ("id,text,label", "1,hello there,x", "text"),
        ("ID,Sentence", "1,hello", "Sentence"),
        ("number,words", "1,hello there", "words"),
        ("number,file_name", "1,a/b.JPG", "file_name"),
        ("title,body", "a,b", "body"),
    ],
)
def test_the_column_is_guessed(tmp_path: Path, header: str, row: str, column: str) -> None:
    assert guessed(written(tmp_path, f"{header}\n{row}\n".encode())) == column


def test_an_open_choice_lists_the_columns(tmp_path: Path) -> None:
    file = written(tmp_path, b"one,two,n\na,b,1\n")
    with pytest.raises(SourceError, match="--text-column or --image-column; it has 'one', 'two'"):
        guessed(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "no column 'text'"),
        (b"text,text\n1,2\n", "more than one"),
    ],
)
def test_what_cannot_be_read_at_all(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(opened(written(tmp_path, content)))


def test_one_character_delimits(tmp_path: Path) -> None:
    file = written(tmp_path, b"id::text\n")
    with pytest.raises(ConfigurationError, match="one character"):
        opened(file, delimiter="::")
