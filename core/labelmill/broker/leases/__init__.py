"""The leases: jobs taken from Redis lists without ever being in nobody's hands."""

from labelmill.broker.leases.keeper import LeaseKeeper
from labelmill.broker.leases.leases import MAX_LEASES, Lease, Leases, Taken, portions

__all__ = ["MAX_LEASES", "Lease", "LeaseKeeper", "Leases", "Taken", "portions"]
