"""Where a gateway of a stack listens."""

from __future__ import annotations

import socket

import pytest

from labelmill.core.errors import ConfigurationError
from labelmill.local import gateway
from labelmill.local.gateway import port_of


def test_the_usual_port_or_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = port_of(taken)
        monkeypatch.setattr(gateway, "USUAL_PORT", port)
        with gateway.listen() as other:
            assert port_of(other) != port
    with gateway.listen() as usual:
        assert port_of(usual) == port


def test_a_port_that_was_asked_for_and_is_taken_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(
            ConfigurationError,
            match=rf"port {port_of(taken)} \(Address already in use\)",
        ),
    ):
        gateway.listen(port_of(taken))


def test_a_port_belongs_to_one() -> None:
    with gateway.listen() as one, gateway.listen() as other:
        assert port_of(one) != port_of(other)
