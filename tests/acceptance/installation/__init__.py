"""What an installation brings, and that it and a user's own folder leave each other alone."""
