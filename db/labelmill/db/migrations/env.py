"""What Alembic runs: the migrations, on labelmill.db.schema's connection or one of its own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from labelmill.core.settings import DatabaseSettings
from labelmill.db.connection import create_database_engine, for_writing, patiently, schema_of
from labelmill.db.schema import VERSION_TABLE, prepare
from labelmill.db.tables import metadata


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=schema_of(connection),
        # Other applications' tables are none of ours.
        include_name=lambda name, kind, _: kind != "table" or name in metadata.tables,
        # SQLite cannot alter a column; Alembic then copies the table.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


shared: Connection | None = context.config.attributes.get("connection")
if shared is not None:
    migrate(shared)
else:
    engine = for_writing(create_database_engine(DatabaseSettings().database_url))
    with engine.begin() as own, patiently(own):
        prepare(own)
        migrate(own)
