"""The address of a client, also behind proxies, and whether the client used HTTPS.

A proxy adds the address that it was called from to X-Forwarded-For, at the right. What stands further left came from
its caller, who may have invented it. So the header is read from the right, as far as trusted proxies wrote it
(docs/decisions/0045).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.process.parsers import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Some load balancers add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([\d.]+):\d+")
IPV6_SITE_BITS = 64  # what a provider gives to one customer, at least


@dataclass(frozen=True)
class Proxies:
    """The proxies whose headers are believed (TRUSTED_PROXIES). Without any, the peer is the client."""

    networks: tuple[Network, ...] = ()

    def client(self, peer: str, forwarded_for: str) -> Address | None:
        """The client of a request. None: the connection has no IP address.

        :param forwarded_for: the header X-Forwarded-For; several of them are joined with commas
        """
        found = _parse(peer)
        hops = forwarded_for.split(",") if found and self.networks else []
        for hop in reversed(hops):
            named = _parse(hop) if found and self.trusts(found) else None
            if named is None:
                break
            found = named
        return found

    def trusts(self, address: Address) -> bool:
        return any(address in network for network in self.networks)

    def is_https(self, environ: Mapping[str, Any]) -> bool:
        """Whether a trusted proxy says that its caller used HTTPS."""
        if environ.get("HTTP_X_FORWARDED_PROTO") != "https":
            return False
        peer = _parse(environ.get("REMOTE_ADDR", ""))
        return peer is not None and self.trusts(peer)

    def stands_for_one(self, address: Address) -> bool:
        """Whether the address is that of one client, so that it can be limited.

        Without trusted proxies, a private or loopback address may be a proxy's, behind which all clients are.
        """
        return bool(self.networks) or address.is_global


def subject(address: Address) -> str:
    """Return the name under which an address is counted: a digest, because an address is personal data."""
    if address.version == 6:
        address = ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False).network_address
    return "address:" + hashlib.sha256(address.packed).hexdigest()[:32]


def _parse(text: str) -> Address | None:
    text = text.strip()
    if found := WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without the zone of a link-local address
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
