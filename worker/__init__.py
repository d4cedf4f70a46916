"""Keeps ``celery -A worker worker`` in a checkout; an installation has ``labelmill.worker``."""

from labelmill.worker.celery import app as app
