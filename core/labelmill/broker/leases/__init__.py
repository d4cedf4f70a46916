"""The leases: jobs taken from Redis lists without ever being in nobody's hands."""

from labelmill.broker.leases.keeper import LeaseKeeper
from labelmill.broker.leases.leases import Lease, Leases, Taken

__all__ = ["Lease", "LeaseKeeper", "Leases", "Taken"]
