"""The faults of the soak; importing this makes all of them known to :data:`.fault.FAULTS`."""

from tests.soak.faults import control, jobs, network, postgresql, processes, redis, sqlite

__all__ = ["control", "jobs", "network", "postgresql", "processes", "redis", "sqlite"]
