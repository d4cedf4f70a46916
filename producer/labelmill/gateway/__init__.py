"""The gateway: the HTTP API and the page."""
