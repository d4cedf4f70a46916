"""Signatures of webhooks, after the Standard Webhooks specification (symmetric, ``v1``).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

from labelmill.core.errors import ConfigurationError, InvalidSignature

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

_PREFIX = "whsec_"
_VERSION = "v1"
_FEWEST_KEY_BYTES = 24


def signed_headers(
    secrets: Sequence[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers of one attempt to deliver a message, signed with each of the secrets.

    Parameters:
        timestamp: of the attempt, in seconds since 1970.

    Raises:
        ConfigurationError: a secret cannot be used.
    """
    signatures = [
        _signature(key_of(secret), message_id, str(timestamp), body) for secret in secrets
    ]
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: " ".join(f"{_VERSION},{each}" for each in signatures),
    }


def verify(
    secret: str, headers: Mapping[str, str], body: bytes, *, tolerance: float = 300.0
) -> None:
    """Check that a webhook is from who has the secret, and fresh; for those who receive it.

    Parameters:
        secret: ``whsec_…``.
        headers: of the request; upper and lower case are the same.
        body: of the request, as it came, before anything has parsed it.
        tolerance: how old, or how far in the future, it may be, in seconds.

    Raises:
        InvalidSignature: it is not; answer with 401 and do nothing.
        ConfigurationError: the secret cannot be used.
    """
    key = key_of(secret)
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp = given[ID_HEADER], given[TIMESTAMP_HEADER]
        signatures = given[SIGNATURE_HEADER].split()
        age = time.time() - int(timestamp)
    except (KeyError, ValueError):
        raise InvalidSignature(
            f"a webhook has the headers {ID_HEADER}, {TIMESTAMP_HEADER} and {SIGNATURE_HEADER}"
        ) from None
    if abs(age) > tolerance:
        raise InvalidSignature("the webhook is too old, or a clock is wrong; it may be a replay")
    expected = f"{_VERSION},{_signature(key, message_id, timestamp, body)}".encode()
    # Bytes, since text that is not ASCII could not be compared.
    if not any(hmac.compare_digest(expected, each.encode()) for each in signatures):
        raise InvalidSignature("no signature of the webhook fits its content and this secret")


def key_of(secret: str) -> bytes:
    """The key that a secret stands for.

    Raises:
        ConfigurationError: it is not ``whsec_`` and the base64 of 24 bytes or more.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < _FEWEST_KEY_BYTES:
        raise ConfigurationError(
            f"a webhook's secret is {_PREFIX} and the base64 of {_FEWEST_KEY_BYTES} bytes or more; "
            f"make one: echo {_PREFIX}$(openssl rand -base64 32)"
        )
    return key


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
