from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from labelmill.images.web import network
from labelmill.images.web.network import Deadline, Network


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that does not answer until the test ends."""
    answered = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        answered.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answered
    answered.set()


def test_a_name_has_each_address_once() -> None:
    assert set(Network().resolve("localhost", Deadline(10))) <= {"127.0.0.1", "::1"}


def test_a_resolver_that_hangs_is_left_at_the_deadline(hanging: threading.Event) -> None:
    with pytest.raises(TimeoutError):
        Network().resolve("example.org", Deadline(0.05))


def test_a_resolver_that_hangs_takes_no_more_threads_than_there_are_for_it(
    hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_MAX_LOOKUPS", 2)
    resolver = Network()
    before = threading.active_count()

    for _ in range(5):
        with pytest.raises(TimeoutError):
            resolver.resolve("example.org", Deadline(0.02))

    assert threading.active_count() - before <= 2


def test_a_name_that_is_unknown_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    with pytest.raises(socket.gaierror):
        Network().resolve("example.org", Deadline(10))


def test_where_nobody_listens_there_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(OSError):
        Network().connect("127.0.0.1", port, 5)


def test_a_deadline_that_has_passed_is_an_error() -> None:
    with pytest.raises(TimeoutError):
        Deadline(0).remaining()
