"""The error of the embedded servers."""

from __future__ import annotations


class EmbeddedServerError(RuntimeError):
    """A server cannot be found or does not start; the message says what to do."""
