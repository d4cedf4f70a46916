"""Joining: the rows of the file that a run's jobs came from, each beside its result."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from labelmill.core.errors import ConfigurationError
from labelmill.core.run import Run
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.records import Record
from labelmill.db.results import Results
from labelmill.export.columns import JOINED_RESULT_COLUMNS, Export, distinct_names
from labelmill.sources.base import Format, Source
from labelmill.sources.ids import row_id
from labelmill.sources.jobs import JobMaker
from labelmill.sources.plan import Plan
from labelmill.sources.readers import STDIN, expand, open_source
from labelmill.sources.rows import Reject, Row

_LOOKED_UP = 1000  # rows at a time

_EMPTY = (None,) * len(JOINED_RESULT_COLUMNS)
_STATUS, _CODE, _MESSAGE = map(
    JOINED_RESULT_COLUMNS.index, ("status", "error_code", "error_message")
)


class SourceRow(NamedTuple):
    """A row of the file.

    ``number`` is the row's in the run, from 1; ``id`` is its job's, None if it cannot have one;
    ``values`` are those of :attr:`Rows.columns`, all None where ``reject`` says why it could not
    be read.
    """

    number: int
    id: str | None
    values: Sequence[Any]
    reject: Reject | None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that jobs were made of.

    Attributes:
        run: the run whose rows they are; it may be None where there is an ``id_column``.
        columns: of all sources, in their order.
        id_column: the column that has the jobs' ids; None where they were made of run and row.
        maker: makes the run's jobs of them, where it is known how that was done.
    """

    run: str | None
    sources: tuple[Source, ...]
    columns: tuple[str, ...]
    id_column: str | None
    maker: JobMaker | None = None

    @classmethod
    def of_run(cls, run: Run) -> Rows:
        """What a run was submitted of.

        Raises:
            ConfigurationError: it was not submitted of a file, or of one that is read once only.
            SourceError: it cannot be read any more.
        """
        if run.plan is None:
            raise ConfigurationError(f"run {run.id} was not submitted of a file; give --join FILE")
        plan = Plan.from_json(run.plan)
        if STDIN in plan.sources:
            raise ConfigurationError(
                f"run {run.id} was read from standard input; give the same rows by --join FILE"
            )
        id_column = plan.chosen.id if plan.chosen else None
        rows = cls.of_files(run.id, plan.sources, plan.form, id_column)
        maker = JobMaker(run.id, replace(plan, upload=False), plan.chosen) if plan.chosen else None
        return replace(rows, maker=maker)

    @classmethod
    def of_files(
        cls, run: str | None, names: Sequence[str], form: Format, id_column: str | None
    ) -> Rows:
        """The rows of files, folders or URLs.

        Raises:
            ConfigurationError: neither a run nor a column of ids is given, or there is no such
                column.
            SourceError: one of them cannot be read.
        """
        if run is None and id_column is None:
            raise ConfigurationError(
                "which result is of which row? Give --run, or --id-column for the jobs' ids"
            )
        sources = tuple(source for name in expand(names) for source in open_source(name, form))
        columns = tuple(
            dict.fromkeys(column.name for source in sources for column in source.columns())
        )
        if id_column is not None and id_column not in columns:
            raise ConfigurationError(
                f"there is no column {id_column!r}; there is {', '.join(map(repr, columns))}"
            )
        return cls(run, sources, columns, id_column)

    def read(self) -> Iterator[SourceRow]:
        """All rows in order, also those that cannot be read.

        Raises:
            SourceError: nothing of a source can be read.
        """
        before = 0
        nothing = (None,) * len(self.columns)
        id_place = self.columns.index(self.id_column) if self.id_column is not None else None
        for source in self.sources:
            own = [column.name for column in source.columns()]
            places = [own.index(name) if name in own else None for name in self.columns]
            number = before
            for item in source.rows(own):
                if isinstance(item, Reject):
                    for offset in range(item.rows):
                        number = before + item.number + offset
                        yield SourceRow(number, None, nothing, item)
                    continue
                number = before + item.number
                values = [None if place is None else item.values[place] for place in places]
                yield SourceRow(number, self._id(number, values, id_place), values, None, source)
            before = number

    def refused(self, row: SourceRow) -> Reject | None:
        """Why no job was made of a row that can be read; None where one was, or may have been."""
        if self.maker is None or row.source is None:
            return None
        wanted = self.maker.chosen.wanted
        if not set(wanted) <= set(self.columns):
            return None
        values = tuple(row.values[self.columns.index(name)] for name in wanted)
        [made] = self.maker.make(row.source, iter([Row(row.number, None, values)]), 0)
        return made if isinstance(made, Reject) else None

    def _id(self, number: int, values: Sequence[Any], id_place: int | None) -> str | None:
        if id_place is None:
            return row_id(self.run or "", number)
        value = values[id_place]
        return None if value is None else str(value)


def with_results(
    rows: Rows, results: Results, wanted: ResultFilter
) -> Iterator[tuple[SourceRow, Record | None]]:
    """Each row with its result, or None while it has none that is wanted.

    In flat memory: the results of a thousand rows are looked up at a time.
    """
    # By their ids alone: a row that was submitted in an earlier run has its result there.
    wanted = replace(wanted, run_id=None)
    remaining = rows.read()
    while block := list(itertools.islice(remaining, _LOOKED_UP)):
        found = results.records([row.id for row in block if row.id is not None], wanted)
        for row in block:
            yield row, found.get(row.id) if row.id is not None else None


def joined(
    rows: Rows,
    results: Results,
    wanted: ResultFilter,
    *,
    only_finished: bool,
    limit: int | None = None,
) -> Export:
    """The rows' own columns, the row's number and the columns of its result.

    Parameters:
        wanted: where it asks for more than a run, only rows with such results are left.
        only_finished: leave out the rows without a result.
        limit: the most rows, from the first on.
    """
    some = only_finished or replace(wanted, run_id=None) != ResultFilter()

    def lines() -> Iterator[tuple[Any, ...]]:
        for row, record in with_results(rows, results, wanted):
            if record is not None:
                yield (*row.values, row.number, *record.result.values)
            elif not some:
                yield (*row.values, row.number, *_without_result(row.reject or rows.refused(row)))

    result_columns = ("row", *JOINED_RESULT_COLUMNS)
    return Export(
        distinct_names(rows.columns, result_columns),
        result_columns,
        itertools.islice(lines(), limit),
    )


def _without_result(reject: Reject | None) -> Sequence[Any]:
    if reject is None:
        return _EMPTY
    columns: list[Any] = list(_EMPTY)
    columns[_STATUS], columns[_CODE], columns[_MESSAGE] = "rejected", reject.code, reject.message
    return columns


def source_rows(
    database: Database, run: str | None, file: str | None, id_column: str | None
) -> Rows:
    """The rows of a file, or of what a run was submitted of.

    Raises:
        ConfigurationError: there is no such run, or it cannot be said whose rows they are.
        SourceError: the file cannot be read.
    """
    found = database.runs.get(run) if run is not None else None
    if run is not None and found is None:
        raise ConfigurationError(f"there is no run {run!r}; labelmill status lists the newest")
    if file is not None:
        return Rows.of_files(run, [file], Format(), id_column)
    if found is None:
        raise ConfigurationError("give a run, or a file with --id-column")
    return Rows.of_run(found)
