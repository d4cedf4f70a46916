"""The exchange: one request and its answer on a connection, before a deadline."""

from __future__ import annotations

import io
import socket
from http.client import HTTPResponse
from typing import Any, cast

from labelmill.images.web.network import Deadline
from labelmill.images.web.url import Url

_REQUEST = (
    "GET {url.target} HTTP/1.1\r\n"
    "Host: {url.host}\r\n"
    "User-Agent: labelmill\r\n"
    "Accept: image/*\r\n"
    "Accept-Encoding: identity\r\n"
    "Connection: close\r\n"
    "\r\n"
)


def ask(connection: socket.socket, url: Url, deadline: Deadline) -> HTTPResponse:
    """Send a GET and read the answer's head; its body is still to be read.

    Every reading, now and later, ends at the deadline, however little comes at a time.

    Raises:
        OSError: the connection fails, or the deadline has passed.
        http.client.HTTPException: the answer is no HTTP.
    """
    connection.settimeout(deadline.remaining())
    connection.sendall(_REQUEST.format(url=url).encode("ascii"))
    timed = cast("socket.socket", _TimedSocket(connection, deadline))
    response = HTTPResponse(timed, method="GET")
    response.begin()
    return response


class _TimedSocket:
    """What an ``HTTPResponse`` needs of a socket: a file to read from."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connection, self._deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.remaining())
        return self._connection.recv_into(buffer)
