"""Images from a web server, as far as it is allowed, and no further than the limits."""

from __future__ import annotations

import gzip
import logging
import ssl
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.web import fetch
from labelmill.images.web.fetch import WebFetcher
from labelmill.images.web.hosts import HostAllowlist
from tests.support.web import FakeNetwork, Handler, WebServer, make_certificate, reply

PUBLIC, PUBLIC6 = "93.184.216.34", "2606:2800:220:1::1"
MAX_BYTES = 100_000
HOSTS = ("http://example.org", "http://*.example.net")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that follow at once."""
    monkeypatch.setattr(fetch, "_PAUSE_SECONDS", 0.001)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One for example.org: the server's side, and the client's."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "example.org")


def fetcher(network: FakeNetwork, seconds: float = 20, **options: Any) -> WebFetcher:
    """A fetcher on a network of the test."""
    return WebFetcher(HostAllowlist.parse(HOSTS), MAX_BYTES, seconds, network, **options)


def network_to(server: WebServer) -> FakeNetwork:
    """A network with a few hosts, all of which are this server."""
    hosts = ["example.org", "a.example.net", "b.example.net", "c.example.net"]
    return FakeNetwork({host: [[PUBLIC]] for host in hosts}, server.port)


def answers(handler: Handler, uri: str = "http://example.org/cat.png") -> bytes:
    """What is fetched from a server with this handler."""
    with WebServer(handler) as server:
        return fetcher(network_to(server)).fetch(uri)


def refusal(web: WebFetcher, uri: str = "http://example.org/cat.png") -> JobError:
    """The error that a URL is refused with."""
    with pytest.raises(JobError) as caught:
        web.fetch(uri)
    return caught.value


def refused(handler: Handler, seconds: float = 20) -> JobError:
    """The error that an answer is refused with."""
    with WebServer(handler) as server:
        return refusal(fetcher(network_to(server), seconds))


# What is allowed


def test_an_image_is_fetched_from_the_address_that_was_checked() -> None:
    with WebServer(lambda _: reply(b"a cat")) as server:
        network = network_to(server)
        content = fetcher(network).fetch("http://example.org/cat.png?size=2#top")

    assert content == b"a cat"
    assert network.dialled == [(PUBLIC, 80)]
    assert network.looked_up == ["example.org"]
    assert server.requests[0].splitlines()[:2] == [
        "GET /cat.png?size=2 HTTP/1.1",
        "Host: example.org",
    ]


def test_nothing_of_the_machine_is_sent_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine example.org login user password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    def handler(request: str) -> list[bytes]:
        if "/cat.png" in request:
            return reply(b"", "302 Found", location="/dog.png", set_cookie="id=hunter2")
        return reply(b"a dog")

    with WebServer(handler) as server:
        assert fetcher(network_to(server)).fetch("http://example.org/cat.png") == b"a dog"

    names = {line.partition(":")[0] for line in "".join(server.requests).splitlines()[1:]}
    assert {name for name in names if name and not name.startswith("GET")} == {
        "Host", "User-Agent", "Accept", "Accept-Encoding", "Connection",
    }  # fmt: skip


def test_a_body_in_chunks_is_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert answers(lambda _: [head, b"2\r\na \r\n", b"3\r\ncat\r\n", b"0\r\n\r\n"]) == b"a cat"


def test_a_body_of_as_many_bytes_as_allowed_is_read() -> None:
    assert len(answers(lambda _: reply(bytes(MAX_BYTES)))) == MAX_BYTES


def test_with_tls_the_name_is_asked_for_and_checked(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with WebServer(lambda _: reply(b"a cat"), certificate[0]) as server:
        network = network_to(server)
        content = fetcher(network, tls=certificate[1]).fetch("https://example.org/cat.png")

    assert content == b"a cat"
    assert server.names == ["example.org"]
    assert network.dialled == [(PUBLIC, 443)]
    assert "Host: example.org\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("host", "trusted"), [("a.example.net", True), ("example.org", False)], ids=ascii
)
def test_a_certificate_of_another_name_or_authority_is_refused(
    host: str, trusted: bool, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    tls = certificate[1] if trusted else None
    with WebServer(lambda _: reply(b"a cat"), certificate[0]) as server:
        error = refusal(fetcher(network_to(server), tls=tls), f"https://{host}/cat.png")

    assert error.code == ErrorCode.IMAGE_UNREADABLE
    assert "certificate" in error.message
    assert not server.requests


# What is not


@pytest.mark.parametrize("uri", ["http://evil.example/", "http://example.org.evil.example/"])
def test_a_host_that_was_not_allowed_is_not_even_looked_up(uri: str) -> None:
    network = FakeNetwork({})

    error = refusal(fetcher(network), uri)

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert "LABELMILL_IMAGE_HOSTS" in error.message
    assert not network.looked_up


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["fe80::1%eth0"],
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC6, "fd00:ec2::254"],
    ],
)
def test_a_host_with_an_address_that_is_not_public_is_not_dialled(addresses: list[str]) -> None:
    network = FakeNetwork({"example.org": [addresses]})

    assert refusal(fetcher(network)).code == ErrorCode.IMAGE_FORBIDDEN
    assert not network.dialled


def test_a_name_that_changes_its_address_is_dialled_where_it_was_checked() -> None:
    with WebServer(lambda _: reply(b"a cat")) as server:
        network = FakeNetwork({"example.org": [[PUBLIC], ["127.0.0.1"]]}, server.port)
        assert fetcher(network).fetch("http://example.org/") == b"a cat"

    assert network.dialled == [(PUBLIC, 80)]


def test_a_name_that_changes_its_address_between_tries_is_checked_again() -> None:
    network = FakeNetwork({"example.org": [[PUBLIC], ["127.0.0.1"]]})

    assert refusal(fetcher(network)).code == ErrorCode.IMAGE_FORBIDDEN
    assert network.dialled == [(PUBLIC, 80)]


def test_a_name_that_changes_its_address_between_redirects_is_checked_again() -> None:
    with WebServer(lambda _: reply(b"", "302 Found", location="/again")) as server:
        network = FakeNetwork({"example.org": [[PUBLIC], ["169.254.169.254"]]}, server.port)
        error = refusal(fetcher(network))

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert network.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://metadata.google.internal/",
        "http://2852039166/",
        "http://evil.example/",
        "http://example.org:6379/",
        "http://example.org@127.0.0.1/",
        "http://private.example.net/",
        "https:\\\\127.0.0.1/",
        "file:///etc/passwd",
        "ftp://example.org/",
    ],
)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temp", "308 Perm"])
def test_a_redirect_is_checked_from_the_start(location: str, status: str) -> None:
    with WebServer(lambda _: reply(b"", status, location=location)) as server:
        network = FakeNetwork(
            {"example.org": [[PUBLIC]], "private.example.net": [["10.0.0.1"]]}, server.port
        )
        error = refusal(fetcher(network))

    assert error.code == ErrorCode.IMAGE_FORBIDDEN
    assert network.dialled == [(PUBLIC, 80)]


def test_two_redirects_are_followed_and_no_third() -> None:
    def handler(request: str) -> list[bytes]:
        left = int(request.split()[1].removeprefix("/"))
        if not left:
            return reply(b"a cat")
        return reply(b"", "302 Found", location=f"http://{'abc'[left % 3]}.example.net/{left - 1}")

    assert answers(handler, "http://example.org/2") == b"a cat"
    with WebServer(handler) as server:
        error = refusal(fetcher(network_to(server)), "http://example.org/3")
        assert len(server.requests) == 3
    assert "redirects" in error.message


def test_a_redirect_to_itself_ends() -> None:
    error = refused(lambda _: reply(b"", "302 Found", location="/cat.png"))

    assert error.code == ErrorCode.IMAGE_UNREADABLE


# Limits


def endless(_: str) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    while True:
        yield bytes(10_000)


def endless_chunks(_: str) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"2710\r\n" + bytes(10_000) + b"\r\n"


def announced(_: str) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"]


@pytest.mark.parametrize("handler", [endless, endless_chunks, announced])
def test_a_body_of_more_bytes_is_not_read_to_its_end(handler: Handler) -> None:
    assert refused(handler).code == ErrorCode.IMAGE_TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"])
def test_a_compressed_body_is_not_read(encoding: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))

    error = refused(lambda _: reply(bomb, content_encoding=encoding))

    assert error.code == ErrorCode.IMAGE_UNREADABLE
    assert "compressed" in error.message


def drip(head: bytes, piece: bytes) -> Handler:
    """A handler that sends its head, and then a piece now and then, for ever."""
    rhythm = threading.Event()  # never set: only to wait on

    def handler(_: str) -> Iterator[bytes]:
        yield head
        while True:
            rhythm.wait(0.02)
            yield piece

    return handler


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    ],
)
def test_a_drip_ends_at_the_deadline(head: bytes, piece: bytes) -> None:
    assert refused(drip(head, piece), seconds=0.3).code == ErrorCode.IMAGE_UNAVAILABLE


def test_a_server_that_says_nothing_is_left_at_the_deadline() -> None:
    left = threading.Event()

    def silent(_: str) -> list[bytes]:
        left.wait(10)
        return []

    with WebServer(silent) as server:
        error = refusal(fetcher(network_to(server), seconds=0.3))
        left.set()

    assert error.code == ErrorCode.IMAGE_UNAVAILABLE


def test_a_handshake_that_does_not_come_about_is_left_at_the_deadline(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with WebServer(lambda _: []) as server:  # waits for a request that never comes
        error = refusal(
            fetcher(network_to(server), 0.3, tls=certificate[1]), "https://example.org/"
        )

    assert error.code == ErrorCode.IMAGE_UNAVAILABLE


# Failures


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad", "503 Busy", "429 Slow", "408 Timeout"])
def test_a_failure_that_may_pass_is_tried_three_times(status: str) -> None:
    with WebServer(lambda _: reply(b"", status)) as server:
        error = refusal(fetcher(network_to(server)))
        assert len(server.requests) == 3

    assert error.code == ErrorCode.IMAGE_UNAVAILABLE
    assert status[:3] in error.message


def test_a_failure_that_passes_is_not_seen() -> None:
    replies = [reply(b"", "503 Busy"), [b"nonsense\r\n\r\n"], reply(b"a cat")]

    assert answers(lambda _: replies.pop(0)) == b"a cat"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("404 Not Found", ErrorCode.IMAGE_NOT_FOUND),
        ("410 Gone", ErrorCode.IMAGE_NOT_FOUND),
        ("401 Unauthorized", ErrorCode.IMAGE_UNREADABLE),
        ("403 Forbidden", ErrorCode.IMAGE_UNREADABLE),
        ("204 No Content", ErrorCode.IMAGE_UNREADABLE),
        ("206 Partial Content", ErrorCode.IMAGE_UNREADABLE),
        ("304 Not Modified", ErrorCode.IMAGE_UNREADABLE),
    ],
)
def test_another_failure_is_not_tried_again(status: str, code: ErrorCode) -> None:
    with WebServer(lambda _: reply(b"", status)) as server:
        error = refusal(fetcher(network_to(server)))
        assert len(server.requests) == 1

    assert error.code == code


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x80",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na cat",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na c",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na cat",
    ],
)
def test_an_answer_that_is_no_whole_http_is_an_error_of_the_job(answer: bytes) -> None:
    assert refused(lambda _: [answer]).code == ErrorCode.IMAGE_UNAVAILABLE


def test_a_host_that_does_not_exist_is_an_error_of_the_job() -> None:
    error = refusal(fetcher(FakeNetwork({})))

    assert error.code == ErrorCode.IMAGE_UNAVAILABLE
    assert "resolved" in error.message


def test_where_one_address_refuses_the_next_is_dialled() -> None:
    class OneAway(FakeNetwork):
        def connect(self, address: str, port: int, seconds: float) -> Any:
            if address == PUBLIC6:
                self.dialled.append((address, port))
                raise ConnectionRefusedError
            return super().connect(address, port, seconds)

    with WebServer(lambda _: reply(b"a cat")) as server:
        network = OneAway({"example.org": [[PUBLIC6, PUBLIC]]}, server.port)
        assert fetcher(network).fetch("http://example.org/") == b"a cat"

    assert network.dialled == [(PUBLIC6, 80), (PUBLIC, 80)]


# Secrets


@pytest.mark.parametrize(
    "handler",
    [
        lambda _: [],
        lambda _: [b"hunter2\r\n\r\n"],
        lambda _: reply(b"", "500 hunter2"),
        lambda _: reply(b"", "404 hunter2"),
        lambda _: reply(b"", "302 Found", location="http://evil.example/?key=hunter2"),
        lambda _: reply(b"", "302 Found", location="http://u:hunter2@example.org/"),
        lambda _: reply(b"", "302 Found", location="http://a.example.net:1/?key=hunter2"),
    ],
)
def test_no_query_is_told_in_an_error_or_a_log(
    handler: Handler, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), WebServer(handler) as server:
        error = refusal(fetcher(network_to(server)), "http://example.org/?key=hunter2")

    told = "".join(traceback.format_exception(error)) + caplog.text + "".join(capfd.readouterr())
    assert "hunter2" not in told
