"""The connections to Redis: how long they wait, and their failures as errors of Labelmill."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from labelmill.broker import refusals
from labelmill.broker.refusals import Refusal, is_of_access, refusal_of
from labelmill.core.errors import BrokerUnavailable, ConfigurationError

ANSWER_SECONDS = 5.0
"""A Redis that is silent for longer is taken to be away."""

BROKER_ERRORS = (redis.RedisError, OSError)
"""What a call to Redis raises: who runs on waits each of them out, and tries again."""

_T = TypeVar("_T")

_PAUSE_SECONDS = 0.5
_SENTINEL_PORT = 26379
# Of answers that quote the command, and so its payload.
_QUOTES = re.compile("of pipeline caused error|with args beginning with")
_CLASSES: dict[Any, Any] = {
    None: refusals.Connection,
    redis.SSLConnection: refusals.SSLConnection,
    redis.UnixDomainSocketConnection: refusals.UnixDomainSocketConnection,
}
#: Of a URL's options, those that are ours to say: answers are read as bytes, and who may send a
#: command once more is known where it is called.
_OURS = ("decode_responses", "retry_on_timeout", "max_connections", "timeout")


def open_broker(
    url: str,
    *,
    answer_seconds: float = ANSWER_SECONDS,
    block_seconds: float = 0.0,
) -> redis.Redis:
    """A client of Redis; see :func:`connection_pool`."""
    return redis.Redis.from_pool(
        connection_pool(url, answer_seconds=answer_seconds, block_seconds=block_seconds)
    )


def connection_pool(
    url: str,
    *,
    answer_seconds: float = ANSWER_SECONDS,
    block_seconds: float = 0.0,
    most: int | None = None,
) -> redis.ConnectionPool:
    """Connections to Redis: the one place that says how long they wait.

    A connection on which Redis refuses is closed (see :mod:`labelmill.broker.refusals`), and the
    command sent once more on a new one: behind the same address another server may be the primary.
    A command that may have been done is not: only its caller knows whether to send it again.

    Parameters:
        answer_seconds: after which a Redis that is silent, or cannot be reached, is away; the
            URL's ``socket_timeout`` and ``socket_connect_timeout`` go before it.
        block_seconds: for which commands may block beyond that.
        most: connections at the same moment; who wants another one waits.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """
    address = _Address.of(url)
    options = {
        "socket_connect_timeout": answer_seconds,
        **address.options,
        "socket_timeout": address.options.get("socket_timeout", answer_seconds) + block_seconds,
        "retry": Retry(NoBackoff(), 1, (Refusal,)),
    }
    if most is not None:
        options["max_connections"] = most
    if not address.sentinels:
        kind = redis.ConnectionPool if most is None else redis.BlockingConnectionPool
        return kind(**options)
    sentinel_options = {
        "socket_timeout": answer_seconds,
        "socket_connect_timeout": answer_seconds,
        "retry": Retry(NoBackoff(), 0),  # the next one is asked instead
        **address.sentinel_options,
    }
    managed: Any = SentinelConnectionPool if most is None else _BlockingSentinelPool
    asked: Any = Sentinel
    pool: redis.ConnectionPool = managed(
        address.primary, asked(address.sentinels, sentinel_kwargs=sentinel_options), **options
    )
    return pool


def checked_url(url: str) -> str:
    """The URL, if it is one of a Redis.

    Raises:
        ConfigurationError: it is not; the message does not repeat it, as it may hold a password.
    """
    _Address.of(url)
    return url


def plain_url(url: str) -> str:
    """A URL without options, for who reads one otherwise than redis-py does.

    A socket's path, or the name that Sentinel has for the primary, stands for the host.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """
    address = _Address.of(url)
    place = address.options.get("path") or address.primary
    if place:
        return f"redis://{quote(place, safe='')}/{address.options.get('db', 0)}"
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def when_served(call: Callable[[], _T], on_wait: Callable[[str], None]) -> _T:
    """The answer of Redis; one that loads, or is a replica for now, is waited for.

    Parameters:
        call: asks; it must bear to be called again.
        on_wait: called once, with what Redis says, before it is waited for.

    Raises:
        BrokerUnavailable: nobody answers there, or the password or the user's rules are wrong.
    """
    told = False
    with broker_errors():
        while True:
            try:
                return call()
            except redis.RedisError as error:
                if refusal_of(error) is None or is_of_access(error):
                    raise
                if not told:
                    on_wait(reason_of(error))
                    told = True
            time.sleep(_PAUSE_SECONDS)


