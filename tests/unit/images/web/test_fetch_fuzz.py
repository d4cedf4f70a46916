"""Whatever is asked for, and whatever a resolver says: no address is dialled that is not public."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labelmill.core.errors import JobError
from labelmill.images.web.fetch import WebFetcher
from labelmill.images.web.hosts import HostAllowlist
from labelmill.images.web.network import Deadline, Network

SCHEMES = st.sampled_from(["http", "https", "HTTP", "ftp", "file", "gopher", ""])
SEPARATORS = st.sampled_from(["://", ":", ":/", ":///", ":\\\\", "://\t", ":// "])
USERS = st.sampled_from(["", "", "", "user@", "user:pass@", "127.0.0.1:6666\\@", "@", "a.org#@"])
HOSTS = st.one_of(
    st.sampled_from(
        ["example.org", "EXAMPLE.org", "example.org.", "localhost", "127.0.0.1", "127.1", "0",
         "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "[fe80::1%25eth0]",
         "１２７.0.0.1", "127。0。0。1", "①⑥⑨.254.169.254", "example.org%00.a", "ⓔxample.org",
         "bücher.example", "exam\tple.org", "example.org\n", "169.254.169.254", "a..org", ""]
    ),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=4).map(lambda address: str(int(address))),
    st.ip_addresses(v=4).map(lambda address: hex(int(address))),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.text(max_size=20),
)  # fmt: skip
PORTS = st.sampled_from(["", "", "", ":80", ":443", ":22", ":6379", ":", ":0", ":65536", ":８０"])
ENDS = st.sampled_from(["", "/", "/cat.png", "?a=b", "#@127.0.0.1/", "\\@127.0.0.1/", "/\r\nX: y"])
URIS = st.tuples(SCHEMES, SEPARATORS, USERS, HOSTS, PORTS, ENDS).map("".join)
ADDRESSES = st.lists(
    st.one_of(
        st.ip_addresses().map(str),
        st.sampled_from(["1.1.1.1", "2606:4700:4700::1111", "127.0.0.1", "fe80::1%eth0", ""]),
    ),
    min_size=1,
    max_size=3,
)


class Dialled(Exception):
    """The end of a test: an address was dialled."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(address, port)
        self.address = address
        self.port = port


class Recording(Network):
    """A network that resolves every host to the same addresses, and dials none."""

    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__()
        self._addresses = addresses

    def resolve(self, host: str, deadline: Deadline) -> Sequence[str]:
        return self._addresses

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        raise Dialled(address, port)


def is_outside(address: IPv4Address | IPv6Address) -> bool:
    """A second opinion: global by Python's tables, and with no other address embedded."""
    if isinstance(address, IPv6Address) and (
        address.ipv4_mapped or address.sixtofour or address.teredo or address.scope_id
    ):
        return False
    return address.is_global and not address.is_multicast


ANY_HOST = HostAllowlist.parse(["http://*"])
TLS = ssl.create_default_context()


def dialled(uri: str, addresses: list[str]) -> Dialled | None:
    """What is dialled when this is fetched, of a host with these addresses."""
    try:
        WebFetcher(ANY_HOST, 1000, 20, Recording(addresses), TLS).fetch(uri)
    except Dialled as end:
        return end
    except JobError:
        return None
    raise AssertionError("nothing can have been fetched")


@settings(max_examples=300, deadline=None)
@given(URIS, ADDRESSES)
@example("https://example.org/", ["1.1.1.1", "127.0.0.1"])
def test_only_public_addresses_are_dialled(uri: str, addresses: list[str]) -> None:
    end = dialled(uri, addresses)

    if end is not None:
        assert all(is_outside(ip_address(address)) for address in addresses)
        assert end.address == addresses[0]
        assert end.port in {80, 443}


@pytest.mark.parametrize("port", [80, 443])
def test_a_public_address_is_dialled(port: int) -> None:
    # The test above would also pass if nothing were ever dialled.
    end = dialled({80: "http", 443: "https"}[port] + "://example.org/", ["1.1.1.1", "1.0.0.1"])

    assert end is not None
    assert (end.address, end.port) == ("1.1.1.1", port)
