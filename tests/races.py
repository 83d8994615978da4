"""What the tests of races share: how many there are, how they are set up, and how they end.

`RACES=1000` runs a thousand of each; the default is short. `pytest -s` shows how many ended in which way.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from tests.at_once import at_once
from tests.audit.small_world import SmallWorld

ROUND = 10  # as many orders as one orchestrator claims together
PATIENCE_S = 60  # for a call that does not arrive; only a failing test waits so long


def races(short: int) -> int:
    """How many races to run."""
    return int(os.environ.get("RACES", short))


def rounds(number: int) -> Iterator[int]:
    """Split the races into rounds: the size of each."""
    for begin in range(0, number, ROUND):
        yield min(ROUND, number - begin)


def tell(name: str, ends: Iterable[Any]) -> None:
    """Print how many races ended in which way."""
    counted = Counter(str(end) for end in ends)
    sys.stdout.write(f"\n{name}: {counted.total()} races, {dict(sorted(counted.items()))}\n")


def sell(world: SmallWorld, *products: str, quantity: int = 2) -> str:
    """A completed order."""
    order = placed(world, *products, quantity=quantity)
    world.work()
    assert world.get(f"/orders/{order}")["status"] == "COMPLETED"
    return order


def placed(world: SmallWorld, *products: str, quantity: int = 2) -> str:
    """An order that is authorized and that no orchestrator has claimed yet."""
    return str(world.order(*products, quantity=quantity).json["order_ledger_id"])


def carry_out(world: SmallWorld) -> None:
    """Two orchestrators claim and work at the same time, then one until nothing is left."""
    world.lease_s = PATIENCE_S
    at_once([partial(world.run_once, claimant=name) for name in ("one", "two")])
    world.work()


def meet(world: SmallWorld, parties: int, *calls: str) -> None:
    """Hold these calls to participants until so many have arrived, then deliver them at the same moment."""
    barrier = threading.Barrier(parties, action=world.gates.clear, timeout=PATIENCE_S)
    world.gates.update(dict.fromkeys(calls, barrier.wait))


class Moments:
    """Counts the moments between any two commits of an orchestrator, and starts each act at its moment.

    `world.look = Moments([(3, cancel), (5, refund)])`
    """

    def __init__(self, acts: Sequence[tuple[int, Callable[[], Any]]] = ()) -> None:
        self.count = 0
        self._left = sorted(acts, key=lambda act: act[0])

    def __call__(self) -> None:
        self.count += 1
        while self._left and self._left[0][0] <= self.count:
            self._left.pop(0)[1]()

    def all(self) -> None:
        """Start the acts whose moments did not come."""
        while self._left:
            self()
