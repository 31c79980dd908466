"""Which addresses count as public, what an allow-list opens, and what a URL alone gives away."""

from __future__ import annotations

from ipaddress import ip_address

import httpx2
import pytest

from visionseg.access.addresses import (
    AddressPolicy,
    Resolver,
    Target,
    check_url,
    is_public,
    parse_url,
    resolve,
    system_resolver,
)
from visionseg.contract.errors import ErrorCode, Refusal

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "2001:200::1",
    "64:ff9b::808:808",
]

CLOSED = {
    "this network": "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "this network's end": "0.255.255.255",
    "private 10": "10.1.2.3",
    "carrier-grade NAT": "100.64.0.1",
    "metadata in carrier-grade NAT": "100.100.100.200",
    "loopback": "127.0.0.1",
    "loopback's end": "127.255.255.254",
    "metadata with a public number": "168.63.129.16",
    "link-local metadata": "169.254.169.254",
    "private 172": "172.16.0.1",
    "private 172's end": "172.31.255.255",
    "protocol assignments": "192.0.0.192",
    "documentation 1": "192.0.2.1",
    "AS112": "192.31.196.1",
    "AMT": "192.52.193.1",
    "6to4 relay": "192.88.99.1",
    "private 192": "192.168.1.1",
    "direct AS112": "192.175.48.1",
    "benchmark": "198.19.255.255",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "unspecified 6": "::",
    "loopback 6": "::1",
    "IPv4-compatible": "::8.8.8.8",
    "IPv4-mapped private": "::ffff:10.0.0.1",
    "IPv4-mapped public": "::ffff:8.8.8.8",
    "IPv4-translated": "::ffff:0:8.8.8.8",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 of private": "64:ff9b::a00:1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::808:808",
    "discard": "100::1",
    "Teredo": "2001:0:4136:e378::1",
    "ORCHID": "2001:20::1",
    "documentation 6": "2001:db8::1",
    "6to4 of a public address": "2002:808:808::1",
    "direct AS112 6": "2620:4f:8000::1",
    "new documentation 6": "3fff::1",
    "segment routing": "5f00::1",
    "unique local": "fc00::1",
    "unique local metadata": "fd00:ec2::254",
    "link-local 6": "fe80::1",
    "link-local 6 with a scope": "fe80::1%eth0",
    "site-local": "fec0::1",
    "multicast 6": "ff02::1",
}


def answers(*addresses: str) -> Resolver:
    """A name service that knows one answer."""
    return lambda _host, _port: list(addresses)


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_given_out_to_a_public_host_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", CLOSED.values(), ids=CLOSED.keys())
def test_an_address_of_a_special_network_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", CLOSED.values(), ids=CLOSED.keys())
def test_a_name_that_leads_to_a_special_network_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        resolve(parse_url("https://media.example.com/a"), AddressPolicy(), answers(text))
    assert refused.value.code is ErrorCode.INPUT_REFUSED
    assert refused.value.detail == "The host media.example.com is not on the public Internet."


def test_a_name_with_a_public_and_a_private_address_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        resolve(
            parse_url("https://rebind.example/"), AddressPolicy(), answers("8.8.8.8", "10.0.0.1")
        )
    assert refused.value.code is ErrorCode.INPUT_REFUSED


def test_a_public_name_resolves_to_all_its_addresses() -> None:
    target = resolve(
        parse_url("https://Example.com/a"), AddressPolicy(), answers("1.1.1.1", "2606:4700::1")
    )
    assert target == Target("example.com", 443, ("1.1.1.1", "2606:4700::1"))


def test_an_international_name_is_looked_up_in_its_ascii_form() -> None:
    target = resolve(parse_url("https://例え.jp/"), AddressPolicy(), answers("1.1.1.1"))
    assert target.host == "xn--r8jz45g.jp"


@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'a' * 64}.example", "a..b"])
def test_a_name_nobody_knows_is_unreachable(host: str) -> None:
    def unknown(name: str, _port: int) -> list[str]:
        raise OSError(f"{name}: Name or service not known")

    with pytest.raises(Refusal) as refused:
        resolve(httpx2.URL(f"https://{host}/"), AddressPolicy(), unknown)
    assert refused.value.code is ErrorCode.INPUT_UNREACHABLE
    assert host in refused.value.detail


def test_a_name_without_addresses_is_unreachable() -> None:
    with pytest.raises(Refusal) as refused:
        resolve(parse_url("https://empty.example/"), AddressPolicy(), answers())
    assert refused.value.code is ErrorCode.INPUT_UNREACHABLE


