"""The webhook: telling a receiver of finished jobs; a receiver needs :func:`verify` alone."""

from labelmill.core.errors import InvalidSignature
from labelmill.webhook.signature import verify

__all__ = ["InvalidSignature", "verify"]
