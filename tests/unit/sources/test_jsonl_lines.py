"""JSON lines, and text files of a text a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.sources import text
from labelmill.sources.rows import Reason
from tests.support.sources import guessed, opened, read, texts


def test_nested_fields_by_their_paths(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": 1, "data": {"text": "x", "tags": ["t"]}}\n\n{"data": {"text": "y"}}\n')
    assert guessed(file) == "data.text"
    assert texts(file, "data.text") == ["x", "y"]


def test_a_field_whose_name_has_dots(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"data.text": "x"}\n')
    assert texts(file, "data.text") == ["x"]


def test_lines_that_are_no_objects_are_named(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    file = tmp_path / "a.jsonl"
    file.write_text(
        f'{{"text": "a"}}\n{{"text": "b"\n[1]\n{deep}\n{{"body": "c"}}\n{{"text": null}}'
    )
    rows, rejects = read(opened(file))
    assert rows == [("a",), (None,)]
    assert [(each.number, each.line, each.code) for each in rejects] == [
        (2, 2, Reason.NOT_JSON),
        (3, 3, Reason.NOT_JSON),
        (4, 4, Reason.NOT_JSON),
        (5, 5, Reason.MISSING_COLUMN),
    ]


def test_an_array_is_told_from_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"text": "x"}]')
    with pytest.raises(SourceError, match="jq"):
        guessed(file)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_line_without_end_is_cut_and_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "MAX_LINE", 1000)
    file = tmp_path / name
    file.write_text('{"text": "a"}\n' + "x" * 5000 + '\n{"text": "b"}\n')
    rows, rejects = read(opened(file))
    assert len(rows) == 2
    assert [(each.number, each.line, each.code) for each in rejects] == [(2, 2, Reason.TOO_LARGE)]


def test_a_text_a_line(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"one\r\n\r\n two, three\n")
    assert texts(file) == ["one", " two, three"]


def test_standard_input_needs_a_format() -> None:
    with pytest.raises(ConfigurationError, match="--format"):
        opened("-")


def test_an_unknown_suffix_needs_a_format(tmp_path: Path) -> None:
    file = tmp_path / "a.dat"
    file.write_text("x\n")
    with pytest.raises(SourceError, match="--format"):
        opened(file)
    assert texts(file, name="lines") == ["x"]
