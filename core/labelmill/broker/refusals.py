"""Refusals: what Redis answers when it will not do what it is asked, and what that means for us.

An answer about the request, such as WRONGTYPE, is the caller's business. All others say what state
the server is in: it is another's replica now, loads its data, has no memory, has forgotten or
changed a password. Waiting mends those, but seldom on the same connection: behind its address may
stand another server by now. So a connection that was refused is closed, and the error counts as
one of the connection's (:class:`Refusal`); whoever bears a broken connection bears it too.
"""

from __future__ import annotations

import re
import time
from typing import Any

import redis
from redis.sentinel import MasterNotFoundError, SentinelManagedConnection

REUSED_SECONDS = 30.0
"""For how long a connection is handed out again."""

#: Words of answers that are about the request, or about what it found.
_ABOUT_THE_REQUEST = frozenset(
    {
        "ERR",
        "WRONGTYPE",
        "NOSCRIPT",  # redis-py sends the script
        "NOGROUP",
        "BUSYGROUP",
        "BUSYKEY",
        "NOTBUSY",
        "CROSSSLOT",
        "NOPROTO",
        "EXECABORT",  # a command before it was refused, or see below
    }
)
#: Words of answers that only new credentials, or new rules for them, mend.
_OF_ACCESS = frozenset({"NOAUTH", "WRONGPASS", "NOPERM", "DENIED"})

_WORD = re.compile(r"([A-Z][A-Z0-9]+)(?: |$)")
# Inside of a script, by Redis 6; and at the end of a transaction.
_INNER_WORD = re.compile(r"(?:: -|because of: )([A-Z][A-Z0-9]+) ")
# Of a command inside of a script, by Redis 7 of several ages.
_OF_RULES = re.compile("ACL failure in script|The user executing the script can't")
#: What redis-py takes off the beginning of a message; its newer releases keep it elsewhere.
_TAKEN_OFF: dict[type[Exception], str] = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.NoScriptError: "NOSCRIPT",
    redis.exceptions.ExecAbortError: "EXECABORT",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.AuthenticationError: "WRONGPASS",
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.AskError: "ASK",
    redis.exceptions.TryAgainError: "TRYAGAIN",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT",
}


class Refusal(redis.ConnectionError):
    """Redis answered, and did nothing; on a new connection, or later, it may do it.

    Attributes:
        word: by which Redis says why, such as ``READONLY``.
    """

    def __init__(self, word: str, text: str) -> None:
        super().__init__(f"{word} {text}")
        self.word = word


def refusal_of(error: BaseException) -> str | None:
    """The word by which Redis refuses, such as ``READONLY``.

    None for an error that is no answer of Redis', or that is about the request.
    """
    if isinstance(error, Refusal):
        return error.word
    if not isinstance(error, redis.ResponseError | redis.AuthenticationError) and not isinstance(
        error, redis.exceptions.BusyLoadingError
    ):
        return None
    text = str(error)
    word = getattr(error, "status_code", None) or _TAKEN_OFF.get(type(error))
    if word is None:
        found = _WORD.match(text)
        word = found[1] if found else "ERR"
    if word in ("ERR", "EXECABORT"):
        inner = _INNER_WORD.search(text)
        word = inner[1] if inner else "NOPERM" if _OF_RULES.search(text) else word
    if isinstance(error, redis.AuthenticationError):
        return "WRONGPASS" if word == "ERR" else word
    return None if word in _ABOUT_THE_REQUEST else word


def is_of_access(error: BaseException | None) -> bool:
    """Whether only other credentials, or other rules for them, help."""
    return error is not None and refusal_of(error) in _OF_ACCESS


class _Refusable:
    """A connection of redis-py that is closed by a refusal, and not used for long.

    A server that has become a replica, and is nobody's any more, would answer reads for ever.
    """

    _connected_at = 0.0
    _says_its_name = False

    def connect(self) -> None:
        """As redis-py's, which connects unless it is; called when a pool hands it out."""
        if self._sock is not None:  # type: ignore[attr-defined]
            if time.monotonic() - self._connected_at < REUSED_SECONDS:
                return
            self.disconnect()  # type: ignore[attr-defined]
        try:
            super().connect()  # type: ignore[misc]
        except MasterNotFoundError:
            # Its text is of all connections that were tried, in full.
            raise redis.ConnectionError("no Sentinel names a primary") from None
        self._connected_at = time.monotonic()

    def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """As redis-py's, which would not ask Sentinel again for the primary."""
        if self._sock is None:  # type: ignore[attr-defined]
            self.connect()
        super().send_packed_command(*arguments, **options)  # type: ignore[misc]

    def send_command(self, *arguments: Any, **options: Any) -> None:
        """As redis-py's."""
        super().send_command(*arguments, **options)  # type: ignore[misc]
        # Sent first by redis-py, which bears its being refused.
        self._says_its_name = arguments[:2] == ("CLIENT", "SETINFO")

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """As redis-py's.

        Raises:
            Refusal: Redis refuses for a reason of its own.
        """
        says_its_name, self._says_its_name = self._says_its_name, False
        try:
            # Where Sentinel names the server, redis-py's default is not to.
            return super().read_response(  # type: ignore[misc]
                *arguments, **{"disconnect_on_error": True, **options}
            )
        except redis.ResponseError as error:
            word = refusal_of(error)
            if word is None or says_its_name:
                raise
            self.disconnect()  # type: ignore[attr-defined]
            raise Refusal(word, str(error).removeprefix(f"{word} ")) from error


class Connection(_Refusable, redis.Connection):
    """Over TCP."""


class SSLConnection(_Refusable, redis.SSLConnection):
    """Over TLS."""


class UnixDomainSocketConnection(_Refusable, redis.UnixDomainSocketConnection):
    """Over a socket of this machine."""


class SentinelConnection(_Refusable, SentinelManagedConnection):
    """To the primary that Sentinel names."""


class SentinelSSLConnection(_Refusable, SentinelManagedConnection, redis.SSLConnection):
    """The same over TLS."""
