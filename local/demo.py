"""`make demo`: six orders on a running system, what happens to each as it happens, and what is left at the end.

It goes where `make run` is: PORT, EDGE_URL, INVENTORY_SERVICE_URL, PAYMENTS_SERVICE_URL and HOLDFAST_API_KEY say so.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from textwrap import wrap
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast_client import HoldfastClient, HoldfastError, Order, PaymentDeclined
from local.shop import CATALOGUE, TIMEOUT_S, Services, Unusable

LOOK_EVERY_S = 0.05
PATIENCE_S = 20  # for something new to happen to an order; it usually ends within a second
RETRY_PATIENCE_S = 90  # where the order says that it is waiting to try again: up to 64 s and some jitter

INDENT = 36  # columns before an event's explanation
# Red is for what is not as it should be; an order that fails as it must is none of that.
COLOURS = {"COMPLETED": "green", "COMPENSATING": "yellow", "FAILED": "yellow", "payment_declined": "yellow"}
MEANINGS = {  # for a step that the system itself says nothing about
    "AWAITING_AUTHORIZATION": "written down before anything else happens",
    "AUTHORIZED": "{total} held on the card",
    "ORDER_CREATED": "the order exists, pending",
    "INVENTORY_RESERVED": "every line of it is set aside",
    "PAYMENT_CAPTURED": "{total} taken",
    "COMPLETED": "the order is confirmed",
}


@dataclass(frozen=True)
class Story:
    """One order and how it must end: its status, the reason, and what has become of the money."""

    title: str
    cart: Mapping[str, int]
    status: str = "COMPLETED"
    reason: str = ""
    money: str = "captured"
    token: str = "tok_visa"
    times_sent: int = 1


STORIES = (
    Story("One product", {"Coffee beans": 2}),
    Story("Three products", {"Coffee beans": 1, "Mug": 4, "Kettle": 1}),
    Story("More than is in stock", {"Mug": 1, "Kettle": 9}, "FAILED", "insufficient_stock", "voided"),
    Story("A card without funds", {"Mug": 1}, "payment_declined", "insufficient_funds", "", "decline_insufficient"),
    Story("A charge that fails", {"Mug": 2, "Kettle": 1}, "FAILED", "payment_declined", "voided", "fail_capture"),
    Story("A request sent twice", {"Coffee beans": 1, "Mug": 1}, times_sent=2),
)


@dataclass
class Ending:
    """How an order did end. No problems: as it should."""

    status: str = ""
    reason: str = ""
    money: str = ""
    problems: list[str] = field(default_factory=list)


class Demo:
    """Tells the stories, one after the other."""

    def __init__(self, client: HoldfastClient, services: Services, console: Console) -> None:
        self._client, self._services, self._console = client, services, console
        run = uuid.uuid4().hex[:8]
        self._products = {name: services.add_product(name, run) for name in CATALOGUE}

    def run(self) -> bool:
        """Whether all is as it should be."""
        stocked = ", ".join(f"{stock} × {name}" for name, (_, stock) in CATALOGUE.items())
        self._console.print(Text.assemble(("Holdfast", "bold"), f" at {self._services.edge}\nIn stock: {stocked}\n"))
        endings = [self._tell(number, story) for number, story in enumerate(STORIES, 1)]
        stock = {name: self._services.stock(product_id) for name, product_id in self._products.items()}
        sold = {name: _sold(name, endings) for name in CATALOGUE}
        self._console.print(_orders_table(endings), "", _stock_table(sold, stock), "", sep="\n")
        return not any(ending.problems for ending in endings) and all(
            _is_right(name, sold[name], stock[name]) for name in CATALOGUE
        )

    def _tell(self, number: int, story: Story) -> Ending:
        cart = ", ".join(f"{quantity} × {name}" for name, quantity in story.cart.items())
        self._console.print(Text.assemble((f"{number}  {story.title}", "bold"), (f": {cart}", "dim")))
        ending = Ending()
        try:
            order = self._follow(self._place(story, ending))
            ending.status, ending.reason = order.status, order.failure.code if order.failure else ""
            if order.payment_authorization_id:
                ending.money = self._services.money(order.payment_authorization_id)
        except PaymentDeclined as declined:
            self._say("", declined.code, f"HTTP {declined.status}: {declined.decline_code}, nothing held")
            ending.status, ending.reason = declined.code, declined.decline_code
        except HoldfastError as error:
            ending.problems.append(str(error))
        ending.problems = ending.problems or _differences(story, ending)
        for problem in ending.problems:
            self._say("", "not as it should be", problem, "red")
        self._console.print()
        return ending

    def _place(self, story: Story, ending: Ending) -> str:
        """The order's ledger id."""
        order: dict[str, Any] = {
            "user_id": uuid.uuid4(),
            "email": "demo@shop.example",
            "items": [{"product_id": self._products[name], "quantity": count} for name, count in story.cart.items()],
            "payment_token": story.token,
            "idempotency_key": f"demo-{uuid.uuid4()}",
        }
        placed = self._client.place_order(**order)
        for _ in range(story.times_sent - 1):
            again = self._client.place_order(**order)
            self._say("", "sent again", "the same key, the same answer, one order")
            if not again.replayed or again.order_ledger_id != placed.order_ledger_id:
                ending.problems.append("the second answer is not the first one, replayed")
        return placed.order_ledger_id

    def _follow(self, order_ledger_id: str) -> Order:
        """Show each step as it happens; the order as it stands in the end."""
        shown, retries = 0, 0
        for order in self._looks(order_ledger_id):
            total = f"{order.total_amount_cents / 100:,.2f} {order.currency}"
            for entry in order.timeline[shown:]:
                meaning = entry.detail or MEANINGS.get(entry.status, "").format(total=total)
                self._say(f"+{(entry.at - order.created_at).total_seconds():.3f} s", entry.status, meaning)
            if order.retry_count > retries:
                self._say("", f"no answer ({order.retry_count})", "the same call is made again in a moment")
            shown, retries = len(order.timeline), order.retry_count
        return order

    def _looks(self, order_ledger_id: str) -> Iterator[Order]:
        """The order, again and again, until it has ended or nothing new has come for too long."""
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
            time.sleep(LOOK_EVERY_S)

    def _say(self, when: str, what: str, detail: str, colour: str = "") -> None:
        first, *others = wrap(detail, max(20, self._console.width - INDENT)) or [""]
        line = Text.assemble((f"{when:>10}  ", "dim"), (f"{what:<22}  ", colour or COLOURS.get(what, "cyan")), first)
        line.rstrip()
        for text in (line, *(Text(" " * INDENT + other) for other in others)):
            self._console.print(text)


