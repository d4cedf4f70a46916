from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.web.url import Url, parse_host, parse_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org/cat.png", Url("https", "example.org", "/cat.png")),
        ("http://example.org/cat.png", Url("http", "example.org", "/cat.png")),
        ("HTTPS://EXAMPLE.org/Cat.PNG", Url("https", "example.org", "/Cat.PNG")),
        ("https://example.org", Url("https", "example.org", "/")),
        ("https://example.org?cat=1", Url("https", "example.org", "/?cat=1")),
        ("https://example.org:443/", Url("https", "example.org", "/")),
        ("http://example.org:80/", Url("http", "example.org", "/")),
        ("https://my_bucket.s3-2.example.org/", Url("https", "my_bucket.s3-2.example.org", "/")),
        ("https://example.org/a@b:c?d=e/f#g?h", Url("https", "example.org", "/a@b:c?d=e/f")),
        ("https://example.org/a%20b", Url("https", "example.org", "/a%20b")),
        ("https://example.org/kätzchen", Url("https", "example.org", "/k%C3%A4tzchen")),
        ("https://bücher.example/", Url("https", "xn--bcher-kva.example", "/")),
        ("https://BÜCHER.example/", Url("https", "xn--bcher-kva.example", "/")),
        ("https://faß.example/", Url("https", "xn--fa-hia.example", "/")),
        ("https://ｅｘａｍｐｌｅ。org/", Url("https", "example.org", "/")),
    ],
)
def test_a_url_is_parsed(text: str, url: Url) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        # addresses in every form that some resolver reads
        "http://127.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0X7F.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://00000177.0.0.01/",
        "http://1.1.1.1/",
        "http://0/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://127.0.0.1./",
        "http://１２７.０.０.１/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://a.0x7f/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[::]:80/",
        # users, and what looks like one
        "http://example.org@127.0.0.1/",
        "http://user:hunter2@example.org/",
        "http://@example.org/",
        "http://example.org:80@127.0.0.1/",
        "http://example.org:@127.0.0.1/",
        "http://127.0.0.1:6666\\@1.1.1.1/",
        "http://example.org\\@127.0.0.1/",
        "http://example.org\\.evil.example/",
        "https://example.org/a\\b",
        "https:\\\\example.org/",
        "http://example.org&@127.0.0.1#@evil.example/",
        "http://127.0.0.1#@example.org/",
        # ports
        "http://example.org:22/",
        "http://example.org:6379/",
        "http://example.org:443/",
        "https://example.org:80/",
        "https://example.org:8443/",
        "https://example.org:/",
        "https://example.org:0443/",
        "https://example.org:443:443/",
        "https://example.org:４４３/",
        "https://example.org:+443/",
        # characters that parsers leave out, or break at
        "https://example.org/a b",
        " https://example.org/",
        "https://example.org/\n",
        "https://exam\tple.org/",
        "https://exam\nple.org/",
        "https://example.org/a\r\nHost: evil.example\r\n\r\n",
        "https://example.org\0.evil.example/",
        "https://example.org/\x7f",
        "https://example.org/\x85",
        "https://example.org\u2028/",
        "https://exam\u200bple.org/",
        "https://exam\u00adple.org/",
        "https://example.org\u3000/",
        "https://example.org/\ud800",
        # no names
        "https://example.org./",
        "https://example..org/",
        "https://.example.org/",
        "https://-example.org/",
        "https://example-.org/",
        "https://exam%70le.org/",
        "https://example.org%2f@evil.example/",
        "https://example.org%00.evil.example/",
        "https://*.example.org/",
        "https://exam!ple.org/",
        "https://example.org℀evil.example/",
        "https://" + "a" * 64 + ".org/",
        "https://" + "a." * 127 + "org/",
        "https://xn--a-ecp.ru\u0378/",
        # no URLs
        "https:",
        "https:///cat.png",
        "https:///example.org/cat.png",
        "https:example.org/cat.png",
        "https:/example.org/cat.png",
        "//example.org/cat.png",
        "ftp://example.org/",
        "gopher://example.org/",
        "file://example.org/etc/passwd",
        "jar:https://example.org!/",
        "https://?cat.png",
        "https://#cat.png",
        "",
    ],
)
def test_what_might_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_url(text)

    assert caught.value.code == ErrorCode.IMAGE_FORBIDDEN
    assert "hunter2" not in caught.value.message
    assert "evil" not in caught.value.message


PIECES = st.sampled_from(
    ["http", "https", "://", ":", "/", "\\", "@", "#", "?", ".", "%", "[", "]", "::1", "127.0.0.1",
     "0x7f", "2130706433", "１２７", "example", "org", "ⓔ", "。", "\t", "\n", "\0", " ", "443",
     "80", "xn--", "-", "_", "é", "\u200d", "\ud800", "ﬀ"]
)  # fmt: skip

BASE = Url("https", "example.org", "/animals/cat.png?key=hunter2")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://example.net/dog.png", Url("https", "example.net", "/dog.png")),
        ("//example.net/dog.png", Url("https", "example.net", "/dog.png")),
        ("/dog.png", Url("https", "example.org", "/dog.png")),
        ("dog.png", Url("https", "example.org", "/animals/dog.png")),
        ("../dog.png?a=b", Url("https", "example.org", "/dog.png?a=b")),
    ],
)
def test_a_redirect_is_parsed_as_any_url(location: str, url: Url) -> None:
    assert BASE.redirected(location) == url


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "//127.0.0.1/",
        "https://example.org:22/",
        "https://user@example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "/a\tb",
        "ht\ntps://example.net/",
        "\\\\example.net/",
        "/\\example.net/",
        "//[example.net/",
        "//[::1]/",
    ],
)
def test_a_redirect_is_refused_as_any_url(location: str) -> None:
    with pytest.raises(JobError) as caught:
        BASE.redirected(location)

    assert caught.value.code == ErrorCode.IMAGE_FORBIDDEN


@given(st.lists(PIECES).map("".join))
def test_wherever_a_redirect_leads_is_a_plain_url_or_an_error_of_the_job(location: str) -> None:
    with suppress(JobError):
        url = BASE.redirected(location)
        assert parse_url(f"{url.scheme}://{url.host}{url.target}") == url


def test_a_url_does_not_show_its_query() -> None:
    assert "hunter2" not in repr(BASE)


@given(st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map("https://".join)))
def test_whatever_is_given_is_a_plain_url_or_an_error_of_the_job(text: str) -> None:
    try:
        url = parse_url(text)
    except JobError:
        return
    assert parse_host(url.host) == url.host
    assert not url.host.rpartition(".")[2][0].isdigit()
    assert url.port in {80, 443}
    assert url.target.startswith("/")
    assert all("!" <= character <= "~" for character in url.host + url.target)
