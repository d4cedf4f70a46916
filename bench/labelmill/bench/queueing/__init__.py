"""The pieces of ``python -m labelmill.bench.queue``: the same jobs through Labelmill and stock Celery."""
