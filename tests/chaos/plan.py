"""What a run will do, made from its seed alone: the shop, the orders, and what is done to the processes when."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from tests.chaos.options import Options
from tests.system.stack import WEB_PROCESSES

T = TypeVar("T")
ORCHESTRATORS = ("orchestrator.1", "orchestrator.2")
PLENTY, SCARCE = 8, 3  # products of each kind
SCARCE_SHARE = 0.05  # of all lines; one such line, once it is sold out, refuses the whole basket
TOKENS = (  # with how often they are meant to come in a hundred orders
    ("tok_visa", 84),
    ("tok_fail_capture", 8),
    ("tok_decline_insufficient", 3),
    ("tok_decline_expired", 3),
    ("tok_decline_stolen", 2),
)
PATIENT, TWICE, AGAIN, GIVES_UP = "patient", "twice at once", "again later", "gives up"
MANNERS = ((PATIENT, 74), (TWICE, 10), (AGAIN, 10), (GIVES_UP, 6))
LINES = ((1, 60), (2, 20), (3, 12), (5, 6), (11, 2))  # in a basket; more than there are products: some come twice
# How a process is killed. The master alone: its workers are orphans that still hold the port for a moment.
WHOLE, MASTER, WORKER = "process", "master", "worker"
VICTIMS = (
    *((name, WHOLE) for name in (*WEB_PROCESSES, *ORCHESTRATORS)),
    *((name, MASTER) for name in WEB_PROCESSES),
    *((name, WORKER) for name in WEB_PROCESSES),
    *((name, WORKER) for name in WEB_PROCESSES),  # twice, as each has two of them
)


@dataclass(frozen=True)
class Product:
    sku: str
    price_cents: int
    stock: int


@dataclass(frozen=True)
class Order:
    """An order as its client means it. `at_s`: seconds from the storm's beginning; `lines`: (sku, quantity)."""

    at_s: float
    key: str
    user_id: str
    lines: tuple[tuple[str, int], ...]
    token: str
    manner: str
    total_amount_cents: int


@dataclass(frozen=True)
class Blow:
    """What is done to a process. `pick`: in 0 to 1, which of its workers."""

    at_s: float
    victim: str
    way: str
    pick: float


class Plan:
    """Everything that a seed decides. Two plans of one seed and the same options are the same."""

    def __init__(self, options: Options) -> None:
        self._options = options
        chance = self.chance("shop")
        self.products = tuple(
            Product(f"chaos-{number}", chance.randrange(100, 20_000), self._stock(number))
            for number in range(PLENTY + SCARCE)
        )

    def chance(self, purpose: str) -> random.Random:
        """A source of its own for each purpose, so that a longer list of one thing does not change the others."""
        return random.Random(f"{self._options.seed}:{purpose}")

    def orders(self) -> Iterator[Order]:
        chance = self.chance("orders")
        prices = {product.sku: product.price_cents for product in self.products}
        for number in range(self._options.orders):
            lines = self._basket(chance)
            yield Order(
                at_s=number / self._options.rate,
                key=f"chaos-{self._options.seed}-{number:06}",
                user_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                lines=lines,
                token=_one_of(TOKENS, chance),
                manner=_one_of(MANNERS, chance),
                total_amount_cents=sum(prices[sku] * quantity for sku, quantity in lines),
            )

    def kills(self) -> Iterator[Blow]:
        chance = self.chance("kills")
        for at_s in self._times(self._options.kill_every_s, chance):
            victim, way = chance.choice(VICTIMS)
            yield Blow(at_s, victim, way, chance.random())

    def restarts(self) -> Iterator[Blow]:
        for at_s in self._times(self._options.restart_every_s, self.chance("restarts")):
            yield Blow(at_s, "database", "restart", 0)

    def freezes(self) -> Iterator[Blow]:
        chance = self.chance("freezes")
        for at_s in self._times(self._options.freeze_every_s, chance):
            yield Blow(at_s, chance.choice(ORCHESTRATORS), "freeze", 0)

    def _stock(self, number: int) -> int:
        """Enough for every order there is; or so little that it is sold out half-way."""
        orders = self._options.orders
        return 100 * orders if number < PLENTY else max(1, orders // 40)

    def _basket(self, chance: random.Random) -> tuple[tuple[str, int], ...]:
        skus = [product.sku for product in self.products]
        weights = [(1 - SCARCE_SHARE) / PLENTY] * PLENTY + [SCARCE_SHARE / SCARCE] * SCARCE
        chosen = chance.choices(skus, weights, k=_one_of(LINES, chance))
        return tuple((sku, chance.randint(1, 3)) for sku in chosen)

    @staticmethod
    def _times(every_s: float, chance: random.Random) -> Iterator[float]:
        """One moment in each interval; the first not before half of it, so that there is something to hurt."""
        for number in count() if every_s else ():
            yield every_s * (number + 0.5 + chance.random() * 0.5)


def _one_of(choices: tuple[tuple[T, int], ...], chance: random.Random) -> T:
    return chance.choices([choice for choice, _ in choices], [weight for _, weight in choices])[0]
