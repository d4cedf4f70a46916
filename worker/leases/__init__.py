"""The leases: jobs taken from Redis lists without ever being in nobody's hands."""

from worker.leases.keeper import LeaseKeeper
from worker.leases.leases import Lease, Leases, Taken

__all__ = ["Lease", "LeaseKeeper", "Leases", "Taken"]
