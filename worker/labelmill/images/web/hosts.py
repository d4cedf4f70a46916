"""The allowlist: the hosts from which images are fetched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from labelmill.core.errors import ConfigurationError
from labelmill.images.web.url import Url, parse_host


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str | None  # None: any
    subdomains: bool  # of the name, and not the name itself
    plain: bool  # http as well

    def allows(self, url: Url) -> bool:
        if url.scheme == "http" and not self.plain:
            return False
        if self.name is None:
            return True
        return url.host.endswith(f".{self.name}") if self.subdomains else url.host == self.name


class HostAllowlist:
    """Patterns of hosts: ``example.org``, ``*.example.org`` (any name under it), ``*`` (any host).

    With ``http://`` before it, a pattern allows http as well as https.
    """

    def __init__(self, entries: tuple[_Entry, ...]) -> None:
        self._entries = entries

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> Self:
        """The list of these patterns.

        Raises:
            ConfigurationError: one is no pattern.
        """
        return cls(tuple(_entry(pattern) for pattern in patterns))

    def allows(self, url: Url) -> bool:
        """Whether this host may be asked, in this scheme."""
        return any(entry.allows(url) for entry in self._entries)


def _entry(pattern: str) -> _Entry:
    plain = pattern.startswith("http://")
    name = pattern.removeprefix("http://").removeprefix("https://")
    if name == "*":
        return _Entry(None, subdomains=True, plain=plain)
    host = parse_host(name.removeprefix("*."))
    if host is None:
        raise ConfigurationError(
            f"LABELMILL_IMAGE_HOSTS: {pattern!r} is no host; write example.org, *.example.org, or "
            "http://example.org where http is allowed too, without a port or a path"
        )
    return _Entry(host, subdomains=name.startswith("*."), plain=plain)