def _differences(story: Story, ending: Ending) -> list[str]:
    pairs = [(story.status, ending.status), (story.reason, ending.reason)]
    if ending.money:  # it could be looked at
        pairs.append((story.money, ending.money))
    return [f"{found or 'nothing'} instead of {wanted or 'nothing'}" for wanted, found in pairs if wanted != found]


def _sold(name: str, endings: Sequence[Ending]) -> int:
    """How many the completed orders have."""
    carts = (story.cart for story, ending in zip(STORIES, endings, strict=True) if ending.status == "COMPLETED")
    return sum(cart.get(name, 0) for cart in carts)


def _is_right(name: str, sold: int, stock_after: int) -> bool:
    return stock_after == CATALOGUE[name][1] - sold


def _mark(is_right: bool) -> Text:
    return Text("✓", "green") if is_right else Text("✗", "red")


def _orders_table(endings: Sequence[Ending]) -> Table:
    table = Table("", "Order", "Ended", "Because of", "Payment", box=box.SIMPLE_HEAD, show_edge=False)
    for story, ending in zip(STORIES, endings, strict=True):
        status = Text(ending.status or "?", COLOURS.get(ending.status, ""))
        table.add_row(_mark(not ending.problems), story.title, status, ending.reason, ending.money or "–")
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
    """Run the demo: 0 where everything ended as it should, else 1."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where the locale knows no ✓, that is no reason to fail
    console = Console(highlight=False)
    try:
        services = Services(environ)
        services.check_running()
        api_key = environ.get("HOLDFAST_API_KEY")
        with HoldfastClient(services.edge, api_key, timeout=TIMEOUT_S, trust_env=False) as client:
            is_right = Demo(client, services, console).run()
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    if is_right:
        console.print(Text("Every order ended as it should, and nothing is left behind.", "bold green"))
    else:
        console.print(Text("Not everything ended as it should: see ✗ above.", "bold red"))
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
