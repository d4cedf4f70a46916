"""Redis and PostgreSQL as child processes: for trying out, for tests, and for one machine."""
