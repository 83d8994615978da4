"""The clients: they work concurrently and send each order with its key until it is answered."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

import requests

from holdfast_client import HoldfastClient, HoldfastError, Unavailable
from tests.chaos.clientlog import BEGIN, ClientLog, Recorder
from tests.chaos.plan import AGAIN, GIVES_UP, TWICE, Order

RETRY_FOR_S = 1  # by the client itself; then the order waits for its turn and the buyer serves another one
PATIENCE_S = (2.0, 10.0)  # to connect, and to read
GIVES_UP_AFTER_S = 0.02
COMES_BACK_S = 1.0  # between two attempts at an unanswered order
AGAIN_S = 5.0  # after the answer, for orders that are sent again
CLOSES_WITHIN_S = 3  # then clients that still wait are abandoned
LOOKS_S = (0.5, 1, 2, 4)  # after the answer and between polls; the last one repeats


@dataclass(frozen=True)
class _Buyer:
    patient: HoldfastClient
    impatient: HoldfastClient


_Task = Callable[[_Buyer], None]


class Shop:
    """`url`: of the Edge API. `products`: id by sku. Times are of `time.monotonic()`."""

    def __init__(self, url: str, products: dict[str, str], log: ClientLog, buyers: int) -> None:
        self._url, self._products, self._log = url, products, log
        self._tasks: list[tuple[float, int, _Task]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._busy = 0
        self._closed = self._is_over = False
        self._unanswered: set[str] = set()
        self.begun = self.given_up = 0
        self.trouble: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(buyers)]

    def open(self, orders: Iterable[Order], began_at: float) -> None:
        """Send each order at its time."""
        for order in orders:
            self._at(began_at + order.at_s, lambda buyer, order=order: self._begin(order))
        for thread in self._threads:
            thread.start()

    def begin_no_more(self) -> None:
        """Leave out orders that have not begun; follow the others to their end."""
        with self._changed:
            self._is_over = True

    def replay(self, orders: Iterable[Order]) -> None:
        """Send answered orders once more."""
        for order in orders:
            self._at(0, lambda buyer, order=order: self._place(buyer, order, follow=False))

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + CLOSES_WITHIN_S
        for thread in self._threads:
            if thread.ident:
                thread.join(max(0, deadline - time.monotonic()))

    @property
    def is_idle(self) -> bool:
        """Whether every order has its answer and its end."""
        with self._changed:
            return not self._tasks and not self._busy

    @property
    def unanswered(self) -> int:
        """Orders whose clients still wait for an answer."""
        with self._changed:
            return len(self._unanswered)

    # Tasks of a buyer

    def _begin(self, order: Order) -> None:
        with self._changed:
            if self._is_over:
                return
            self.begun += 1
            self.given_up += order.behaviour == GIVES_UP
            if order.behaviour != GIVES_UP:
                self._unanswered.add(order.key)
        self._log.write(
            BEGIN,
            order.key,
            user_id=order.user_id,
            total_amount_cents=order.total_amount_cents,
            token=order.token,
            behaviour=order.behaviour,
        )
        for _ in range(2 if order.behaviour == TWICE else 1):
            self._at(0, lambda buyer: self._place(buyer, order))

    def _place(self, buyer: _Buyer, order: Order, follow: bool = True) -> None:
        gives_up = order.behaviour == GIVES_UP
        try:
            placed = (buyer.impatient if gives_up else buyer.patient).place_order(
                user_id=order.user_id,
                email="chaos@shop.example",
                items=[{"product_id": self._products[sku], "quantity": quantity} for sku, quantity in order.lines],
                payment_token=order.token,
                idempotency_key=order.key,
            )
        except Unavailable:
            if not gives_up:
                self._in(COMES_BACK_S, lambda buyer: self._place(buyer, order, follow))
            return
        except HoldfastError:
            self._answered(order)  # the log has the answer
            return
        self._answered(order)
        if follow:
            self._in(LOOKS_S[0], lambda buyer: self._look(buyer, placed.order_ledger_id))
            if order.behaviour == AGAIN:
                self._in(AGAIN_S, lambda buyer: self._place(buyer, order, follow=False))

    def _look(self, buyer: _Buyer, order_ledger_id: str, looks: int = 1) -> None:
        try:
            ended = buyer.patient.get_order(order_ledger_id).is_terminal
        except Unavailable:
            ended = False
        except HoldfastError:
            return  # the log has the answer
        if not ended:
            pause = LOOKS_S[min(looks, len(LOOKS_S) - 1)]
            self._in(pause, lambda buyer: self._look(buyer, order_ledger_id, looks + 1))

    def _answered(self, order: Order) -> None:
        with self._changed:
            self._unanswered.discard(order.key)

    # The queue of tasks

    def _in(self, seconds: float, task: _Task) -> None:
        self._at(time.monotonic() + seconds, task)

    def _at(self, due: float, task: _Task) -> None:
        with self._changed:
            heapq.heappush(self._tasks, (due, next(self._numbers), task))
            self._changed.notify()

    def _next(self) -> _Task | None:
        """Wait for the next task; None: the shop is closed."""
        with self._changed:
            while not self._closed:
                left = self._tasks[0][0] - time.monotonic() if self._tasks else None
                if left is not None and left <= 0:
                    self._busy += 1
                    return heapq.heappop(self._tasks)[2]
                self._changed.wait(left)
        return None

    def _work(self) -> None:
        options: dict[str, Any] = {"trust_env": False, "session": self._recorded}
        patient = HoldfastClient(self._url, timeout=PATIENCE_S, retry_for=RETRY_FOR_S, **options)
        impatient = HoldfastClient(self._url, timeout=(2, GIVES_UP_AFTER_S), retry_for=0, **options)
        with patient, impatient:
            while task := self._next():
                try:
                    task(_Buyer(patient, impatient))
                except BaseException as error:
                    self.trouble.append(error)
                finally:
                    with self._changed:
                        self._busy -= 1

    def _recorded(self) -> requests.Session:
        session = requests.Session()
        session.mount("http://", Recorder(self._log))
        return session
