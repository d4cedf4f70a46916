"""The demo: two small models, their data and their training."""
