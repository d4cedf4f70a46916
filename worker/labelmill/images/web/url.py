"""The URL: the one parser, for the check and for the dial."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin

import idna

from labelmill.core.errors import ErrorCode, JobError

_PORTS = {"http": 80, "https": 443}
_MAX_HOST_LENGTH = 253

_URL = re.compile(r"(https?)://([^/?#@:]+)(?::([0-9]+))?([/?][^#]*)?(?:#.*)?", re.IGNORECASE)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label of a name begins with a letter, and that of no form of an address does: decimal,
# octal or hexadecimal, short or whole.
_HOST = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Url:
    """Where an image is; made by :func:`parse_url` alone.

    Attributes:
        scheme: ``http`` or ``https``.
        host: a name of the DNS in lower-case ASCII, never an address.
        target: the path and the query, as they are sent; the query may hold a credential.
    """

    scheme: str
    host: str
    target: str = field(repr=False)

    @property
    def port(self) -> int:
        """The scheme's own; there is no other."""
        return _PORTS[self.scheme]

    def redirected(self, location: str) -> Url:
        """Where a redirect leads, which may be relative.

        Raises:
            JobError: see :func:`parse_url`.
        """
        _check_characters(location)  # urljoin would leave some of them out
        try:
            joined = urljoin(f"{self.scheme}://{self.host}{self.target}", location)
        except ValueError:  # brackets that do not match, say
            raise _refusal("it is no URL") from None
        return parse_url(joined)


def parse_url(text: str) -> Url:
    """Parse a URL, and refuse whatever two parsers might read in two ways.

    Raises:
        JobError: it has a user, a port that is not its scheme's own, a backslash, white space or a
            control character, an address for a host, or is no URL; the message quotes none of it.
    """
    _check_characters(text)
    parts = _URL.fullmatch(text)
    if parts is None:
        raise _refusal("it is not of the form https://host/path, with no user and no address")
    scheme = parts[1].lower()
    if parts[3] is not None and parts[3] != str(_PORTS[scheme]):
        raise _refusal(f"{scheme} is fetched from port {_PORTS[scheme]} alone")
    host = parse_host(parts[2])
    if host is None:
        raise _refusal("its host is no name of the DNS; an address cannot be given")
    target = parts[4] or "/"
    target = target if target.startswith("/") else f"/{target}"
    return Url(scheme, host, quote(target, safe=string.punctuation))


def parse_host(text: str) -> str | None:
    """The name in lower-case ASCII (IDNA 2008, mapped by UTS 46); None if it is no such name."""
    if len(text) > _MAX_HOST_LENGTH:
        return None
    try:
        host = text if text.isascii() else idna.encode(text, uts46=True, std3_rules=True).decode()
    except UnicodeError:
        return None
    host = host.lower()
    return host if len(host) <= _MAX_HOST_LENGTH and _HOST.fullmatch(host) else None


def _check_characters(text: str) -> None:
    if not text.isprintable() or " " in text or "\\" in text:
        raise _refusal("it has white space, a control character or a backslash in it")


def _refusal(why: str) -> JobError:
    return JobError(ErrorCode.IMAGE_FORBIDDEN, f"this worker does not fetch such a URL: {why}")
