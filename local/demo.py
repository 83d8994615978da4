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
from typing import Any

import requests
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast_client import HoldfastClient, HoldfastError, Order, PaymentDeclined

TIMEOUT_S = (2, 10)  # connect, read
LOOK_EVERY_S = 0.05
PATIENCE_S = 20  # for something new to happen to an order; it usually ends within a second
RETRY_PATIENCE_S = 90  # where the order says that it is waiting to try again: up to 64 s and some jitter

COLOURS = {"COMPLETED": "green", "FAILED": "red", "COMPENSATING": "yellow", "payment_declined": "red"}
CATALOGUE = {"Coffee beans": (1450, 20), "Mug": (900, 12), "Kettle": (7900, 3)}  # cents, pieces


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
    Story("Three products at once", {"Coffee beans": 1, "Mug": 4, "Kettle": 1}),
    Story("More than there is in stock", {"Mug": 1, "Kettle": 9}, "FAILED", "insufficient_stock", "voided"),
    Story("A card without funds", {"Mug": 1}, "payment_declined", "insufficient_funds", "", "tok_decline_insufficient"),
    Story("A charge that is refused", {"Mug": 2, "Kettle": 1}, "FAILED", "payment_declined", "voided", "fail_capture"),
    Story("The same request, sent twice", {"Coffee beans": 1, "Mug": 1}, times_sent=2),
)


@dataclass
class Ending:
    """How an order did end. No problems: as it should."""

    status: str = ""
    reason: str = ""
    money: str = ""
    problems: list[str] = field(default_factory=list)


class Unusable(Exception):
    """The demo cannot go on. The message is one line."""


class Services:
    """The running system, without the Edge API's orders: a warehouse to fill, and the gateway's books to look into."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        try:
            port = int(environ.get("PORT") or 8000)
        except ValueError:
            raise Unusable("PORT must be a whole number.") from None
        # The distances are those of `make run`.
        self.edge = environ.get("EDGE_URL") or f"http://127.0.0.1:{port}"
        self.inventory = environ.get("INVENTORY_SERVICE_URL") or f"http://127.0.0.1:{port + 200}"
        self.payments = environ.get("PAYMENTS_SERVICE_URL") or f"http://127.0.0.1:{port + 300}"
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy does not know this machine's ports

    def check_running(self) -> None:
        """:raises Unusable: one does not answer, or is not well"""
        for url in (self.edge, self.inventory):
            try:
                status = self._session.get(f"{url}/health", timeout=TIMEOUT_S).status_code
            except requests.RequestException as error:
                raise Unusable(f"Nothing answers at {url}. First, in another terminal: make run") from error
            if status != 200:
                raise Unusable(f"{url}/health answers {status}, not 200: see what `make run` says.")

    def add_product(self, name: str, run: str) -> str:
        """Its id. The sku has the run's name in it, so that every run has products of its own."""
        price_cents, stock = CATALOGUE[name]
        body = {"name": name, "sku": f"{name.replace(' ', '-')}-{run}", "price_cents": price_cents}
        answer = self._ask("POST", f"{self.inventory}/inventory/products", json=body | {"initial_stock": stock})
        return str(answer["id"])

    def stock(self, product_id: str) -> int:
        return int(self._ask("GET", f"{self.inventory}/inventory/products/{product_id}/availability")["stock_quantity"])

    def money(self, authorization_id: str) -> str:
        """`captured`, `voided` …; empty where the payments service is out of reach, as it may well be."""
        try:
            return str(self._ask("GET", f"{self.payments}/payments/{authorization_id}")["status"]).lower()
        except Unusable:
            return ""

    def _ask(self, method: str, url: str, **content: Any) -> dict[str, Any]:
        try:
            response = self._session.request(method, url, timeout=TIMEOUT_S, **content)
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
        except requests.RequestException as error:
            raise Unusable(f"{method} {url}: {error}") from error
        return answer


class Demo:
    """Tells the stories, one after the other."""

    def __init__(self, client: HoldfastClient, services: Services, console: Console) -> None:
        self._client, self._services, self._console = client, services, console
        run = uuid.uuid4().hex[:8]
        self._products = {name: services.add_product(name, run) for name in CATALOGUE}

    def run(self) -> bool:
        """Whether all is as it should be."""
        stocked = ", ".join(f"{stock} × {name}" for name, (_, stock) in CATALOGUE.items())
        self._console.print(Text.assemble(("Holdfast", "bold"), f" at {self._services.edge}. In stock: {stocked}.\n"))
        endings = [self._tell(number, story) for number, story in enumerate(STORIES, 1)]
        self._console.print(_orders_table(endings))
        stock = {name: self._services.stock(product_id) for name, product_id in self._products.items()}
        sold = {name: _sold(name, endings) for name in CATALOGUE}
        self._console.print(_stock_table(sold, stock))
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
            self._say("", declined.code, f"{declined.status}: {declined.message}")
            ending.status, ending.reason = declined.code, declined.decline_code
        except HoldfastError as error:
            ending.problems.append(str(error))
        ending.problems = ending.problems or _differences(story, ending)
        for problem in ending.problems:
            self._say("", "not as it should be", problem)
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
            self._say("", "sent again", "the same key, so the same answer: still one order")
            if not again.replayed or again.order_ledger_id != placed.order_ledger_id:
                ending.problems.append("the second answer is not the first one, replayed")
        return placed.order_ledger_id

    def _follow(self, order_ledger_id: str) -> Order:
        """Show each step as it happens; the order as it stands in the end."""
        shown, retries = 0, 0
        for order in self._looks(order_ledger_id):
            for entry in order.timeline[shown:]:
                self._say(f"+{(entry.at - order.created_at).total_seconds():.3f} s", entry.status, entry.detail or "")
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

    def _say(self, when: str, what: str, detail: str) -> None:
        row = Table.grid(padding=(0, 2))
        row.add_column(width=10, justify="right", style="dim")
        row.add_column(width=22, style=COLOURS.get(what, "cyan"))
        row.add_column()  # a long detail goes on below itself
        row.add_row(when, what, Text(detail))
        self._console.print(row)


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
    table = Table("", "Order", "Ended", "Because of", "Payment", box=box.SIMPLE_HEAD, pad_edge=False)
    for story, ending in zip(STORIES, endings, strict=True):
        status = Text(ending.status or "?", COLOURS.get(ending.status, ""))
        table.add_row(_mark(not ending.problems), story.title, status, ending.reason, ending.money or "–")
    return table


def _stock_table(sold: Mapping[str, int], stock_after: Mapping[str, int]) -> Table:
    table = Table("", "Product", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Stock before", "Sold", "Stock after"):
        table.add_column(heading, justify="right")
    for name, (_, before) in CATALOGUE.items():
        numbers = (before, sold[name], stock_after[name])
        table.add_row(_mark(_is_right(name, sold[name], stock_after[name])), name, *map(str, numbers))
    return table


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run the demo: 0 where everything ended as it should, else 1."""
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
