"""Export: results as files, reports and evaluations."""
