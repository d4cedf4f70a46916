"""Faults of the network: on one line, from one who reaches a server to that server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial

from tests.soak.faults.fault import FAULTS, Fault
from tests.soak.site import Server, Site
from tests.support.proxy import Proxy

# Of which requests the replies are lost: any, or one that says this. PostgreSQL's statements are
# mostly prepared, and then only what they are given is sent: rows of results, rows of jobs.
_REQUESTS: dict[Server, tuple[bytes, ...]] = {
    "redis": (b"", b"EVALSHA", b"LPUSH", b"BRPOP", b"labelmill:worker:"),
    "postgresql": (b"", b'"group_size"', b'"payload"', b"COMMIT"),
}
_PATIENCE_S = 5.0
_CHOOSY_S = 1.0


def _lost(server: Server, how: str) -> Fault:
    """The reply to one request, or to three, is lost in this way."""

    def steps(site: Site, chance: random.Random) -> Iterator[float]:
        line = site.one_of(site.lines[server], chance)
        request = chance.choice(_REQUESTS[server])
        times = chance.choice((1, 1, 3))
        lose = partial(line.delay, chance.uniform(1, 10)) if how == "delay" else getattr(line, how)
        with site.taking(line):
            wanted = line.losses + times
            lose(request, times)
            yield from _until_lost(line, wanted, _CHOOSY_S)
            if line.losses < wanted:  # nobody sends that here
                lose(b"", wanted - line.losses)
                yield from _until_lost(line, wanted, _PATIENCE_S)
            line.resume()

    return Fault(f"{server}-{how}", steps, _needed(server))


def _until_lost(line: Proxy, wanted: int, seconds: float) -> Iterator[float]:
    deadline = time.monotonic() + seconds
    while line.losses < wanted and time.monotonic() < deadline:
        yield 0.1


def _away(server: Server, name: str, act: Callable[[Proxy], None]) -> Fault:
    """The line is of no use for some seconds."""

    def steps(site: Site, chance: random.Random) -> Iterator[float]:
        line = site.one_of(site.lines[server], chance)
        with site.taking(line):
            act(line)
            yield chance.uniform(1, 8)
            line.resume()

    return Fault(f"{server}-{name}", steps, _needed(server))


def _at_once(server: Server, name: str, act: Callable[[Proxy], None]) -> Fault:
    """All connections of the line end, or are silent for good; new ones are served."""

    def steps(site: Site, chance: random.Random) -> Iterator[float]:
        line = site.one_of(site.lines[server], chance)
        with site.taking(line):
            act(line)
        yield 0

    return Fault(f"{server}-{name}", steps, _needed(server))


def _needed(server: Server) -> str | None:
    return "postgresql" if server == "postgresql" else None


_SERVERS: tuple[Server, ...] = ("redis", "postgresql")

for _server in _SERVERS:
    for _fault in (
        *(_lost(_server, how) for how in ("eat", "lose", "delay")),
        _away(_server, "stalled", Proxy.stall),
        _away(_server, "refused", Proxy.refuse),
        _at_once(_server, "cut", Proxy.cut),
        _at_once(_server, "half-open", Proxy.half_open),
    ):
        FAULTS[_fault.name] = _fault
