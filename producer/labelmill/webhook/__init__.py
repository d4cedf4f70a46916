"""The room of announcements: who reads what is said of finished jobs, and carries it on."""
