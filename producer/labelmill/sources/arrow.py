"""Arrow tables: Parquet files and the streams of a saved data set, read with pyarrow."""

from __future__ import annotations

import io
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.sources.base import Column, Kind, Source
from labelmill.sources.columns import kind_of
from labelmill.sources.compression import READ_ERRORS, decompressed
from labelmill.sources.encoding import MARK_ERRORS
from labelmill.sources.lines import broken_off
from labelmill.sources.location import Location
from labelmill.sources.rows import Item, Reason, Reject, Row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 1000
_SAMPLED = 100  # rows


class _Borrowed(io.RawIOBase):
    """A file from its beginning, which stays open when this is closed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Parquet(Source):
    """A Parquet file, a row group after the other."""

    def __init__(self, location: Location) -> None:
        super().__init__(location.name)
        _require_pyarrow()
        self.location = location
        self._spool: BinaryIO | None = None

    def columns(self) -> Sequence[Column]:
        """Its columns, those in structs by their paths."""
        with self._opened() as file:
            names = [name for name, kind in _flat(file.schema_arrow)]
            sample: dict[str, list[object]] = {}
            # Rows that are broken are named when they are read.
            with suppress(*_read_errors()):
                if file.num_row_groups:
                    sample = _sample(file.iter_batches(_SAMPLED, row_groups=[0]), names)
            return _columns(file.schema_arrow, sample)

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """All rows; a row group that is broken costs those of its rows that were not read."""
        with self._opened() as file:
            _check(self.name, file.schema_arrow, wanted)
            total, number = file.metadata.num_rows, 0
            for group in range(file.num_row_groups):
                end = number + file.metadata.row_group(group).num_rows
                try:
                    for batch in file.iter_batches(
                        _BATCH_ROWS, row_groups=[group], columns=_roots(wanted)
                    ):
                        for values in _values(batch, wanted):
                            number += 1
                            yield Row(number, None, values)
                        self.reading.fraction = number / total
                except _read_errors() as error:
                    why = f"row group {group + 1} cannot be read ({type(error).__name__})"
                    yield Reject(number + 1, None, Reason.UNREADABLE, why, rows=end - number)
                number = end

    def count(self) -> int | None:
        """As its footer says."""
        with self._opened() as file:
            return int(file.metadata.num_rows)

    def image(self, value: str) -> str:
        """Relative to the file."""
        return self.location.sibling(value)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        import pyarrow.parquet as pq

        with ExitStack() as stack:
            try:
                raw = stack.enter_context(self._bytes())
                file = stack.enter_context(pq.ParquetFile(raw, pre_buffer=False))
            except _read_errors() as error:
                raise SourceError(f"{self.name} is no Parquet file: {_brief(error)}") from error
            yield file

    def _bytes(self) -> BinaryIO:
        """Its content, in a temporary file where it cannot be sought in as it is."""
        if self._spool is not None:
            return cast("BinaryIO", _Borrowed(self._spool))
        raw = self.location.open()
        content = decompressed(raw, self.name)
        if content is raw and raw.seekable():
            return raw
        self._spool = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - see below
        weakref.finalize(self, self._spool.close)
        with raw, content:
            shutil.copyfileobj(content, self._spool)
        return cast("BinaryIO", _Borrowed(self._spool))


class ArrowStreams(Source):
    """Files of Arrow's stream format that follow each other, as ``save_to_disk`` writes them."""

    def __init__(self, name: str, locations: Sequence[Location]) -> None:
        super().__init__(name)
        _require_pyarrow()
        self.locations = locations

    def columns(self) -> Sequence[Column]:
        """The columns of the first file, those in structs by their paths."""
        if not self.locations:
            raise SourceError(f"{self.name} has no rows")
        with self._stream(self.locations[0]) as stream:
            names = [name for name, kind in _flat(stream.schema)]
            sample: dict[str, list[object]] = {}
            # That it breaks off is told when it is read.
            with suppress(*_read_errors()):
                sample = _sample(iter(stream), names)
            return _columns(stream.schema, sample)

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """All rows of all files."""
        number = 0
        for index, location in enumerate(self.locations, start=1):
            try:
                with self._stream(location) as stream:
                    _check(location.name, stream.schema, wanted)
                    for whole in stream:
                        for start in range(0, whole.num_rows, _BATCH_ROWS):
                            for values in _values(whole.slice(start, _BATCH_ROWS), wanted):
                                number += 1
                                yield Row(number, None, values)
            except _read_errors() as error:
                yield broken_off(number + 1, error)._replace(
                    message=f"the rest of {Path(location.name).name} cannot be read "
                    f"({type(error).__name__})"
                )
            self.reading.fraction = index / len(self.locations)

    def image(self, value: str) -> str:
        """Relative to the files."""
        return self.locations[0].sibling(value)

    @contextmanager
    def _stream(self, location: Location) -> Iterator[pa.RecordBatchStreamReader]:
        import pyarrow as pa

        with location.open() as file:
            try:
                stream = pa.ipc.open_stream(file)
            except _read_errors() as error:
                raise SourceError(f"{location.name} is no Arrow stream: {_brief(error)}") from error
            with stream:
                yield stream


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ConfigurationError(
            "Parquet and data sets are read by pyarrow; pip install 'labelmill[bulk]'"
        ) from error


