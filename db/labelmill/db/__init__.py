"""The database: what is remembered, in SQLite or PostgreSQL."""
