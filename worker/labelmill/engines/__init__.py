"""The engines: models of each task, made ready to answer groups of jobs."""

from labelmill.engines.base import Engine

__all__ = ["Engine"]