@pytest.mark.parametrize(
    "literal", ["127.1", "2130706433", "0x7f000001", "017700000001", "0x7f.0.0.1", "127.0.0.1"]
)
def test_every_spelling_of_loopback_is_seen_in_the_url_and_after_resolution(literal: str) -> None:
    with pytest.raises(Refusal) as in_url:
        check_url(f"https://{literal}/a.png")
    assert in_url.value.code is ErrorCode.INVALID_INPUT
    with pytest.raises(Refusal) as resolved:
        resolve(httpx2.URL(f"https://{literal}/a.png"), AddressPolicy(), system_resolver)
    assert resolved.value.code is ErrorCode.INPUT_REFUSED


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://example.com/a", "The URL must begin with https://."),
        ("file:///etc/passwd", "The URL must begin with https://."),
        ("ftp://example.com/a", "The URL must begin with https://."),
        ("//example.com/a", "The URL must begin with https://."),
        ("", "The URL must begin with https://."),
        ("https://user@example.com/", "The URL must not hold a user name or a password."),
        ("https://user:secret@example.com/", "The URL must not hold a user name or a password."),
        ("https://a.example\\@127.0.0.1/", "The URL must not hold a user name or a password."),
        ("https:///a", "The URL names no host that can be read."),
        ("https://a%2fb/", "The URL names no host that can be read."),
        ("https://[fe80::1%25eth0]/", "The URL names no host that can be read."),
        ("https://①②⑦.0.0.1/", "This is not a URL that can be read."),
        ("https://example.com/\x00", "This is not a URL that can be read."),
        ("https://example.com:22/", "Port 22 may not be reached from here; use 443."),
        ("https://example.com:0/", "Port 0 may not be reached from here; use 443."),
        ("https://10.0.0.1/", "The host 10.0.0.1 is not on the public Internet."),
        ("https://[::1]/", "The host ::1 is not on the public Internet."),
        ("https://[::ffff:a00:1]/", "The host ::ffff:a00:1 is not on the public Internet."),
    ],
)
def test_a_url_that_can_never_be_fetched_is_told_so_without_the_network(
    url: str, sentence: str
) -> None:
    with pytest.raises(Refusal) as refused:
        check_url(url)
    assert (refused.value.code, refused.value.detail) == (ErrorCode.INVALID_INPUT, sentence)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.mp4?sig=1",
        "https://example.com:443/",
        "https://8.8.8.8/",
        "HTTPS://a.b/",
    ],
)
def test_a_url_that_may_be_fetched_passes(url: str) -> None:
    check_url(url)


def test_an_allowed_host_is_reached_at_a_private_address_on_port_443_only() -> None:
    policy = AddressPolicy.of(["store.internal"])
    check_url("https://store.internal/", policy)
    assert resolve(parse_url("https://store.internal/"), policy, answers("10.0.0.1")).port == 443
    with pytest.raises(Refusal):
        check_url("https://store.internal:9000/", policy)


def test_an_allowed_host_and_port_opens_that_port_for_that_host_only() -> None:
    policy = AddressPolicy.of([" minio.internal:9000 ", "[fd00::5]:9000"])
    target = resolve(parse_url("https://minio.internal:9000/b"), policy, answers("10.0.0.1"))
    assert target == Target("minio.internal", 9000, ("10.0.0.1",))
    check_url("https://[fd00::5]:9000/", policy)
    for closed in ("https://minio.internal:9001/", "https://other.internal:9000/"):
        with pytest.raises(Refusal):
            check_url(closed, policy)


def test_an_allowed_host_opens_nothing_for_another_name_of_the_same_address() -> None:
    policy = AddressPolicy.of(["store.internal"])
    with pytest.raises(Refusal) as refused:
        resolve(parse_url("https://evil.example/"), policy, answers("10.0.0.1"))
    assert refused.value.code is ErrorCode.INPUT_REFUSED


def test_an_allowed_network_opens_its_addresses_under_any_name() -> None:
    policy = AddressPolicy.of(["10.1.0.0/16", "fd00:1::/32"])
    resolve(parse_url("https://a.internal/"), policy, answers("10.1.2.3", "fd00:1::1"))
    with pytest.raises(Refusal):
        resolve(parse_url("https://a.internal/"), policy, answers("10.2.0.1"))


@pytest.mark.parametrize(
    "entry", ["", "a b/", "10.0.0.1/33", "user@host", "host:port", "10.0.0.5/8"]
)
def test_an_entry_that_is_no_host_or_network_stops_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AddressPolicy.of([entry])
