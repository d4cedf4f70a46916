"""Parquet."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import IO, Any

from labelmill.core.errors import ConfigurationError
from labelmill.core.fields import fields_of
from labelmill.core.result import LabelScore, Result
from labelmill.core.states import Status
from labelmill.export.columns import Export

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise ConfigurationError("Parquet needs pyarrow: pip install 'labelmill[bulk]'") from error

_ROWS_A_GROUP = 32_768  # in memory at a time

# Few values in many rows; ids and messages are the exception.
_NAME = pa.dictionary(pa.int32(), pa.string())
_DISTINCT = {"id", "error_message"}
_BY_TYPE = {
    str: _NAME,
    Status: _NAME,
    int: pa.int32(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
    list: pa.list_(pa.struct([("label", pa.string()), ("score", pa.float64())])),
}
_RESULT_TYPES: Mapping[str, pa.DataType] = {
    **{
        field.name: pa.string() if field.name in _DISTINCT else _BY_TYPE[field.kind]
        for field in fields_of(Result)
    },
    "input": pa.string(),
    "row": pa.int64(),
}


def write_parquet(
    export: Export, output: IO[bytes], source_types: Mapping[str, pa.DataType] | None = None
) -> int:
    """Write Parquet, compressed by zstd; returns how many rows.

    Parameters:
        source_types: of the source's columns, by name; those that have none become strings, in
            which anything but text is JSON.
    """
    types = {**_RESULT_TYPES, **(source_types or {})}
    schema = pa.schema([(name, _type_of(name, export, types)) for name in export.names])
    as_text = [
        name in export.source_columns and name not in (source_types or {}) for name in export.names
    ]
    count = 0
    with pq.ParquetWriter(output, schema, compression="zstd") as writer:
        for columns in export.blocks(_ROWS_A_GROUP):
            arrays = [
                pa.array([_text(value) for value in column] if text else column, field.type)
                if place != export.scores_place
                else _scores(column)
                for place, (column, text, field) in enumerate(
                    zip(columns, as_text, schema, strict=True)
                )
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            count += len(columns[0])
    return count


def _scores(column: Sequence[Sequence[LabelScore] | None]) -> pa.Array:
    """All labels and all scores as a column each, which takes less than an object each."""
    ends = itertools.accumulate((len(scores or ()) for scores in column), initial=0)
    offsets = [
        None if scores is None else start for scores, start in zip((*column, ()), ends, strict=True)
    ]
    each = [one for scores in column for one in scores or ()]
    labels = pa.array([one["label"] for one in each], pa.string())
    scores = pa.array([one["score"] for one in each], pa.float64())
    values = pa.StructArray.from_arrays([labels, scores], ["label", "score"])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _type_of(name: str, export: Export, types: Mapping[str, pa.DataType]) -> pa.DataType:
    if name in export.source_columns and name not in types:
        return pa.string()
    return types[name]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    # Lone surrogates, which JSON may have, are no UTF-8.
    return text if text.isascii() else text.encode(errors="replace").decode()
