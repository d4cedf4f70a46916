from __future__ import annotations

import pytest

from labelmill.core.errors import ConfigurationError
from labelmill.images.web.hosts import HostAllowlist
from labelmill.images.web.url import parse_url


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("example.org", "https://example.org/cat.png"),
        ("Example.ORG", "https://example.org/cat.png"),
        ("https://example.org", "https://example.org/cat.png"),
        ("bücher.example", "https://xn--bcher-kva.example/"),
        ("xn--bcher-kva.example", "https://bücher.example/"),
        ("*.example.org", "https://images.example.org/"),
        ("*.example.org", "https://a.b.example.org/"),
        ("http://example.org", "http://example.org/"),
        ("http://example.org", "https://example.org/"),
        ("http://*.example.org", "http://a.example.org/"),
        ("*", "https://example.org/"),
        ("http://*", "http://example.org/"),
    ],
)
def test_a_pattern_allows(pattern: str, text: str) -> None:
    assert HostAllowlist.parse(["example.net", pattern]).allows(parse_url(text))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("example.org", "http://example.org/"),
        ("example.org", "https://www.example.org/"),
        ("example.org", "https://example.org.evil.example/"),
        ("example.org", "https://notexample.org/"),
        ("example.org", "https://exampleaorg/"),
        ("*.example.org", "https://example.org/"),
        ("*.example.org", "https://notexample.org/"),
        ("*.example.org", "https://a.example.org.evil.example/"),
        ("*.example.org", "http://a.example.org/"),
        ("*", "http://example.org/"),
        ("example.org", "https://exаmple.org/"),  # with a Cyrillic letter
    ],
)
def test_a_pattern_does_not_allow(pattern: str, text: str) -> None:
    assert not HostAllowlist.parse([pattern]).allows(parse_url(text))


def test_an_empty_list_allows_nothing() -> None:
    assert not HostAllowlist.parse([]).allows(parse_url("https://example.org/"))


@pytest.mark.parametrize(
    "pattern",
    ["", "127.0.0.1", "[::1]", "example.org:443", "example.org/", "a.*.org", "*example.org", "**",
     "ftp://example.org", "user@example.org", "example.org.", "*.", "http://"],
)  # fmt: skip
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="LABELMILL_IMAGE_HOSTS"):
        HostAllowlist.parse([pattern])
