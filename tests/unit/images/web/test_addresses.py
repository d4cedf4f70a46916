from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.images.web.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.216.34",
        "223.255.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "100.63.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:82a::200e",
        "2001:4860:4860::8888",
    ],
)
def test_addresses_of_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",  # the metadata of Alibaba's cloud
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",  # the metadata of Oracle's cloud
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # IPv4-compatible
        "::1.1.1.1",
        "::ffff:127.0.0.1",  # IPv4-mapped
        "::ffff:1.1.1.1",
        "::ffff:0:1.1.1.1",  # IPv4-translated
        "64:ff9b::7f00:1",  # NAT64
        "64:ff9b::1.1.1.1",
        "64:ff9b:1::a9fe:a9fe",
        "100::1",
        "2001::1",  # Teredo
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",  # 6to4
        "2002:101:101::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",  # the metadata of Amazon's cloud
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "4000::1",
        "",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "1.1.1.1 ",
    ],
)
def test_addresses_of_other_places(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_address_with_another_embedded_is_public(embedded: object) -> None:
    number = int(embedded)  # type: ignore[call-overload]
    forms = [
        number,
        0xFFFF << 32 | number,
        0xFFFF << 48 | number,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
        0x2002 << 112 | number << 80 | 1,
        0x20010000 << 96 | number,
        0x20010000 << 96 | (number ^ 0xFFFFFFFF),
    ]
    assert not [form for form in forms if is_public(str(IPv6Address(form)))]


@given(st.ip_addresses())
def test_what_python_does_not_call_global_is_not_public(address: object) -> None:
    assert not is_public(str(address)) or address.is_global  # type: ignore[attr-defined]
