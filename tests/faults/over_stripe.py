"""The systems of the catalogue with the double of Stripe behind the payments service.

A test that settles also compares Stripe's own books with ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.schema import migrate
from local.postgres import EmbeddedPostgres
from stripe_double.cards import REFUSES_CAPTURE
from tests.chaos.books import read_books
from tests.chaos.money_at_gateway import about_gateway
from tests.faults.crashes import ORCHESTRATOR, CrashStack
from tests.faults.proxied import SETTINGS, ProxiedSystem
from tests.payments_service.stripe_worlds import KEY, Double, double
from tests.system.stack import WEB_PROCESSES, Stack, running

OTHER_CARD = "pm_card_mastercard"
TOKENS = {"tok_visa": "pm_card_visa", "tok_fail_capture": REFUSES_CAPTURE}
"""What the rows call their cards, and what Stripe knows these as."""


def settings(stripe: Double) -> dict[str, str]:
    return {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}


def books_agree(stripe: Double, url: str) -> None:
    assert list(about_gateway(stripe.file, read_books(url))) == []
    assert stripe.wrong == []


class ProxiedOverStripe(ProxiedSystem):
    def __init__(self, stack: Stack, url: str, stripe: Double) -> None:
        super().__init__(stack, url)
        self.stripe = stripe

    def order_body(self, *, token: str = "tok_visa", quantity: int = 1, product: str = "") -> dict[str, Any]:
        return super().order_body(token=TOKENS.get(token, token), quantity=quantity, product=product)

    def settle(self) -> None:
        super().settle()
        books_agree(self.stripe, self.url)

    def reset(self) -> None:
        super().reset()
        self.stripe.clear()


class CrashOverStripe(CrashStack):
    def __init__(self, server: EmbeddedPostgres, logs: Path, stripe: Double) -> None:
        super().__init__(server, logs)
        self._environ |= settings(stripe)
        self._stripe = stripe

    def order_body(self, product: str, quantity: int = 1, **changes: Any) -> dict[str, Any]:
        body = super().order_body(product, quantity, **changes)
        token = body["payment"]["token"]
        return {**body, "payment": {**body["payment"], "token": TOKENS.get(token, token)}}

    def settle(self, within_s: float = 60) -> None:
        super().settle(within_s)
        books_agree(self._stripe, self.server.url)

    def reset(self) -> None:
        for name in self.processes.keys() - {*WEB_PROCESSES, ORCHESTRATOR}:
            self.kill(name)
        super().reset()
        self._stripe.clear()


@pytest.fixture(scope="module")
def proxied_over_stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedOverStripe]:
    folder = tmp_path_factory.mktemp("proxied_over_stripe")
    with double(folder) as stripe, EmbeddedPostgres(folder / "postgres", settings={"fsync": "off"}) as server:
        migrate.upgrade(server.url)
        with running(server.url, folder, proxied=True, **SETTINGS, **settings(stripe)) as stack:
            yield ProxiedOverStripe(stack, server.url, stripe)


@pytest.fixture
def proxied(proxied_over_stripe: ProxiedOverStripe, monkeypatch: pytest.MonkeyPatch) -> ProxiedOverStripe:
    """The running system, idle and without faults. Row 25 tells two orders apart by their cards."""
    monkeypatch.setattr("tests.faults.test_25_everything_twice.UNHEARD", OTHER_CARD)
    proxied_over_stripe.reset()
    return proxied_over_stripe


@pytest.fixture(scope="module")
def crash_over_stripe(
    postgres: EmbeddedPostgres, migrated_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashOverStripe]:
    folder = tmp_path_factory.mktemp("crash_over_stripe")
    with double(folder) as stripe:
        stack = CrashOverStripe(postgres, folder, stripe)
        try:
            yield stack
        finally:
            for name in list(stack.processes):
                stack.kill(name)


@pytest.fixture
def crashing(crash_over_stripe: CrashOverStripe) -> CrashOverStripe:
    """The services, healthy, on empty tables."""
    crash_over_stripe.reset()
    return crash_over_stripe


@pytest.fixture
def stack(crashing: CrashOverStripe) -> CrashOverStripe:
    """The same, with an orchestrator."""
    crashing.ensure(ORCHESTRATOR)
    return crashing
