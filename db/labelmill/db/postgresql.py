"""PostgreSQL: connections that wait for no lost reply, and set what is relied on themselves."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import Dialect, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

logger = logging.getLogger(__name__)

_R = TypeVar("_R")

SILENCE_SECONDS = 20.0
"""For how long a server may say nothing while it is waited for; ``silence_timeout`` in the URL."""

_CONNECT_SECONDS = 10
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.5, 3600  # what silence_timeout may be
_OLDEST_SECONDS = 1800  # of a connection: what the name in the URL leads to may change

# As parts of that silence. The server speaks of a lock before we give up. An abandoned write ends
# on its own, and not at once: what it has locked is what the next attempt waits for, and then
# finds written.
_LOCK = 0.75
_STATEMENT = 3
_ASKING = 0.25
_DOUBTS = 3
_WATCHED = 140000  # the first version that sees during a statement that nobody waits for it

# What every pooler keeps for its client, since the server tells when they change.
_KEPT = {"DateStyle": "ISO, MDY", "TimeZone": "UTC", "standard_conforming_strings": "on"}
# What a pooler would leave behind on a connection that others use next.
_OWN = {
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",  # below that a score loses digits
    "default_transaction_isolation": "read committed",
    "client_connection_check_interval": "10s",
}

# Classes of SQLSTATE after which a session is as good as before: data, constraints, conflicts of
# transactions, limits of the program, what a trigger raised. All else tells of the session, the
# role or the server.
_OF_THE_STATEMENT = ("22", "23", "40", "54", "P0")
_OF_PREPARED_STATEMENTS = ("26000", "42P05")


class ServerSilent(psycopg.OperationalError):
    """The server has said nothing for so long that its reply must have been lost."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server is silent for too long.

    Attributes:
        silence: what is too long, in seconds.
        working: asked then, whether the server is still at the statement; None behind a pooler,
            where it is not known whom to ask about.
    """

    silence = SILENCE_SECONDS
    working: Callable[[], bool | None] | None = None
    _another: Callable[..., BoundedConnection]

    def wait(self, gen: PQGen[_R], *arguments: Any, **options: Any) -> _R:
        """Wait as psycopg does.

        Raises:
            ServerSilent: the server was silent for too long; the connection is closed.
        """
        try:
            return super().wait(self._bounded(gen), *arguments, **options)
        except ServerSilent as error:
            logger.warning("%s; the connection is given up", error)
            self.pgconn.finish()
            raise

    def _bounded(self, gen: PQGen[_R]) -> PQGen[_R]:
        # psycopg looks up from its waiting ten times a second, and sends nothing then.
        patience = _Patience(self.silence, self.working)
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    patience.renew()
                else:
                    patience.use_up()
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: _R = end.value
            return answer

    def is_working(self, backend: int) -> bool | None:
        """Whether the server is at a statement of that process; None if it cannot be asked."""
        try:
            with self._another(connect_timeout=max(2, int(self.silence * _ASKING))) as other:
                found = other.execute(
                    "SELECT state FROM pg_stat_activity WHERE pid = %s", [backend]
                ).fetchone()
        except psycopg.errors.TooManyConnections:
            return True  # as far as anybody can tell
        except psycopg.Error:
            return None
        return found is not None and (found[0] is None or not found[0].startswith("idle"))


class _Patience:
    """What is left of the time that a server may be silent."""

    def __init__(self, seconds: float, working: Callable[[], bool | None] | None) -> None:
        self._seconds = seconds
        self._working = working
        self.renew()

    def renew(self) -> None:
        self._doubts = 0
        self._until = time.monotonic() + self._seconds

    def use_up(self) -> None:
        if time.monotonic() < self._until:
            return
        working = self._working() if self._working else False
        if working:
            self.renew()
            return
        # The reply may be on its way just now; and who cannot be asked may be too busy.
        self._doubts += 2 if working is False else 1
        if self._working is None or self._doubts >= _DOUBTS:
            raise ServerSilent(f"the database's server was silent for {self._seconds:g} s")
        self._until = time.monotonic() + self._seconds * _ASKING


@contextmanager
def patiently(connection: Connection) -> Iterator[None]:
    """Let statements of this transaction take as long as the server is at work on them.

    A lost reply is noticed all the same: over another connection the server is asked what it does.
    On SQLite this does nothing.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, BoundedConnection):
        yield
        return
    # Behind a pooler the process is known within a transaction only.
    asked = "SELECT pg_backend_pid(), set_config('statement_timeout', '0', true)"
    backend = connection.exec_driver_sql(asked).scalar_one()
    before, driver.working = driver.working, partial(driver.is_working, backend)
    try:
        yield
    finally:
        driver.working = before


