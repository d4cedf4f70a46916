"""Bulk submission: files, folders and streams of any size, as one run that can be resumed."""
