"""The broker: all that is said to Redis."""
