"""Row 66: the participants are at `https://` addresses, with certificates of a private CA.

Required: orders complete if the CA is configured; otherwise no service is trusted, and nothing is sold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.faults.shared_stack import ORCHESTRATORS, SharedStack
from tests.system.stack import WEB_PROCESSES
from tests.tls import TlsServer, private_ca, relay_to

Settings = dict[str, str]


@pytest.fixture
def over_tls(stack: SharedStack, tmp_path: Path) -> Iterator[tuple[Path, Settings]]:
    """The CA and the participants' TLS addresses."""
    ca, chain = private_ca(tmp_path)
    with ExitStack() as servers:
        services = {
            name: servers.enter_context(closing(TlsServer(chain, relay_to(stack.address(name)))))
            for name in WEB_PROCESSES[1:]
        }
        yield ca, {f"{name.upper()}_URL": server.url for name, server in services.items()}


@pytest.mark.parametrize("setting", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_orders_complete_over_tls_with_a_private_ca(
    stack: SharedStack, over_tls: tuple[Path, Settings], setting: str
) -> None:
    ca, addresses = over_tls
    trusting = {"REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": "", setting: str(ca)}
    stack.restart("web", *ORCHESTRATORS, **addresses, **trusting)
    product = stack.product(stock=10)
    answers = [stack.post_order(f"key {n}", product) for n in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert stack.post_order("no capture", product, payment={"method": "card", "token": "fail_capture"}).ok
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 3, "FAILED": 1}


def test_service_of_an_unknown_ca_is_not_trusted(stack: SharedStack, over_tls: tuple[Path, Settings]) -> None:
    _, addresses = over_tls
    product = stack.product()
    stack.restart("web", **addresses, REQUESTS_CA_BUNDLE="", SSL_CERT_FILE="")
    answer = stack.post_order("k", product)
    assert (answer.status_code, answer.json()["error"]) == (503, "service_unavailable")
    assert "REQUESTS_CA_BUNDLE" in stack.log("web")
    stack.settle()
