"""Which addresses an endpoint may have: public ones, and the networks of WEBHOOK_ALLOW_NETWORKS.

Clients choose the URLs, so a name may lead into our own network. Every address of a name is checked, and the
connection goes to the checked address itself: the name is not resolved again.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The special-purpose registries of IANA (RFC 6890), and the networks that clouds use in addition.
REFUSED_V4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a provider",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "metadata of a cloud",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "reserved",
    "192.52.193.0/24": "reserved",
    "192.88.99.0/24": "a relay to IPv6",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "reserved",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
REFUSED_V6 = {
    "::/128": "this host",
    "::1/128": "loopback",
    "::/96": "an embedded IPv4 address",
    "64:ff9b::/96": "a translated IPv4 address",
    "64:ff9b:1::/48": "a translated IPv4 address",
    "2001::/23": "reserved, such as Teredo",
    "2001:db8::/32": "documentation",
    "2002::/16": "an embedded IPv4 address",
    "2620:4f:8000::/48": "reserved",
    "3fff::/20": "documentation",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private",
    "ff00::/8": "multicast",
}
REFUSED = {ipaddress.ip_network(text): why for text, why in (REFUSED_V4 | REFUSED_V6).items()}
PUBLIC_V6 = IPv6Network("2000::/3")  # all that IANA has assigned; the rest is reserved


class AddressRefused(Exception):
    """The host has an address that is not public. The message is a sentence for the owner of the endpoint."""


def addresses_of(host: str, port: int, allowed: Sequence[Network]) -> list[Address]:
    """Resolve a host, once, and check every address that it has.

    :param allowed: networks that are not public, and may be used nevertheless
    :raises AddressRefused: one of the addresses is not public
    :raises OSError: the host is unknown, or no name server answers
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # getaddrinfo also reads spellings such as 0x7f.1 and 2130706433; what it returns is checked. `%` is a zone.
    addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    for address in addresses:
        if reason := refusal(address, allowed):
            raise AddressRefused(f"{host} is not allowed: {reason}")
    return list(dict.fromkeys(addresses))


def refusal(address: Address, allowed: Sequence[Network] = ()) -> str:
    """The reason why connections to an address are refused. Empty: they are allowed."""
    address = _plain(address)
    if any(address in network for network in allowed):
        return ""
    for network, why in REFUSED.items():
        if address in network:
            return f"it has an address in {network} ({why}), and WEBHOOK_ALLOW_NETWORKS does not name that network"
    if isinstance(address, IPv6Address) and address not in PUBLIC_V6:
        return f"it has an address outside {PUBLIC_V6}, where all public addresses are"
    return ""


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as IPv6 (`::ffff:127.0.0.1`) is that IPv4 address."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
