"""The socket that a gateway inherits."""

from __future__ import annotations

import os
import socket

import pytest

from labelmill.core.errors import ConfigurationError
from labelmill.gateway.server import inherited


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_that_listens(family: socket.AddressFamily) -> None:
    address = "127.0.0.1" if family is socket.AF_INET else "::1"
    with socket.create_server((address, 0), family=family) as opened:
        fd = os.dup(opened.fileno())
        with inherited(fd) as listening:
            assert listening.getsockname() == opened.getsockname()


def test_others_are_refused() -> None:
    with socket.socket() as silent, socket.socket(socket.AF_UNIX) as local:
        for each in (silent, local):
            with pytest.raises(ConfigurationError, match="no TCP socket that listens"):
                inherited(os.dup(each.fileno()))
    with pytest.raises(ConfigurationError, match="--fd 9999: Bad file descriptor"):
        inherited(9999)