def reason_of(error: BaseException) -> str:
    """Why Redis does not do what it is asked, for logs and messages; never a payload."""
    word = refusal_of(error)
    if word is not None:
        said = str(error).removeprefix(f"{word} ").strip()
        return f"Redis says {word}: {said}" if said else f"Redis says {word}"
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return f"Redis does not answer ({type(error).__name__}: {error})".replace("\n", " ")
    said = str(error)
    if isinstance(error, redis.ResponseError) and not _QUOTES.search(said):
        return f"Redis says: {said}"
    return f"Redis does not answer ({type(error).__name__})"


class broker_errors:  # noqa: N801 - reads as the statement it is: `with broker_errors():`
    """Turn redis-py's errors into :class:`~labelmill.core.errors.BrokerUnavailable`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BROKER_ERRORS):
            advice = (
                "check the user and the password in LABELMILL_BROKER_URL, and the user's rules"
                if is_of_access(error)
                else "check LABELMILL_BROKER_URL, and that the server runs (labelmill up?)"
            )
            raise BrokerUnavailable(f"{reason_of(error)}; {advice}") from error


@dataclass(frozen=True, slots=True)
class _Address:
    """What a URL says.

    Attributes:
        options: of redis-py's connections.
        sentinels: who to ask where the primary is; empty where it has an address of its own.
        primary: under which name they know it.
        sentinel_options: of the connections to them.
    """

    options: dict[str, Any]
    sentinels: tuple[tuple[str, int], ...] = ()
    primary: str = ""
    sentinel_options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> _Address:
        try:
            if url.startswith(("sentinel://", "sentinels://")):
                return cls._of_sentinels(url)
            options = parse_url(_as_redis_py_has_it(url))  # type: ignore[no-untyped-call]
            kind = _CLASSES[options.pop("connection_class", None)]
            return cls(_checked(kind, options))
        except (ValueError, TypeError, KeyError, redis.RedisError):
            raise ConfigurationError(
                "LABELMILL_BROKER_URL cannot be read; write redis://:password@host:6379/0, "
                "rediss://…, unix:///path/to/socket?db=0, or "
                "sentinel://:password@host:26379,host2:26379/0?master=name; options are redis-py's"
            ) from None

    @classmethod
    def _of_sentinels(cls, url: str) -> _Address:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True)
        primary = query.pop("master")[0]
        access = {
            name.removeprefix("sentinel_"): query.pop(name)[0]
            for name in ("sentinel_username", "sentinel_password")
            if name in query
        }
        user, _, hosts = parts.netloc.rpartition("@")
        encrypted = parts.scheme == "sentinels"
        # Read as any other, so that the options mean the same.
        stand_in = urlunsplit(
            (
                "rediss" if encrypted else "redis",
                f"{user}@localhost" if user else "localhost",
                parts.path,
                urlencode(query, doseq=True),
                "",
            )
        )
        options = parse_url(stand_in)  # type: ignore[no-untyped-call]
        options.pop("host")
        options.pop("connection_class", None)
        kind = refusals.SentinelSSLConnection if encrypted else refusals.SentinelConnection
        tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
        return cls(
            _checked(kind, options, connection_pool=None),
            tuple(map(_host_and_port, hosts.split(","))),
            primary,
            {**access, **({"ssl": True, **tls} if encrypted else {})},
        )


class _BlockingSentinelPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Like redis-py's, and who wants one connection too many waits."""


def _checked(kind: Any, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    for name in _OURS:
        options.pop(name, None)
    for name in ("socket_timeout", "socket_connect_timeout"):
        if name in options:
            options[name] = float(options[name])
    kind(**options, **more)  # it does not connect, and knows its options
    return {**options, "connection_class": kind}


def _as_redis_py_has_it(url: str) -> str:
    """``redis+socket:///path?virtual_host=0``, as Celery writes it, is redis-py's ``unix://``."""
    for scheme in ("redis+socket://", "socket://"):
        if url.startswith(scheme):
            return url.replace(scheme, "unix://", 1).replace("virtual_host=", "db=", 1)
    return url


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or _SENTINEL_PORT