def _read_errors() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    return (*READ_ERRORS, pa.ArrowException)


def _flat(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """The columns that hold a value of their own; an image with its bytes is one."""
    import pyarrow as pa

    found: list[tuple[str, pa.DataType]] = []

    def walk(name: str, kind: pa.DataType) -> None:
        if pa.types.is_struct(kind) and not _is_image_struct(kind):
            for field in kind:
                walk(f"{name}.{field.name}", field.type)
        else:
            found.append((name, kind))

    for field in schema:
        walk(field.name, field.type)
    return found


def _is_image_struct(kind: pa.DataType) -> bool:
    """The form in which Hugging Face's data sets hold images: their bytes, or a path."""
    return {field.name for field in kind} == {"bytes", "path"}


def _columns(schema: pa.Schema, sample: dict[str, list[object]]) -> list[Column]:
    import pyarrow as pa

    columns: list[Column] = []
    for name, kind in _flat(schema):
        if pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            columns.append(Column(name, Kind.IMAGE))
        elif sample.get(name) or not _is_string(kind):
            columns.append(Column(name, kind_of(sample.get(name, []))))
        else:
            columns.append(Column(name, Kind.TEXT))
    return columns


def _is_string(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_string(kind.value_type)
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _sample(batches: Iterator[pa.RecordBatch], names: Sequence[str]) -> dict[str, list[object]]:
    first = next(batches, None)
    if first is None:
        return {}
    rows = list(_values(first.slice(0, _SAMPLED), names))
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _check(name: str, schema: pa.Schema, wanted: Sequence[str]) -> None:
    there = [column for column, _kind in _flat(schema)]
    for column in wanted:
        if column not in there:
            raise SourceError(
                f"{name} has no column {column!r}; it has {', '.join(map(repr, there))}"
            )


def _roots(wanted: Sequence[str]) -> list[str]:
    """What to read of the file: pyarrow takes a struct's path as it is."""
    return list(dict.fromkeys(wanted))


def _values(batch: pa.RecordBatch, wanted: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(_column(batch, name) for name in wanted), strict=True)


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    index = batch.schema.get_field_index(name)
    if index >= 0:
        column = batch.column(index)
    else:
        root, _, rest = name.partition(".")
        column = batch.column(root)
        for part in rest.split("."):
            column = pc.struct_field(column, part)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not _is_string(column.type):
        return cast("list[Any]", column.to_pylist())
    # Not every writer checks its strings, and one that is no UTF-8 must not take others along.
    return [
        value if value is None else value.decode(errors=MARK_ERRORS)
        for value in column.cast(pa.large_binary()).to_pylist()
    ]


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
