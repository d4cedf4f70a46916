"""The probe: the usual answer of ``labelmill health``, without what it takes to import.

Orchestrators ask every few seconds, and of a third of a second nearly all would be imports of the
command line, the settings and redis-py. So a worker that is ready and waits for nothing is found
here by the few words of Redis' protocol that it takes; whatever else there is to say is left to the
command.

Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2).
"""

from __future__ import annotations

import json
import os
import socket
from io import BufferedRWPair
from typing import Any
from urllib.parse import unquote, urlsplit

_ANSWER_SECONDS = 5.0
_WORKERS = "labelmill:workers"
_WORKER = "labelmill:worker:"


def finds_ready(arguments: list[str]) -> bool:
    """Whether a worker is ready and waits for nothing; False where that is not settled here.

    Parameters:
        arguments: what follows ``labelmill health``.
    """
    host = socket.gethostname()
    if not arguments:
        name = None
    elif len(arguments) == 2 and arguments[0] == "--name":
        name = arguments[1].replace("%h", host)
    else:
        return False
    try:
        return _finds_ready(os.environ.get("LABELMILL_BROKER_URL", ""), name, host)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _finds_ready(broker_url: str, name: str | None, host: str) -> bool:
    url = urlsplit(broker_url)
    if url.scheme != "redis" or url.hostname is None or url.query:
        return False
    with (
        socket.create_connection((url.hostname, url.port or 6379), _ANSWER_SECONDS) as connection,
        connection.makefile("rwb") as stream,
    ):
        if url.password is not None:
            user = [unquote(url.username)] if url.username else []
            _ask(stream, "AUTH", *user, unquote(url.password))
        if (number := url.path.strip("/")) not in ("", "0"):
            _ask(stream, "SELECT", number)
        if name is None:
            names = [each.decode() for each in _ask(stream, "ZRANGE", _WORKERS, "0", "-1")]
        else:
            names = [name]
        return any(
            _is_ready(_ask(stream, "GET", _WORKER + each))
            for each in names
            if each == name or each.endswith(f"@{host}")
        )


def _is_ready(beat: bytes | None) -> bool:
    if beat is None:
        return False
    said = json.loads(beat)
    return said.get("state", "ready") == "ready" and said["waiting_for"] is None


def _ask(stream: BufferedRWPair, *words: str) -> Any:
    encoded = [word.encode() for word in words]
    stream.write(b"*%d\r\n" % len(encoded))
    for word in encoded:
        stream.write(b"$%d\r\n%b\r\n" % (len(word), word))
    stream.flush()
    return _reply(stream)


def _reply(stream: BufferedRWPair) -> Any:
    """A reply.

    Raises:
        ValueError: it is an error, or none that is expected here.
    """
    line = stream.readline()
    kind, rest = line[:1], line[1:].strip()
    if kind == b"+":
        return rest
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [_reply(stream) for _ in range(int(rest))]
    raise ValueError("Redis refuses")
