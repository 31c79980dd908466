"""Which hosts this service may fetch from or post to: public ones, and those its operator names."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx2

from visionseg.contract.errors import ErrorCode, Refusal

HTTPS_PORT = 443

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Sequence[str]]

# IANA's special-purpose registries (RFC 6890 and what followed), 2026: not one of these is a host
# on the public Internet. Written out because `is_global` differs between Python's versions.
CLOSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598; one cloud's metadata service
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # a public number that is one cloud's metadata service
        "169.254.0.0/16",  # link-local, RFC 3927; most clouds' metadata services
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.31.196.0/24",  # AS112, RFC 7535
        "192.52.193.0/24",  # AMT relays, RFC 7450
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "192.175.48.0/24",  # AS112, RFC 7534
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved and broadcast, RFC 1112
    )
)
# Of IPv6 only 2000::/3 is given out as global unicast; these parts of it are not.
GLOBAL_V6 = IPv6Network("2000::/3")
CLOSED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo (RFC 4380) and ORCHID among them
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056: carries any IPv4 address
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3fff::/20",  # documentation, RFC 9637
    )
)
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be reached beside public addresses on port 443: nothing, unless entries say so.

    `hosts` are reached whatever address they have, each on its port; `networks` on port 443.
    """

    hosts: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> AddressPolicy:
        """The policy of an allow-list of `host`, `host:port` and CIDR entries.

        Raises ValueError that names an entry which is none of these.
        """
        texts = [entry.strip() for entry in entries]
        networks = tuple(ip_network(text) for text in texts if "/" in text)
        return cls(frozenset(_host_and_port(text) for text in texts if "/" not in text), networks)

    def allows_port(self, host: str, port: int) -> bool:
        """Whether `host` may be spoken to on `port` at all."""
        return port == HTTPS_PORT or (host, port) in self.hosts

    def allows_address(self, host: str, port: int, address: Address) -> bool:
        """Whether `host`, found at `address`, may be reached there."""
        named = (host, port) in self.hosts
        return named or is_public(address) or any(address in network for network in self.networks)


PUBLIC_ONLY = AddressPolicy()


@dataclass(frozen=True, slots=True)
class Target:
    """A checked host: connect to `addresses` only, and verify its certificate for `host`."""

    host: str
    port: int
    addresses: tuple[str, ...]


def is_public(address: Address) -> bool:
    """Whether the address is one host on the public Internet.

    Forms that carry an IPv4 address inside are not, save NAT64 of a public one, which is what
    DNS64 answers on networks without IPv4.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in CLOSED_V4)
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in GLOBAL_V6 and not any(address in network for network in CLOSED_V6)


def parse_url(text: str) -> httpx2.URL:
    """An https URL with a host and without a user name; raises ValueError with a sentence."""
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, TypeError) as error:
        raise ValueError("This is not a URL that can be read.") from error
    if url.scheme != "https":
        raise ValueError("The URL must begin with https://.")
    if url.userinfo:
        raise ValueError("The URL must not hold a user name or a password.")
    if not url.host or "%" in url.host:
        raise ValueError("The URL names no host that can be read.")
    return url


def check_url(text: str, policy: AddressPolicy = PUBLIC_ONLY) -> None:
    """Raises Refusal(INVALID_INPUT) for a URL that could never be fetched; asks no network.

    What only the name service can tell is left to `resolve`.
    """
    try:
        url = parse_url(text)
        _check_port(url, policy)
        literal = _literal(_host(url))
        if literal is not None:
            _check_address(url, literal, policy)
    except ValueError as error:
        raise Refusal(ErrorCode.INVALID_INPUT, str(error)) from error


def resolve(url: httpx2.URL, policy: AddressPolicy, resolver: Resolver) -> Target:
    """Where to connect for `url`: every address its host has, each one checked.

    Raises Refusal: INPUT_REFUSED if its port or any one of its addresses may not be reached (a
    name with a public and a private address is an attack), INPUT_UNREACHABLE if it has none.
    """
    host, port = _host(url), _port(url)
    try:
        _check_port(url, policy)
        addresses = tuple(resolver(host, port))
        for address in addresses:
            _check_address(url, ip_address(address), policy)
    except OSError as error:
        raise Refusal(
            ErrorCode.INPUT_UNREACHABLE, f"The host {url.host} could not be found."
        ) from error
    except ValueError as error:
        raise Refusal(ErrorCode.INPUT_REFUSED, str(error)) from error
    if not addresses:
        raise Refusal(ErrorCode.INPUT_UNREACHABLE, f"The host {url.host} has no address.")
    return Target(host, port, addresses)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses the machine's name service knows for `host`; raises OSError if none."""
    # As bytes, because Python's own encoding of a name fails where the name service just says no.
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _host_and_port(entry: str) -> tuple[str, int]:
    try:
        url = httpx2.URL(f"https://{entry}")
    except httpx2.InvalidURL as error:
        raise ValueError(f"{entry!r} is no host, host:port or network") from error
    if not url.host or url.userinfo or url.raw_path != b"/":
        raise ValueError(f"{entry!r} is no host, host:port or network")
    return _host(url), _port(url)


def _host(url: httpx2.URL) -> str:
    return url.raw_host.decode("ascii")


def _port(url: httpx2.URL) -> int:
    return HTTPS_PORT if url.port is None else url.port


def _check_port(url: httpx2.URL, policy: AddressPolicy) -> None:
    if not policy.allows_port(_host(url), _port(url)):
        raise ValueError(f"Port {url.port} may not be reached from here; use 443.")


def _check_address(url: httpx2.URL, address: Address, policy: AddressPolicy) -> None:
    # The sentence keeps the address to itself: it would tell an attacker about the inner network.
    if not policy.allows_address(_host(url), _port(url), address):
        raise ValueError(f"The host {url.host} is not on the public Internet.")


def _literal(host: str) -> Address | None:
    """The address that `host` spells, in any form that resolvers take (`0x7f.1`, `2130706433`)."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
