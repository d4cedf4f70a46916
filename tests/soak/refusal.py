"""The refusal: a trigger of a user's that takes all rows but some."""

from __future__ import annotations

from sqlalchemy import text

from tests.support.audit import Audit

#: The first word of the texts, which are the labels, of rows that the database refuses.
REFUSED = "refused"

_POSTGRESQL = f"""
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'we do not take this'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON results FOR EACH ROW
WHEN (NEW.label LIKE '{REFUSED} %') EXECUTE FUNCTION refuse();
"""
_SQLITE = f"""
CREATE TRIGGER refuse BEFORE INSERT ON results WHEN NEW.label LIKE '{REFUSED} %'
BEGIN SELECT RAISE(ABORT, 'we do not take this'); END
"""


def refuse_some_rows(audit: Audit) -> None:
    """Have the database refuse the rows whose labels begin with :data:`REFUSED`."""
    with audit.connection() as connection:
        statement = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
        connection.execute(text(statement))
