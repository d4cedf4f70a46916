"""The worker: leasing, batching and committing in one process."""
