"""Data sets as Hugging Face's libraries lay them out, in folders, read without those libraries.

``save_to_disk`` writes a folder of Arrow streams with a ``state.json``, or one such folder a split
with a ``dataset_dict.json``. A folder as on the hub has Parquet, CSV or JSON-lines files whose
names or folders say the split; a folder of images may have a ``metadata.csv`` that names them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelmill.core.errors import SourceError

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

_SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip

ALL = "all"


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` has written the folder."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def saved_streams(folder: Path, split: str | None) -> list[Path]:
    """The Arrow files of a saved data set, in order.

    Parameters:
        split: which one; ``all`` for each; None where there is only one.

    Raises:
        SourceError: it is damaged, or it is open which split is meant.
    """
    if not (folder / "dataset_dict.json").is_file():
        if split not in (None, ALL):
            raise SourceError(f"{folder} has no splits; leave out --split")
        return _streams(folder)
    splits = _json(folder / "dataset_dict.json").get("splits")
    if not isinstance(splits, list):
        raise SourceError(f"{folder / 'dataset_dict.json'} names no splits")
    chosen = chosen_splits(str(folder), {str(each): [folder / str(each)] for each in splits}, split)
    return [stream for each in chosen for stream in _streams(each)]


def tables(folder: Path, split: str | None) -> list[Path]:
    """The tables of a folder as on the hub, in the order of their names; empty if there are none.

    Raises:
        SourceError: it is open which split is meant.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if _is_table(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        return []
    kinds = {_table_suffix(path) for path in found}
    if ".parquet" in kinds:
        found = [path for path in found if _table_suffix(path) == ".parquet"]
    splits: dict[str, list[Path]] = {}
    for path in found:
        splits.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    if len(splits) == 1 and split is None:
        return found
    return chosen_splits(str(folder), splits, split)


def metadata_of(folder: Path) -> Path | None:
    """The table that names a folder's images, if it has one."""
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def chosen_splits(name: str, splits: Mapping[str, Sequence[Path]], split: str | None) -> list[Path]:
    """The paths of the split that is meant.

    Raises:
        SourceError: there is none of that name, or there are several and none was named.
    """
    if split == ALL or (split is None and len(splits) == 1):
        return [path for paths in splits.values() for path in paths]
    if split is None:
        raise SourceError(
            f"{name} has the splits {', '.join(splits)}; say --split NAME, or --split {ALL}"
        )
    if split not in splits:
        raise SourceError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return list(splits[split])


def _streams(folder: Path) -> list[Path]:
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise SourceError(
            f"{folder} was saved with a selection of rows beside it; "
            "call flatten_indices() and save it again"
        )
    files = state.get("_data_files")
    if not isinstance(files, list) or not all(
        isinstance(each, dict) and isinstance(each.get("filename"), str) for each in files
    ):
        raise SourceError(f"{folder / 'state.json'} names no files of data")
    # By their last parts: what a file of somebody else's says leads nowhere else.
    paths = [folder / Path(each["filename"]).name for each in files]
    for path in paths:
        if not path.is_file():
            raise SourceError(f"there is no {path}, which state.json names")
    return paths


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path} is no JSON object")
    return content


def _is_table(path: Path) -> bool:
    return _table_suffix(path) in TABLES and path.is_file()


def _table_suffix(path: Path) -> str:
    suffixes = [each.lower() for each in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _split_of(path: Path) -> str:
    """The split that a file's name or one of its folders says; train where none does."""
    for part in (path.name, *reversed(path.parent.parts)):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return "train"
