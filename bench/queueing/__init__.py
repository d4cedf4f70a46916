"""The pieces of ``python -m bench.queue``: the same jobs through Labelmill and stock Celery."""
