"""The clients: they work concurrently and send each order with its key until it is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from holdfast_client import HoldfastError, Unavailable
from tests.chaos.after_sale import AGAIN_S, COMES_BACK_S, LOOKS_S, AfterSale
from tests.chaos.buyers import Buyer, Buyers
from tests.chaos.clientlog import BEGIN, ClientLog
from tests.chaos.plan import AGAIN, GIVES_UP, TWICE, Order


class Shop:
    """`url`: of the Edge API. `products`: id by sku. Times are of `time.monotonic()`."""

    def __init__(self, url: str, products: dict[str, str], log: ClientLog, buyers: int) -> None:
        self._products, self._log = products, log
        self._buyers = Buyers(url, log, buyers)
        self._after_sale = AfterSale(self._buyers, products, log)
        self._lock = threading.Lock()
        self._is_over = False
        self._unanswered: set[str] = set()
        self.begun = self.given_up = 0
        self.trouble = self._buyers.trouble

    def open(self, orders: Iterable[Order], began_at: float) -> None:
        """Send each order at its time."""
        for order in orders:
            self._buyers.at(began_at + order.at_s, lambda buyer, order=order: self._begin(order))
        self._buyers.start()

    def begin_no_more(self) -> None:
        """Leave out orders that have not begun; follow the others to their end."""
        with self._lock:
            self._is_over = True

    def replay(self, orders: Iterable[Order]) -> None:
        """Send answered orders once more, with their cancellations and refunds."""
        for order in orders:
            self._buyers.at(0, lambda buyer, order=order: self._place(buyer, order, follow=False))
            self._after_sale.replay(order)

    def close(self) -> None:
        self._buyers.close()

    @property
    def is_idle(self) -> bool:
        """Whether every order, cancellation and refund has its answer and its end."""
        return self._buyers.are_idle

    @property
    def unanswered(self) -> int:
        """Orders whose clients still wait for an answer."""
        with self._lock:
            return len(self._unanswered)

    def _begin(self, order: Order) -> None:
        with self._lock:
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
            self._buyers.at(0, lambda buyer: self._place(buyer, order))
        self._after_sale.cancel(order)

    def _place(self, buyer: Buyer, order: Order, follow: bool = True) -> None:
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
                self._buyers.after(COMES_BACK_S, lambda buyer: self._place(buyer, order, follow))
            return
        except HoldfastError:
            self._answered(order)  # the log has the answer
            return
        self._answered(order)
        if follow:
            self._after_sale.refund_early(order, placed.order_ledger_id)
            self._buyers.after(LOOKS_S[0], lambda buyer: self._look(buyer, order, placed.order_ledger_id))
            if order.behaviour == AGAIN:
                self._buyers.after(AGAIN_S, lambda buyer: self._place(buyer, order, follow=False))

    def _look(self, buyer: Buyer, order: Order, order_ledger_id: str, looks: int = 1) -> None:
        try:
            seen = buyer.patient.get_order(order_ledger_id)
        except Unavailable:
            seen = None
        except HoldfastError:
            return  # the log has the answer
        if seen and seen.is_completed:
            self._after_sale.refund(order, order_ledger_id)
        if not (seen and seen.is_terminal):
            pause = LOOKS_S[min(looks, len(LOOKS_S) - 1)]
            self._buyers.after(pause, lambda buyer: self._look(buyer, order, order_ledger_id, looks + 1))

    def _answered(self, order: Order) -> None:
        with self._lock:
            self._unanswered.discard(order.key)
