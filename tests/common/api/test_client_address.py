"""The client's address: only what trusted proxies wrote is believed."""

import pytest
from flask import Flask

from common.api.client_address import Proxies, subject
from common.process.parsers import networks

PROXY, INNER_PROXY, CLIENT, STRANGER = "10.0.0.1", "10.0.0.2", "198.41.0.4", "192.33.4.12"
TRUSTING = Proxies(networks("10.0.0.0/8,2001:db8:1::/48"))
SPOOFS = (
    {"Forwarded": f"for={CLIENT}"},
    {"X-Real-IP": CLIENT},
    {"X-Client-IP": CLIENT},
    {"True-Client-IP": CLIENT},
    {"CF-Connecting-IP": CLIENT},
    {"X-Forwarded": CLIENT},
)


def environ(peer, headers=None):
    return Flask("x").test_request_context(headers=headers or {}, environ_base={"REMOTE_ADDR": peer}).request.environ


def address(proxies, peer, headers=None):
    given = environ(peer, headers)
    return proxies.client(given["REMOTE_ADDR"], given.get("HTTP_X_FORWARDED_FOR", ""))


def client(proxies, peer, *forwarded):
    found = address(proxies, peer, [("X-Forwarded-For", each) for each in forwarded])
    return str(found) if found else None


@pytest.mark.parametrize("peer", [STRANGER, PROXY, "127.0.0.1", "::1"])
def test_without_trusted_proxies_the_peer_is_the_client(peer):
    assert client(Proxies(), peer, CLIENT) == peer


@pytest.mark.parametrize("spoofed", SPOOFS, ids=str)
@pytest.mark.parametrize("peer", [STRANGER, PROXY])
def test_other_headers_are_never_believed(peer, spoofed):
    assert str(address(TRUSTING, peer, spoofed)) == peer


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (STRANGER, [CLIENT], STRANGER),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, {INNER_PROXY}"], CLIENT),
        (PROXY, [f"{STRANGER}, {CLIENT}"], CLIENT),
        (PROXY, [f"{PROXY}, {CLIENT}, {INNER_PROXY}"], CLIENT),
        (PROXY, [STRANGER, CLIENT], CLIENT),
        (PROXY, [f"nonsense, {CLIENT}"], CLIENT),
        (PROXY, [f"{CLIENT}, nonsense"], PROXY),
        (PROXY, [f"{CLIENT}, nonsense, {INNER_PROXY}"], INNER_PROXY),
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [INNER_PROXY], INNER_PROXY),
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2606:4700::1]:4711"], "2606:4700::1"),
        (PROXY, ["::ffff:198.41.0.4"], CLIENT),
        ("::ffff:10.0.0.1", [CLIENT], CLIENT),
        ("2001:db8:1::7", [CLIENT], CLIENT),
        ("2001:db8:2::7", [CLIENT], "2001:db8:2::7"),
        ("fe80::1%eth0", [CLIENT], "fe80::1"),
        ("", [CLIENT], None),
    ],
)
def test_rightmost_address_that_is_not_a_proxy_counts(peer, forwarded, expected):
    assert client(TRUSTING, peer, *forwarded) == expected


def test_long_header_is_read_from_its_end():
    assert client(TRUSTING, PROXY, ", ".join([STRANGER] * 500), CLIENT) == CLIENT


def test_ipv6_addresses_of_one_site_are_one_subject():
    one, neighbour, other = (address(TRUSTING, f"2606:4700:0:{each}") for each in ("1::1", "1:2::3", "2::1"))
    assert subject(one) == subject(neighbour) != subject(other)


def test_subject_does_not_contain_the_address():
    assert CLIENT not in subject(address(TRUSTING, CLIENT))


@pytest.mark.parametrize(
    ("proxies", "peer", "expected"),
    [
        (Proxies(), CLIENT, True),
        (Proxies(), "127.0.0.1", False),
        (Proxies(), "10.1.2.3", False),
        (Proxies(), "fd00::1", False),
        (TRUSTING, "10.1.2.3", True),
    ],
)
def test_address_that_may_be_an_unnamed_proxy_stands_for_many(proxies, peer, expected):
    assert proxies.stands_for_one(address(proxies, peer)) is expected


@pytest.mark.parametrize(
    ("peer", "proto", "expected"),
    [
        (PROXY, "https", True),
        (PROXY, "http", False),
        (PROXY, "http, https", False),
        (STRANGER, "https", False),
        ("", "https", False),
    ],
)
def test_https_is_known_from_a_trusted_proxy_only(peer, proto, expected):
    assert TRUSTING.is_https(environ(peer, {"X-Forwarded-Proto": proto})) is expected
    assert not Proxies().is_https(environ(peer, {"X-Forwarded-Proto": proto}))
