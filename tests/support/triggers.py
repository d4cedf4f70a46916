"""Triggers by which a database refuses rows."""

from __future__ import annotations

from labelmill.db.database import Database

#: What a DBA may have added to a table, by what refuses one row of it: to which even the row that
#: says so is refused.
OF_POSTGRESQL = {
    "raises": "RAISE EXCEPTION 'not %', NEW.id",
    "raises a state of its own": "RAISE EXCEPTION 'not this' USING ERRCODE = 'ZX001'",
    "fails": "INSERT INTO nowhere VALUES (1)",
    "drops it": "RETURN NULL",
}
OF_SQLITE = {
    "raises": "RAISE(ABORT, 'not this')",
    "rolls back": "RAISE(ROLLBACK, 'not this')",
    "stops halfway": "RAISE(FAIL, 'not this')",
    "drops it": "RAISE(IGNORE)",
}


def add_trigger(
    database: Database,
    condition: str,
    action: str,
    *,
    table: str = "results",
    event: str = "INSERT",
) -> None:
    """Have a trigger do something for some rows of a table that are new, or changed."""
    with database.engine.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if database.engine.dialect.name == "sqlite":
            driver.execute(
                f"CREATE TRIGGER refuse BEFORE {event} ON {table} WHEN {condition}"
                f" BEGIN SELECT {action}; END"
            )
            return
        driver.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF {condition} THEN {action}; END IF; RETURN NEW; END $$"
        )
        driver.execute(
            f"CREATE TRIGGER refuse BEFORE {event} ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )


def refuse_by(database: Database, what: str, condition: str, table: str = "results") -> None:
    """Have the database refuse some rows in one of the ways."""
    ways = OF_SQLITE if database.engine.dialect.name == "sqlite" else OF_POSTGRESQL
    add_trigger(database, condition, ways[what], table=table)


def drop_trigger(database: Database, table: str = "results") -> None:
    """Have it refuse none any more."""
    of_table = "" if database.engine.dialect.name == "sqlite" else f" ON {table}"
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER refuse{of_table}")
