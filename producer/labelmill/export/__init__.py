"""Results on their way out: tables, files, reports, and how good they are."""
