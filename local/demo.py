"""`make demo`: places six orders on a running system, shows each step, and checks the result.

PORT, EDGE_URL, INVENTORY_SERVICE_URL and PAYMENTS_SERVICE_URL say where, HOLDFAST_API_KEY and SERVICE_TOKEN_KEYS let
it in. The defaults are those of `make run`.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.process import env_file
from common.process.settings import SettingError
from holdfast_client import HoldfastClient, HoldfastError, Order, PaymentDeclined
from local.shop import CATALOGUE, TIMEOUT_S, Services, Unusable

SECRETS = Path(__file__).resolve().parent.parent / "var" / "credentials.env"
POLL_EVERY_S = 0.05
PATIENCE_S = 20  # for the next change of an order, which usually ends within a second
RETRY_PATIENCE_S = 90  # for an order that waits for a retry: up to 64 s and some jitter

INDENT = 36  # columns before a step's explanation
# Red is for unexpected results only. An order that fails as expected is yellow.
COLOURS = {"COMPLETED": "green", "COMPENSATING": "yellow", "FAILED": "yellow", "payment_declined": "yellow"}
MEANINGS = {  # of the steps without their own detail
    "AWAITING_AUTHORIZATION": "written down before anything else happens",
    "AUTHORIZED": "{total} held on the card",
    "ORDER_CREATED": "the order exists, pending",
    "INVENTORY_RESERVED": "every line of it is set aside",
    "PAYMENT_CAPTURED": "{total} taken",
    "COMPLETED": "the order is confirmed",
}


@dataclass(frozen=True)
class Scenario:
    """One order and its expected outcome: the status, the reason, and the state of the payment."""

    title: str
    cart: Mapping[str, int]
    status: str = "COMPLETED"
    reason: str = ""
    money: str = "captured"
    token: str = "tok_visa"
    times_sent: int = 1


SCENARIOS = (
    Scenario("One product", {"Coffee beans": 2}),
    Scenario("Three products", {"Coffee beans": 1, "Mug": 4, "Kettle": 1}),
    Scenario("More than is in stock", {"Mug": 1, "Kettle": 9}, "FAILED", "insufficient_stock", "voided"),
    Scenario("A card without funds", {"Mug": 1}, "payment_declined", "insufficient_funds", "", "decline_insufficient"),
    Scenario("A charge that fails", {"Mug": 2, "Kettle": 1}, "FAILED", "payment_declined", "voided", "fail_capture"),
    Scenario("A request sent twice", {"Coffee beans": 1, "Mug": 1}, times_sent=2),
)


@dataclass
class Outcome:
    """The outcome of an order. It is as expected when there are no problems."""

    status: str = ""
    reason: str = ""
    money: str = ""
    problems: list[str] = field(default_factory=list)


class Demo:
    """Plays the scenarios, one after the other."""

    def __init__(self, client: HoldfastClient, services: Services, console: Console) -> None:
        self._client, self._services, self._console = client, services, console
        run = uuid.uuid4().hex[:8]
        self._products = {name: services.add_product(name, run) for name in CATALOGUE}

    def run(self) -> bool:
        """Play all scenarios. Whether every outcome is as expected."""
        stocked = ", ".join(f"{stock} × {name}" for name, (_, stock) in CATALOGUE.items())
        self._console.print(Text.assemble(("Holdfast", "bold"), f" at {self._services.edge}\nIn stock: {stocked}\n"))
        outcomes = [self._play(number, scenario) for number, scenario in enumerate(SCENARIOS, 1)]
        stock = {name: self._services.stock(product_id) for name, product_id in self._products.items()}
        sold = {name: _sold(name, outcomes) for name in CATALOGUE}
        self._console.print(_orders_table(outcomes), "", _stock_table(sold, stock), "", sep="\n")
        return not any(outcome.problems for outcome in outcomes) and all(
            _is_right(name, sold[name], stock[name]) for name in CATALOGUE
        )

    def _play(self, number: int, scenario: Scenario) -> Outcome:
        cart = ", ".join(f"{quantity} × {name}" for name, quantity in scenario.cart.items())
        self._console.print(Text.assemble((f"{number}  {scenario.title}", "bold"), (f": {cart}", "dim")))
        outcome = Outcome()
        try:
            order = self._follow(self._place(scenario, outcome))
            outcome.status, outcome.reason = order.status, order.failure.code if order.failure else ""
            if order.payment_authorization_id:
                outcome.money = self._services.money(order.payment_authorization_id)
        except PaymentDeclined as declined:
            self._say("", declined.code, f"HTTP {declined.status}: {declined.decline_code}, nothing held")
            outcome.status, outcome.reason = declined.code, declined.decline_code
        except HoldfastError as error:
            outcome.problems.append(str(error))
        outcome.problems = outcome.problems or _differences(scenario, outcome)
        for problem in outcome.problems:
            self._say("", "unexpected", problem, "red")
        self._console.print()
        return outcome

    def _place(self, scenario: Scenario, outcome: Outcome) -> str:
        """Place the order; its ledger id."""
        order: dict[str, Any] = {
            "user_id": uuid.uuid4(),
            "email": "demo@shop.example",
            "items": [{"product_id": self._products[name], "quantity": count} for name, count in scenario.cart.items()],
            "payment_token": scenario.token,
            "idempotency_key": f"demo-{uuid.uuid4()}",
        }
        placed = self._client.place_order(**order)
        for _ in range(scenario.times_sent - 1):
            again = self._client.place_order(**order)
            self._say("", "sent again", "same key, same answer, one order")
            if not again.replayed or again.order_ledger_id != placed.order_ledger_id:
                outcome.problems.append("the second answer is not a replay of the first one")
        return placed.order_ledger_id

    def _follow(self, order_ledger_id: str) -> Order:
        """Show each step as it happens; the final order."""
        shown, retries = 0, 0
        for order in self._changes(order_ledger_id):
            total = f"{order.total_amount_cents / 100:,.2f} {order.currency}"
            for entry in order.timeline[shown:]:
                meaning = entry.detail or MEANINGS.get(entry.status, "").format(total=total)
                self._say(f"+{(entry.at - order.created_at).total_seconds():.3f} s", entry.status, meaning)
            if order.retry_count > retries:
                self._say("", f"no answer ({order.retry_count})", "the call will be retried")
            shown, retries = len(order.timeline), order.retry_count
        return order

    def _changes(self, order_ledger_id: str) -> Iterator[Order]:
        """Yield the order repeatedly, until it is terminal or has not changed for too long."""
        known: tuple[object, ...] = ()
        since = time.monotonic()
        while True:
            order = self._client.get_order(order_ledger_id)
            yield order
            news = (order.status, order.retry_count, order.next_retry_at)
            if news != known:
                known, since = news, time.monotonic()
            patience_s = RETRY_PATIENCE_S if order.next_retry_at else PATIENCE_S
            if order.is_terminal or time.monotonic() - since >= patience_s:
                return
            time.sleep(POLL_EVERY_S)

    def _say(self, when: str, what: str, detail: str, colour: str = "") -> None:
        first, *others = wrap(detail, max(20, self._console.width - INDENT)) or [""]
        line = Text.assemble((f"{when:>10}  ", "dim"), (f"{what:<22}  ", colour or COLOURS.get(what, "cyan")), first)
        line.rstrip()
        for text in (line, *(Text(" " * INDENT + other) for other in others)):
            self._console.print(text)


def _differences(scenario: Scenario, outcome: Outcome) -> list[str]:
    pairs = [(scenario.status, outcome.status), (scenario.reason, outcome.reason)]
    if outcome.money:  # it is known
        pairs.append((scenario.money, outcome.money))
    return [f"{found or 'nothing'} instead of {wanted or 'nothing'}" for wanted, found in pairs if wanted != found]


def _sold(name: str, outcomes: Sequence[Outcome]) -> int:
    """How many pieces the completed orders contain."""
    carts = (
        scenario.cart for scenario, outcome in zip(SCENARIOS, outcomes, strict=True) if outcome.status == "COMPLETED"
    )
    return sum(cart.get(name, 0) for cart in carts)


def _is_right(name: str, sold: int, stock_after: int) -> bool:
    return stock_after == CATALOGUE[name][1] - sold


def _mark(is_right: bool) -> Text:
    return Text("✓", "green") if is_right else Text("✗", "red")


def _orders_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table("", "Order", "Ended", "Because of", "Payment", box=box.SIMPLE_HEAD, show_edge=False)
    for scenario, outcome in zip(SCENARIOS, outcomes, strict=True):
        status = Text(outcome.status or "?", COLOURS.get(outcome.status, ""))
        table.add_row(_mark(not outcome.problems), scenario.title, status, outcome.reason, outcome.money or "–")
    return table


def _stock_table(sold: Mapping[str, int], stock_after: Mapping[str, int]) -> Table:
    table = Table("", "Product", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("Stock before", "Sold", "Stock after"):
        table.add_column(heading, justify="right")
    for name, (_, before) in CATALOGUE.items():
        numbers = (before, sold[name], stock_after[name])
        table.add_row(_mark(_is_right(name, sold[name], stock_after[name])), name, *map(str, numbers))
    return table


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run the demo; 0 when every outcome is as expected, else 1."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the locale may not have ✓
    console = Console(highlight=False)
    try:
        environ = env_file.read(SECRETS) | {name: value for name, value in environ.items() if value}
        services = Services(environ)
        services.check_running()
        api_key = environ.get("HOLDFAST_API_KEY")
        with HoldfastClient(services.edge, api_key, timeout=TIMEOUT_S, trust_env=False) as client:
            is_right = Demo(client, services, console).run()
    except (SettingError, Unusable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    if is_right:
        console.print(Text("Every order ended as expected, and nothing is left behind.", "bold green"))
    else:
        console.print(Text("Not every order ended as expected: see ✗ above.", "bold red"))
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
