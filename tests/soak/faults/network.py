"""Faults of the network: on one line, from one who reaches a server to that server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from tests.soak.faults.fault import FAULTS, Fault
from tests.soak.site import Server, Site
from tests.support.proxy import Proxy

# Of which requests the replies are lost: any, or one that says this.
_REQUESTS: dict[Server, tuple[bytes, ...]] = {
    "redis": (b"", b"EVALSHA", b"LPUSH", b"BRPOP", b"labelmill:worker:"),
    "postgresql": (b"", b"INSERT", b"COMMIT", b"SELECT", b"UPDATE", b"BEGIN"),
}
_PATIENCE_S = 5.0


def _lost(server: Server, how: str) -> Fault:
    """The reply to one request, or to three, is lost in this way."""

    def steps(site: Site, chance: random.Random) -> Iterator[float]:
        line = site.one_of(site.lines[server], chance)
        request = chance.choice(_REQUESTS[server])
        times = chance.choice((1, 1, 3))
        with site.taking(line):
            before, until = line.losses, time.monotonic() + _PATIENCE_S
            if how == "delay":
                line.delay(chance.uniform(1, 10), request, times)
            else:
                getattr(line, how)(request, times)
            while line.losses < before + times and time.monotonic() < until:
                yield 0.1
            line.resume()

    return Fault(f"{server}-{how}", steps, _needed(server))


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
