"""The job's schema and its limits."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import MAX_INLINE_IMAGE_BYTES, MAX_TEXT_BYTES, check_id, parse_job


def code_of(kwargs: dict[str, object]) -> ErrorCode:
    with pytest.raises(JobError) as raised:
        parse_job(kwargs)
    return raised.value.code


@given(
    text=st.text(min_size=1, max_size=200),
    run=st.none() | st.text(min_size=1, max_size=255),
    top_k=st.none() | st.integers(1, 1000),
)
def test_a_job_survives_its_way_through_a_message(
    text: str, run: str | None, top_k: int | None
) -> None:
    job = parse_job({"text": text, "run": run, "options": {"top_k": top_k}})
    assert parse_job(job.to_kwargs()) == job


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"text": ""},
        {"text": "x", "image": {"uri": "y"}},
        {"text": 7},
        {"text": b"x"},
        {"text": "x", "colour": "red"},
        {"text": "x", "run": ""},
        {"text": "x", "run": "r" * 256},
        {"text": "x", "options": {"top_k": 0}},
        {"text": "x", "options": {"top_k": "5"}},
        {"text": "x", "options": {"temperature": 1}},
        {"image": {}},
        {"image": {"uri": "a", "base64": "b"}},
        {"image": {"uri": "a" * 2049}},
        {"image": {"uri": "a", "name": ""}},
        {"image": {"uri": "a", "name": "n" * 256}},
        {"image": {"uri": "a", "name": 7}},
        {"image": {"name": "a.png"}},
        {"image": {"base64": "not base64!"}},
        {"image": "a.png"},
    ],
)
def test_what_is_no_job_is_refused(kwargs: dict[str, object]) -> None:
    assert code_of(kwargs) is ErrorCode.INVALID_JOB


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_version_is_named_as_such(version: object) -> None:
    assert code_of({"text": "x", "version": version}) is ErrorCode.UNSUPPORTED_VERSION


def test_a_refusal_names_the_field_and_never_its_value() -> None:
    with pytest.raises(JobError) as raised:
        parse_job({"text": ["secret"], "options": {"top_k": "secret"}})
    assert "text" in raised.value.message
    assert "options.top_k" in raised.value.message
    assert "secret" not in raised.value.message


@pytest.mark.parametrize("character", ["a", "é", "€", "😀", "\ud800"])
def test_texts_are_limited_in_bytes(character: str) -> None:
    size = len(character.encode(errors="surrogatepass"))
    fits = character * (MAX_TEXT_BYTES // size)
    assert parse_job({"text": fits}).text == fits
    assert code_of({"text": fits + character}) is ErrorCode.TEXT_TOO_LARGE


def test_inline_images_are_limited_before_they_are_decoded() -> None:
    fits = base64.b64encode(bytes(MAX_INLINE_IMAGE_BYTES)).decode()
    assert parse_job({"image": {"base64": fits}}).image is not None
    assert code_of({"image": {"base64": "A" * 10_000_000}}) is ErrorCode.IMAGE_TOO_LARGE


@pytest.mark.parametrize("where", [{"uri": "a"}, {"base64": "eA=="}])
def test_jobs_whose_images_differ_in_name_only_have_equal_content(where: dict[str, str]) -> None:
    first, second, nameless = (
        parse_job({"image": where | more}) for more in ({"name": "a"}, {"name": "b"}, {})
    )
    assert first.content == second.content == nameless.content
    assert len({first.content, second.content, nameless.content}) == 1
    assert first.image is not None
    assert parse_job(first.to_kwargs()).image == first.image
    assert first.image.name == "a"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Straße 1.png", "Straße 1.png"),
        ("a\n\t\u202fb", "a   b"),
        ("a\x00\ud800\u202eb", "a\ufffd\ufffd\ufffdb"),
        ("\x00" * 255, "\ufffd" * 255),
    ],
)
def test_names_of_images_can_be_printed_and_stored(given: str, kept: str) -> None:
    image = parse_job({"image": {"uri": "a", "name": given}}).image
    assert image is not None
    assert image.name == kept


@pytest.mark.parametrize("job_id", ["", "x" * 256, "a\x00b", "a\nb", "\ud800", None, 7])
def test_ids_that_no_row_can_have_are_refused(job_id: object) -> None:
    with pytest.raises(JobError):
        check_id(job_id)
