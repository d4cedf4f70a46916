"""The webhook: telling a receiver of finished jobs."""
