"""The results database: its connections, and a repository a table."""

from __future__ import annotations

from typing import Self

from sqlalchemy import Engine

from labelmill.core.closing import Closeable
from labelmill.db.connection import create_database_engine
from labelmill.db.jobs import Jobs
from labelmill.db.results import Results
from labelmill.db.runs import Runs
from labelmill.db.tokens import Tokens


class Database(Closeable):
    """The results database; one serves all threads of a process.

    Parameters:
        engine: from :func:`labelmill.db.connection.create_database_engine`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.results = Results(engine)
        self.jobs = Jobs(engine)
        self.runs = Runs(engine)
        self.tokens = Tokens(engine)

    @classmethod
    def open(cls, url: str, schema: str | None = None) -> Self:
        """The database at ``url``; connects when it is first used.

        Parameters:
            schema: as for :func:`labelmill.db.connection.create_database_engine`.

        Raises:
            ConfigurationError: if the URL cannot be used, or its driver is not installed.
        """
        return cls(create_database_engine(url, schema))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
