"""Images: fetched from where a job says they are, and decoded within limits."""
