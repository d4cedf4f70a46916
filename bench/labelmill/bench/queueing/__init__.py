"""The pieces of the benchmark of the queue: the same jobs through Labelmill and stock Celery."""
