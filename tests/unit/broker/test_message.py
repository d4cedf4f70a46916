"""Messages, as Celery writes them and as strangers may."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.broker import message
from labelmill.broker.message import Message, _json, body, decode, encode, headers
from labelmill.core.errors import ErrorCode
from labelmill.core.job import TASK_NAME, SubmittedJob, parse_job

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def envelope(**changes: Any) -> dict[str, Any]:
    content = body(parse_job({"text": "hello"}).to_kwargs())
    message: dict[str, Any] = {
        "body": base64.b64encode(json.dumps(content).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers("job-1", enqueued_at=NOW),
        "properties": {"body_encoding": "base64"},
    }
    return message | changes


def encoded(content: object) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def test_reads_what_the_client_writes() -> None:
    message = decode(json.dumps(envelope()).encode())
    assert (message.id, message.error, message.enqueued_at) == ("job-1", None, NOW)
    assert message.job is not None
    assert message.job.text == "hello"


def test_headers_carry_no_payload() -> None:
    assert "hello" not in json.dumps(headers("job-1", enqueued_at=NOW))


def test_reads_a_body_without_base64() -> None:
    plain = envelope(body='[[], {"text": "x"}, {}]', properties={})
    message = decode(json.dumps(plain).encode())
    assert message.job is not None
    assert message.job.text == "x"


def test_reads_times_with_and_without_a_zone() -> None:
    head = envelope()["headers"] | {
        "eta": "2026-01-02T03:04:05",
        "expires": "2026-01-02T04:04:05+01:00",
    }
    message = decode(json.dumps(envelope(headers=head)).encode())
    assert message.eta == NOW
    assert message.expires == NOW


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"headers": None}, ErrorCode.INVALID_MESSAGE),
        ({"body": "***"}, ErrorCode.INVALID_MESSAGE),
        ({"body": base64.b64encode(b"{not json").decode()}, ErrorCode.INVALID_MESSAGE),
        ({"body": encoded([[], {}])}, ErrorCode.INVALID_MESSAGE),
        ({"body": encoded({"text": "x"})}, ErrorCode.INVALID_MESSAGE),
        ({"content-type": "application/x-python-serialize"}, ErrorCode.INVALID_MESSAGE),
        ({"properties": None}, ErrorCode.INVALID_MESSAGE),
        ({"body": encoded([["positional"], {}, {}])}, ErrorCode.INVALID_JOB),
        ({"body": encoded([[], {"text": "x"}, {"chain": [{}]}])}, ErrorCode.INVALID_JOB),
    ],
)
def test_what_cannot_be_read_keeps_its_reason(changes: dict[str, Any], code: ErrorCode) -> None:
    message = decode(json.dumps(envelope(**changes)).encode())
    assert message.job is None
    assert message.error is not None
    assert message.error.code is code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"task": "other.task"}, ErrorCode.UNKNOWN_TASK),
        ({"eta": "tomorrow"}, ErrorCode.INVALID_MESSAGE),
        ({"expires": 5}, ErrorCode.INVALID_MESSAGE),
        ({"enqueued_at": "0001-01-01T00:00:00+14:00"}, ErrorCode.INVALID_MESSAGE),
        ({"compression": "application/x-gzip"}, ErrorCode.INVALID_MESSAGE),
    ],
)
def test_bad_headers_are_refused_under_the_jobs_own_id(
    change: dict[str, Any], code: ErrorCode
) -> None:
    head = headers("job-1", enqueued_at=NOW) | change
    message = decode(json.dumps(envelope(headers=head)).encode())
    assert message.id == "job-1"
    assert message.error is not None
    assert message.error.code is code


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_answered_under_a_stable_id(raw: bytes) -> None:
    first, second = decode(raw), decode(raw)
    assert first.id == second.id
    assert first.job is None
    assert first.error is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(field=st.sampled_from(["body", "headers", "properties", "content-type"]), value=json_values)
def test_any_json_in_any_place_is_answered(field: str, value: Any) -> None:
    decode(json.dumps(envelope(**{field: value})).encode())


@given(kwargs=st.dictionaries(st.sampled_from(["text", "image", "run", "options"]), json_values))
def test_any_kwargs_are_a_job_or_an_error(kwargs: dict[str, Any]) -> None:
    message = decode(json.dumps(envelope(body=encoded([[], kwargs, {}]))).encode())
    assert (message.job is None) != (message.error is None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_reads_json_in_any_of_its_encodings(encoding: str) -> None:
    message = decode(json.dumps(envelope()).encode(encoding))
    assert message.job is not None
    assert message.job.text == "hello"


@given(text=st.text(st.characters(codec=None), min_size=1))
def test_any_text_is_read_as_it_was_written(text: str) -> None:
    message = decode(json.dumps(envelope(body=encoded([[], {"text": text}, {}]))).encode())
    assert message.job is not None
    assert message.job.text == text


@given(text=st.text(st.characters(codec=None), min_size=1))
def test_any_job_is_read_as_it_was_sent(text: str) -> None:
    sent = parse_job({"text": text, "run": "r", "options": {"top_k": 3}})
    message = decode(
        encode(
            SubmittedJob.of(sent, id="job-1", model="q", enqueued_at=NOW, eta=NOW, expires_at=NOW)
        )
    )
    assert message == Message("job-1", sent, None, NOW, NOW, NOW)


@given(value=json_values)
def test_json_means_what_the_standard_library_says(value: Any) -> None:
    text = json.dumps(value)
    assert json.dumps(_json(text, "it")) == text
    assert json.dumps(_json(text.encode(), "it")) == text


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":2}', "[NaN,-Infinity,1e999,-0.0]", '"\\ud800"', "1" * 4000, "[" * 300 + "]" * 300],
)
def test_odd_json_means_what_the_standard_library_says(text: str) -> None:
    assert repr(_json(text, "it")) == repr(json.loads(text))


def test_the_task_name_is_the_contracts() -> None:
    assert TASK_NAME == "labelmill.classify"


def test_deep_nesting_is_refused_and_not_recursed_into() -> None:
    raw = b"[" * 100_000
    message = decode(raw)
    assert message.error is not None
    assert message.error.code is ErrorCode.INVALID_MESSAGE


def test_a_lone_surrogate_in_a_body_that_is_not_encoded_ends_no_worker() -> None:
    raw = json.dumps(
        {
            "body": '[[], {"text": "\ud800"}, {}]',
            "content-type": "application/json",
            "headers": {"id": "a", "task": TASK_NAME},
            "properties": {"body_encoding": "utf-8"},
        }
    ).encode()

    read = message.decode(raw)

    assert read.id == "a"
    assert read.job is not None
    assert read.job.text == "\ud800"


def test_what_nobody_thought_of_is_an_error_of_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(message, "_kwargs", lambda envelope: 1 / 0)
    raw = json.dumps({"headers": {"id": "a", "task": TASK_NAME}}).encode()

    read = message.decode(raw)

    assert read.id == "a"
    assert read.error is not None
    assert read.error.code is ErrorCode.INVALID_MESSAGE
