"""The plan of a run, derived from its seed: the shop, the orders, and the times of the disturbances."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

from tests.chaos.cards import TOKENS
from tests.chaos.options import Options
from tests.system.stack import WEB_PROCESSES

T = TypeVar("T")
ORCHESTRATORS = ("orchestrator.1", "orchestrator.2")
WEBHOOKS = ("webhooks.1", "webhooks.2")
GATEWAY = "payments_service"
CONSOLE = "console"
PLENTY, SCARCE = 8, 3  # products of each kind
SCARCE_SHARE = 0.05  # of all lines; once the product is sold out, one such line refuses the whole basket
PATIENT, TWICE, AGAIN, GIVES_UP = "patient", "twice at once", "again later", "gives up"
BEHAVIOURS = ((PATIENT, 74), (TWICE, 10), (AGAIN, 10), (GIVES_UP, 6))
AGAIN_AND_AGAIN = ((PATIENT, 60), (TWICE, 20), (AGAIN, 20))  # of cancellations and refunds
CANCELS = ((0, 82), (1, 14), (2, 4))  # of an order
CANCEL_WITHIN_S = 3.0  # of its first request: some orders have no payment yet, and some have ended
WHOLE_ORDER, AMOUNT, PIECES = "whole", "amount", "pieces"
REFUNDS: tuple[tuple[tuple[str, ...], int], ...] = (  # of a completed order
    ((), 60),
    ((WHOLE_ORDER,), 10),
    ((AMOUNT,), 8),
    ((PIECES,), 8),
    ((WHOLE_ORDER, WHOLE_ORDER), 4),
    ((AMOUNT, AMOUNT), 4),
    ((PIECES, AMOUNT, WHOLE_ORDER), 6),
)
AT_ONCE_SHARE, EARLY_SHARE, RESTOCK_SHARE = 0.5, 0.1, 0.5
REFUND_WITHIN_S = 1.0  # of the answer, or of the order's end
LINES = (
    (1, 60),
    (2, 20),
    (3, 12),
    (5, 6),
    (11, 2),
)  # in a basket; more lines than products means that some products come twice
# How a process is killed. When the master alone is killed, its orphaned workers hold the port for a moment.
WHOLE, MASTER, WORKER = "process", "master", "worker"
VICTIMS = (
    *((name, WHOLE) for name in (*WEB_PROCESSES, *ORCHESTRATORS, *WEBHOOKS, *WEBHOOKS, CONSOLE)),
    *((name, MASTER) for name in WEB_PROCESSES),
    *((name, WORKER) for name in WEB_PROCESSES),
    *((name, WORKER) for name in WEB_PROCESSES),  # twice, because each has two workers
)
LOCKED_S = (2.0, 8.0)  # up to as long as a caller waits for its answer
HANGS_S = (6.0, 12.0)  # callers wait for 8 s
RECEIVER_IS_DOWN_S = (0.5, 5.0)
MARKED_WITHIN_S = 120  # a poisoned entry has to be marked by then


@dataclass(frozen=True)
class Product:
    sku: str
    price_cents: int
    stock: int


@dataclass(frozen=True)
class Cancel:
    """`after_s`: seconds after the order was first sent."""

    key: str
    after_s: float
    behaviour: str


@dataclass(frozen=True)
class Refund:
    """Of an amount, of pieces (`lines`), or of all that is left.

    `after_s`: seconds after the order has ended, or, if it is early, after it was accepted.
    """

    key: str
    after_s: float
    is_early: bool
    amount_cents: int | None
    lines: tuple[tuple[str, int], ...]
    restock: bool
    behaviour: str


@dataclass(frozen=True)
class Order:
    """An order to place. `at_s`: seconds from the beginning; `lines`: (sku, quantity)."""

    at_s: float
    key: str
    user_id: str
    lines: tuple[tuple[str, int], ...]
    token: str
    behaviour: str
    total_amount_cents: int
    cancels: tuple[Cancel, ...] = ()
    refunds: tuple[Refund, ...] = ()


@dataclass(frozen=True)
class Disturbance:
    """A disturbance of a process, a product or the ledger.

    `pick`: from 0 to 1, selects one of a process's workers. `lasts_s`: its duration, if the plan decides it.
    """

    at_s: float
    target: str
    way: str
    pick: float = 0
    lasts_s: float = 0


class Plan:
    """Everything that the seed decides. The same seed and options make the same plan."""

    def __init__(self, options: Options) -> None:
        self._options = options
        chance = self.chance("shop")
        self.products = tuple(
            Product(f"chaos-{number}", chance.randrange(100, 20_000), self._stock(number))
            for number in range(PLENTY + SCARCE)
        )

    def chance(self, purpose: str) -> random.Random:
        """A random source for one purpose, so that a longer list of one thing does not change the others."""
        return random.Random(f"{self._options.seed}:{purpose}")

    def orders(self) -> Iterator[Order]:
        chance, later = self.chance("orders"), self.chance("after the sale")
        prices = {product.sku: product.price_cents for product in self.products}
        for number in range(self._options.orders):
            lines = self._basket(chance)
            order = Order(
                at_s=number / self._options.rate,
                key=f"chaos-{self._options.seed}-{number:06}",
                user_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                lines=lines,
                token=one_of(TOKENS[self._options.payment_gateway], chance),
                behaviour=one_of(BEHAVIOURS, chance),
                total_amount_cents=sum(prices[sku] * quantity for sku, quantity in lines),
            )
            yield order if order.behaviour == GIVES_UP else _with_wishes(order, later)

    def kills(self) -> Iterator[Disturbance]:
        chance = self.chance("kills")
        for at_s in self._times(self._options.kill_every_s, chance):
            victim, way = chance.choice(VICTIMS)
            yield Disturbance(at_s, victim, way, chance.random())

    def restarts(self) -> Iterator[Disturbance]:
        for at_s in self._times(self._options.restart_every_s, self.chance("restarts")):
            yield Disturbance(at_s, "database", "restart")

    def freezes(self) -> Iterator[Disturbance]:
        chance = self.chance("freezes")
        for at_s in self._times(self._options.freeze_every_s, chance):
            yield Disturbance(at_s, chance.choice((*ORCHESTRATORS, *WEBHOOKS)), "freeze")

    def locks(self) -> Iterator[Disturbance]:
        chance = self.chance("locks")
        for at_s in self._times(self._options.lock_every_s, chance):
            sku = chance.choice(self.products[:PLENTY]).sku
            yield Disturbance(at_s, sku, "lock", lasts_s=chance.uniform(*LOCKED_S))

    def hangs(self) -> Iterator[Disturbance]:
        chance = self.chance("hangs")
        for at_s in self._times(self._options.hang_every_s, chance):
            yield Disturbance(at_s, GATEWAY, "hang", lasts_s=chance.uniform(*HANGS_S))

    def receiver_deaths(self) -> Iterator[Disturbance]:
        chance = self.chance("receiver")
        for at_s in self._times(self._options.receiver_every_s, chance):
            yield Disturbance(at_s, "receiver", "die", lasts_s=chance.uniform(*RECEIVER_IS_DOWN_S))

    def poisons(self) -> Iterator[Disturbance]:
        for at_s in self._times(self._options.poison_every_s, self.chance("poisons")):
            yield Disturbance(at_s, "ledger", "poison", lasts_s=MARKED_WITHIN_S)

    def _stock(self, number: int) -> int:
        """Return enough for every order, or so little that it sells out half-way."""
        orders = self._options.orders
        return 100 * orders if number < PLENTY else max(1, orders // 40)

    def _basket(self, chance: random.Random) -> tuple[tuple[str, int], ...]:
        skus = [product.sku for product in self.products]
        weights = [(1 - SCARCE_SHARE) / PLENTY] * PLENTY + [SCARCE_SHARE / SCARCE] * SCARCE
        chosen = chance.choices(skus, weights, k=one_of(LINES, chance))
        return tuple((sku, chance.randint(1, 3)) for sku in chosen)

    @staticmethod
    def _times(every_s: float, chance: random.Random) -> Iterator[float]:
        """One moment in the second half of each interval, so that some orders have begun by the first one."""
        for number in count() if every_s else ():
            yield every_s * (number + 0.5 + chance.random() * 0.5)


def _with_wishes(order: Order, chance: random.Random) -> Order:
    """The same order, with what its client wants afterwards."""
    cancels = tuple(
        Cancel(f"{order.key}-cancel-{number}", chance.random() * CANCEL_WITHIN_S, one_of(AGAIN_AND_AGAIN, chance))
        for number in range(one_of(CANCELS, chance))
    )
    is_early, at_once = chance.random() < EARLY_SHARE, chance.random() < AT_ONCE_SHARE
    after_s = chance.random() * REFUND_WITHIN_S
    refunds = tuple(
        _refund(order, number, kind, after_s if at_once else after_s * (number + 1), is_early, chance)
        for number, kind in enumerate(one_of(REFUNDS, chance))
    )
    return replace(order, cancels=cancels, refunds=refunds)


def _refund(order: Order, number: int, kind: str, after_s: float, is_early: bool, chance: random.Random) -> Refund:
    sku, quantity = chance.choice(order.lines)
    return Refund(
        key=f"{order.key}-refund-{number}",
        after_s=after_s,
        is_early=is_early,
        amount_cents=chance.randint(1, order.total_amount_cents) if kind == AMOUNT else None,
        lines=((sku, chance.randint(1, quantity)),) if kind == PIECES else (),
        restock=kind != AMOUNT and chance.random() < RESTOCK_SHARE,
        behaviour=one_of(AGAIN_AND_AGAIN, chance),
    )


def one_of(choices: tuple[tuple[T, int], ...], chance: random.Random) -> T:
    return chance.choices([choice for choice, _ in choices], [weight for _, weight in choices])[0]