def create_postgresql_engine(url: URL, **options: Any) -> Engine:
    """An engine for the URL of a PostgreSQL; what the URL says goes before what we would say.

    Parameters:
        options: more for SQLAlchemy.

    Raises:
        ValueError: if an option of the URL is none.
    """
    query = dict(url.query)
    sessions = _Sessions(
        threshold=_threshold(query.pop("prepare_threshold", "5")),
        silence=(silence := _silence(query.pop("silence_timeout", SILENCE_SECONDS))),
        options=str(query.get("options", "")),
    )
    defaults = _defaults(url, silence)
    engine = create_engine(
        url.set(query=query),
        connect_args={key: value for key, value in defaults.items() if key not in query},
        pool_recycle=_OLDEST_SECONDS,
        use_native_hstore=False,
        **options,
    )
    event.listen(engine, "do_connect", sessions.connect)
    event.listen(engine, "handle_error", sessions.judge)
    return engine


class _Sessions:
    """How an engine's connections begin, and which of them are used again.

    Parameters:
        threshold: after how many uses a statement is prepared; None for never.
        silence: for how long a server may say nothing, in seconds.
        options: of the URL, whose settings are left alone.
    """

    def __init__(self, *, threshold: int | None, silence: float, options: str) -> None:
        self._threshold = threshold
        self._silence = silence
        given = options.lower()
        timeouts = {
            "lock_timeout": f"{silence * _LOCK:g}s",
            "statement_timeout": f"{silence * _STATEMENT:g}s",
        }
        self._kept, self._own = (
            {name: value for name, value in each.items() if name.lower() not in given}
            for each in (_KEPT, _OWN | timeouts)
        )

    def connect(
        self,
        _dialect: Dialect,
        _entry: ConnectionPoolEntry,
        arguments: list[Any],
        options: dict[str, Any],
    ) -> BoundedConnection:
        """Open a connection, and set what is relied on."""

        def another(**changes: int) -> BoundedConnection:
            connection = BoundedConnection.connect(*arguments, **options | changes, autocommit=True)
            connection.silence, connection._another = self._silence, another
            return connection

        connection = another()
        try:
            direct = self._set_up(connection)
            if direct:
                # A write may take long, too: a trigger of somebody's, a slow disk.
                connection.working = partial(connection.is_working, connection.info.backend_pid)
            # A pooler gives each transaction another server, which has not prepared it.
            connection.prepare_threshold = self._threshold if direct else None
            # And has it a statement of that name, it is another client's: where the pooler is not
            # known as one, names that nobody else gives turn wrong rows into an error.
            connection._prepared._prepared_idx = secrets.randbits(48)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    def judge(self, context: ExceptionContext) -> None:
        """Throw away what answers that the session, or its server, cannot be used as it is.

        A connection that is made anew would find what has changed since; one that is kept would
        not. Those at rest may be no better.
        """
        error = context.original_exception
        if not isinstance(error, psycopg.Error) or context.connection is None:
            return
        state = error.sqlstate
        if state in _OF_PREPARED_STATEMENTS:
            self._threshold = None
        if state is None:
            spoilt = not isinstance(error, psycopg.DataError | psycopg.ProgrammingError)
        else:
            spoilt = not state.startswith(_OF_THE_STATEMENT)
        if spoilt:
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = True
            if context.execution_context is not None:
                # SQLAlchemy does not, where the connection is given up; psycopg complains.
                with suppress(psycopg.Error):
                    context.execution_context.cursor.close()

    def _set_up(self, connection: BoundedConnection) -> bool:
        """Make the settings; whether the connection is to a server and not to a pooler.

        A pooler has to make up the number of the process: its client has none for itself.
        """
        told = connection.info.parameter_status
        wanted = {name: value for name, value in self._kept.items() if told(name) != value}
        backend = connection.execute("SELECT pg_backend_pid()").fetchone()
        direct = backend == (connection.info.backend_pid,)
        if direct:
            wanted |= self._own
            if connection.info.server_version < _WATCHED:
                wanted.pop("client_connection_check_interval", None)
        # Whatever is set here binds some poolers to one server.
        if wanted:
            settings = [f"set_config('{name}', '{value}', false)" for name, value in wanted.items()]
            connection.execute(f"SELECT {', '.join(settings)}".encode())
        return direct


def _defaults(url: URL, silence: float) -> Mapping[str, str | int]:
    hosts = _hosts(url)
    return {
        "connect_timeout": _CONNECT_SECONDS,
        # A write into a network that swallows packets; what the kernel knows of one at rest.
        "tcp_user_timeout": int(silence * 1000),
        "keepalives": 1,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "client_encoding": "utf8",
        "fallback_application_name": "labelmill",
        # What the environment says of these is meant for somebody else.
        "options": "",
        "target_session_attrs": "primary" if hosts > 1 else "any",
        **({"hostaddr": ""} if hosts else {}),
        **({"port": 5432} if url.host and not url.port else {}),
    }


def _hosts(url: URL) -> int:
    given = url.query.get("host", ())
    named = [given] if isinstance(given, str) else list(given)
    return sum(len(each.split(",")) for each in [*named, url.host or ""] if each)


def _threshold(given: Any) -> int | None:
    if str(given).lower() == "none":
        return None
    try:
        return int(given)
    except (TypeError, ValueError):
        raise ValueError("prepare_threshold is none, or a number of uses") from None


def _silence(given: Any) -> float:
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = 0.0
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise ValueError(
            f"silence_timeout is from {_SHORTEST_SECONDS} to {_LONGEST_SECONDS} seconds"
        )
    return seconds
