"""Signatures of webhooks."""

from __future__ import annotations

import base64
import time

import pytest

from labelmill.core.errors import ConfigurationError, InvalidSignature
from labelmill.webhook.signature import key_of, signed_headers, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"x" * 24).decode()
BODY = b'{"test": 2432232314}'


def headers(*secrets: str, at: float | None = None) -> dict[str, str]:
    return signed_headers(secrets or [SECRET], "msg_1", int(at or time.time()), BODY)


def test_the_example_of_the_standards_libraries() -> None:
    signed = signed_headers([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_signed_is_verified_whatever_the_case_of_the_headers() -> None:
    verify(SECRET, headers(), BODY)
    verify(SECRET, {name.title(): value for name, value in headers().items()}, BODY)


def test_either_of_two_secrets_will_do() -> None:
    signed = headers(OTHER, SECRET)
    verify(SECRET, signed, BODY)
    verify(OTHER, signed, BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(time.time()) - 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-signature": "v1,Zm9yZ2Vk"},
        {"webhook-signature": "v1,ünicode"},
        {"webhook-signature": ""},
    ],
)
def test_what_was_changed_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRET, headers() | change, BODY)


def test_another_body_or_secret_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRET, headers(), BODY + b" ")
    with pytest.raises(InvalidSignature):
        verify(OTHER, headers(), BODY)


@pytest.mark.parametrize("seconds", [-301, 310])
def test_what_is_not_fresh_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidSignature, match="too old"):
        verify(SECRET, headers(at=time.time() + seconds), BODY)


def test_without_headers_it_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="webhook-id"):
        verify(SECRET, {}, BODY)


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_Zm9v", "whsec_%%%"])
def test_a_secret_that_cannot_be_used_says_how_to_make_one(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="openssl"):
        key_of(secret)
