"""Only public addresses are connected to, however a name spells or changes them."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from tests.webhooks.receiver import Receiver
from webhooks import addresses
from webhooks.addresses import AddressRefused, addresses_of, refusal
from webhooks.delivery import Answer, NoAnswer
from webhooks.sending import Sender

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "168.63.129.16",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1",
        "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
        "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_address_that_is_not_public_is_refused(address):
    assert "WEBHOOK_ALLOW_NETWORKS" in refusal(ipaddress.ip_address(address)) or "outside" in refusal(
        ipaddress.ip_address(address)
    )


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "::ffff:1.1.1.1", "2606:4700::1111"]
)
def test_public_address_is_accepted(address):
    assert refusal(ipaddress.ip_address(address)) == ""


def test_python_knows_no_other_private_network():
    """What Python's own list of special addresses refuses, ours refuses too."""
    samples = [f"{high}.{low}.2.3" for high in range(256) for low in (0, 18, 31, 64, 88, 127, 168, 175, 254)]
    samples += [f"{high:x}::{low}" for high in range(0, 0x10000, 0x11) for low in ("1", "7f00:1")]
    for text in samples:
        address = ipaddress.ip_address(text)
        assert address.is_global or refusal(address), text


@pytest.mark.parametrize(
    "spelling",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "localhost", "::1", "::ffff:127.0.0.1"],
)
def test_every_spelling_of_loopback_is_refused(spelling):
    with pytest.raises(AddressRefused, match="not allowed"):
        addresses_of(spelling, 80, ())


def test_allowed_network_is_accepted_in_every_spelling():
    assert addresses_of("127.0.0.1", 80, LOOPBACK) == [ipaddress.ip_address("127.0.0.1")]
    assert addresses_of("2130706433", 80, LOOPBACK) == [ipaddress.ip_address("127.0.0.1")]
    assert refusal(ipaddress.ip_address("::ffff:127.0.0.1"), LOOPBACK) == ""
    assert refusal(ipaddress.ip_address("10.0.0.1"), LOOPBACK)


@pytest.fixture
def names(monkeypatch):
    """`names["hook.example"] = [["1.1.1.1"], ["127.0.0.1"]]`: the answers of a name server, one after the other."""
    answers, asked = {}, []

    def resolve(host, port, *_, **__):
        asked.append(host)
        found = answers[host].pop(0)
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port)) for each in found]

    # Connections are made to addresses. One to a name would be resolved with the real function.
    monkeypatch.setattr(addresses.socket, "getaddrinfo", resolve)
    answers["asked"] = asked
    return answers


def test_one_bad_address_beside_a_good_one_is_refused(names):
    names["hook.example"] = [["1.1.1.1", "10.0.0.1"]]
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.0/8"):
        addresses_of("hook.example", 443, ())


def test_name_that_changes_its_mind_is_connected_to_at_the_checked_address(names, tls):
    """It is resolved once. The second answer, which leads elsewhere, is never asked for."""
    with Receiver() as receiver:
        names["hook.example"] = [["127.0.0.1"], ["10.0.0.1"]]
        names["127.0.0.1"] = [["127.0.0.1"]] * 5  # socket.create_connection passes the address through getaddrinfo
        sender = Sender(tls, LOOPBACK, 5)
        assert sender.post(f"http://hook.example:{receiver.server_port}/", {}, b"{}") == Answer(204)
        assert receiver.heard[0].headers["Host"] == f"hook.example:{receiver.server_port}"
        assert names["asked"].count("hook.example") == 1
        outcome = sender.post(f"http://hook.example:{receiver.server_port}/", {}, b"{}")
        assert isinstance(outcome, NoAnswer)
        assert "10.0.0.0/8 (private)" in outcome.reason
        assert "WEBHOOK_ALLOW_NETWORKS" in outcome.reason
        assert len(receiver.heard) == 1


def test_refused_address_gets_no_connection(tls):
    with Receiver() as receiver:
        outcome = Sender(tls, (), 5).post(f"{receiver.url}/", {}, b"{}")
        assert isinstance(outcome, NoAnswer)
        assert "127.0.0.0/8 (loopback)" in outcome.reason
        assert receiver.heard == []
