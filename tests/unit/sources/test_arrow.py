"""Parquet files and saved data sets."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelmill.core.errors import SourceError
from labelmill.sources.rows import Reason
from tests.support.sources import guessed, opened, read, texts


def test_nulls_dictionaries_lists_and_structs(tmp_path: Path) -> None:
    table = pa.table(
        {
            "n": [1, 2, 3],
            "tags": [["a"], None, []],
            "text": pa.array(["x", None, "x"]).dictionary_encode(),
            "data": [{"body": "a", "n": 1}, None, {"body": "c", "n": 3}],
        }
    )
    file = tmp_path / "a.parquet"
    pq.write_table(table, file)
    assert guessed(file) == "text"
    assert texts(file) == ["x", None, "x"]
    assert texts(file, "data.body") == ["a", None, "c"]
    assert opened(file).count() == 3


def test_a_compressed_parquet_file(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"]}), file)
    packed = tmp_path / "b.parquet.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert texts(packed) == ["x"]


def test_strings_that_are_no_utf8_are_marked(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": broken}), file)
    assert texts(file) == ["ok", "\udcff"]


def test_a_broken_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {number}" for number in range(3000)]})
    pq.write_table(table, file, row_group_size=1000, compression="snappy", use_dictionary=False)
    column = pq.ParquetFile(file).metadata.row_group(1).column(0)
    content = bytearray(file.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    file.write_bytes(content)
    rows, rejects = read(opened(file))
    assert [row[0] for row in rows] == [f"row {n}" for n in range(3000) if not 1000 <= n < 2000]
    assert [(each.number, each.rows, each.code) for each in rejects] == [
        (1001, 1000, Reason.UNREADABLE)
    ]


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"PAR1" * 100])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(content)
    with pytest.raises(SourceError, match="no Parquet file"):
        texts(file)


def saved(folder: Path, *parts: list[str]) -> Path:
    """A data set as ``save_to_disk`` writes it."""
    folder.mkdir(parents=True)
    files = []
    for number, part in enumerate(parts):
        name = f"data-{number:05}-of-{len(parts):05}.arrow"
        table = pa.table({"text": part})
        with (
            pa.OSFile(str(folder / name), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as s,
        ):
            s.write_table(table)
        files.append({"filename": name})
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_saved_data_set(tmp_path: Path) -> None:
    assert texts(saved(tmp_path / "set", ["a", "b"], ["c"])) == ["a", "b", "c"]


def test_the_splits_of_a_saved_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "sets"
    saved(folder / "train", ["a"])
    saved(folder / "test", ["b"])
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert texts(folder, split="test") == ["b"]
    assert texts(folder, split="all") == ["a", "b"]
    with pytest.raises(SourceError, match="train, test; say --split"):
        opened(folder)
    with pytest.raises(SourceError, match="no split 'dev'"):
        opened(folder, split="dev")


def test_a_saved_data_set_that_is_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", ["x" * 100] * 1000, ["y"])
    first = folder / "data-00000-of-00002.arrow"
    first.write_bytes(first.read_bytes()[:2000])
    rows, rejects = read(opened(folder))
    assert rows[-1] == ("y",)
    assert [each.code for each in rejects] == [Reason.UNREADABLE]


def test_a_folder_as_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        pq.write_table(pa.table({"text": [name]}), tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("a card")
    assert texts(tmp_path, split="train") == ["train-00000-of-00001"]


def test_a_folder_of_images_with_metadata(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,cat\n")
    source = opened(tmp_path)
    assert guessed(tmp_path) == "file_name"
    assert source.image("a.png") == str(tmp_path / "a.png")


def test_a_stream_that_breaks_off_in_its_first_rows_is_told_and_no_crash(tmp_path: Path) -> None:
    table = pa.table({"text": ["a long enough text"] * 1000})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    file = tmp_path / "a.arrow"
    file.write_bytes(sink.getvalue().to_pybytes()[:5000])
    source = opened(file)
    assert [each.name for each in source.columns()] == ["text"]
    _rows, rejects = read(source)
    assert [(each.code, each.rows) for each in rejects] == [(Reason.UNREADABLE, 0)]
