"""What is remembered: the three tables, and the tokens of the gateway.

::

    runs ──< jobs ──1 results
     one row a bulk    the ledger, written     one terminal row a job,
     submission        before publishing       append-only

They are joined by value, not by foreign keys: a bare ``send_task`` writes neither a run nor a
job, and its result must be kept all the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import JSON, DateTime, Dialect, Double, Enum, Index, MetaData, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.core.json import JsonValue
from labelmill.core.result import LabelScore, Status


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime, in UTC on the way out of either database.

    SQLite has no time zones and PostgreSQL answers in the session's, so neither can be left to
    the driver. Naive datetimes are refused: which zone was meant is anybody's guess.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time zone is needed: {value!r} has none")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The declarative base; its metadata is what the migrations are compared with."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UTCDateTime, str: Text}


_Name = String(MAX_ID_LENGTH)
_Scores = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# Not JSONB, which would reorder keys and turn 1e20 into an integer: this is to be sent again as
# it was.
_Payload = JSON()
_Status = Enum(
    Status,
    name="status",
    native_enum=False,
    create_constraint=True,
    length=16,
    values_callable=lambda members: [member.value for member in members],
)


class Run(Base):
    """One bulk submission."""

    __tablename__ = "runs"
    __table_args__ = (Index(None, "created_at", "id"),)

    id: Mapped[str] = mapped_column(_Name, primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    source: Mapped[str]
    submitted: Mapped[int] = mapped_column(default=0)
    """Jobs sent so far."""
    rejected: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    """Rows of the source of which no job could be made."""
    plan: Mapped[dict[str, JsonValue] | None] = mapped_column(JSON(none_as_null=True))
    """What it is submitted of and how, to go on with it; only ``labelmill submit`` writes it."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    """When the submission ended; the jobs may still be under way."""


class Job(Base):
    """One job as it was submitted: enough to send it again."""

    __tablename__ = "jobs"
    __table_args__ = (
        # Only the jobs of runs: a bare job pays nothing for it.
        Index(
            None,
            "run_id",
            postgresql_where=text("run_id IS NOT NULL"),
            sqlite_where=text("run_id IS NOT NULL"),
        ),
        # The reconciler sweeps the jobs of one queue and one priority from the oldest on. New
        # entries go to the end of each.
        Index(None, "model", "priority", "due_at", "id"),
    )

    id: Mapped[str] = mapped_column(_Name, primary_key=True)
    run_id: Mapped[str | None] = mapped_column(_Name)
    model: Mapped[str] = mapped_column(_Name)
    payload: Mapped[dict[str, JsonValue]] = mapped_column(_Payload)
    """The message's keyword arguments."""
    priority: Mapped[int] = mapped_column(default=0)
    eta: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    enqueued_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """From when on it is missed: when it was last sent, or its eta where that is later."""


class Result(Base):
    """How one job ended. Written once, never changed."""

    __tablename__ = "results"
    __table_args__ = (
        # The newest of a run, of a model and of all, a page at a time. New entries go to the end
        # of each index (of a run, of a model): one that began with the random ids took half of
        # the rows per second. The status lets a run be counted without touching the table.
        Index(
            None,
            "run_id",
            "finished_at",
            "id",
            "status",
            postgresql_where=text("run_id IS NOT NULL"),
            sqlite_where=text("run_id IS NOT NULL"),
        ),
        Index(None, "model", "finished_at", "id"),
        Index(None, "finished_at", "id"),
    )

    id: Mapped[str] = mapped_column(_Name, primary_key=True)
    """The Celery task id."""
    run_id: Mapped[str | None] = mapped_column(_Name)
    model: Mapped[str] = mapped_column(_Name)
    """The alias, which is also the queue."""
    checkpoint: Mapped[str | None]
    revision: Mapped[str | None]
    status: Mapped[Status] = mapped_column(_Status)
    label: Mapped[str | None]
    score: Mapped[float | None] = mapped_column(Double)
    scores: Mapped[list[LabelScore] | None] = mapped_column(_Scores)
    """Labels with their scores, the highest first."""
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    attempt: Mapped[int]
    group_size: Mapped[int]
    """How many jobs went through the model together."""
    worker: Mapped[str] = mapped_column(_Name)
    enqueued_at: Mapped[datetime | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]

    def __repr__(self) -> str:
        how = (
            f"label={self.label!r}, score={self.score!r}"
            if self.status is Status.SUCCEEDED
            else f"error_code={self.error_code!r}, error_message={self.error_message!r}"
        )
        return f"Result(id={self.id!r}, model={self.model!r}, status={str(self.status)!r}, {how})"


class Token(Base):
    """One token of the gateway; what its bearer says is kept as a hash alone."""

    __tablename__ = "tokens"
    __table_args__ = (Index(None, "hash", unique=True),)

    id: Mapped[str] = mapped_column(_Name, primary_key=True)
    name: Mapped[str]
    """For whom it was made, to be read by people."""
    hash: Mapped[str] = mapped_column(String(64))
    """SHA-256, in hexadecimal digits."""
    scopes: Mapped[str]
    """What it allows, separated by spaces."""
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
