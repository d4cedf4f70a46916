"""Bulk submission: a run, submitted once, resumable."""
