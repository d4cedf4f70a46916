"""Recovery: jobs that Redis lost are sent again, and dead letters are looked at and replayed."""
