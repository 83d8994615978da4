"""What clients want of an order that they have sent: that it is cancelled, or that money is returned."""

from __future__ import annotations

import threading
from typing import Any

from holdfast_client import HoldfastError, Unavailable
from tests.chaos.buyers import Buyer, Buyers
from tests.chaos.clientlog import WISH, ClientLog
from tests.chaos.plan import AGAIN, TWICE, Cancel, Order, Refund

COMES_BACK_S = 1.0  # between two attempts at an unanswered request
AGAIN_S = 3.0  # after the answer, for requests that are sent again
LOOKS_S = (0.5, 1, 2, 4)  # after the answer and between polls; the last one repeats
REASON = "requested_by_customer"


class AfterSale:
    """Cancellations and refunds, each with its key, until they are answered. `products`: id by sku."""

    def __init__(self, buyers: Buyers, products: dict[str, str], log: ClientLog) -> None:
        self._buyers, self._products, self._log = buyers, products, log
        self._lock = threading.Lock()
        self._ids: dict[str, str] = {}
        self._wished: set[str] = set()

    def cancel(self, order: Order) -> None:
        """Cancel an order that is just being sent."""
        for cancel in order.cancels:
            self._log.write(WISH, cancel.key, order=order.key, what="cancel")
            for _ in range(2 if cancel.behaviour == TWICE else 1):
                self._buyers.after(cancel.after_s, lambda buyer, cancel=cancel: self._cancel(buyer, order, cancel))

    def refund_early(self, order: Order, order_ledger_id: str) -> None:
        """Ask for refunds that do not wait for the order's end."""
        self._begin(order, order_ledger_id, [refund for refund in order.refunds if refund.is_early])

    def refund(self, order: Order, order_ledger_id: str) -> None:
        """Ask for the refunds of a completed order."""
        self._begin(order, order_ledger_id, [refund for refund in order.refunds if not refund.is_early])

    def replay(self, order: Order) -> None:
        """Send once more what was answered."""
        with self._lock:
            order_ledger_id = self._ids.get(order.key)
            refunds = [refund for refund in order.refunds if refund.key in self._wished]
        for cancel in order.cancels:
            self._buyers.at(0, lambda buyer, cancel=cancel: self._cancel(buyer, order, cancel, is_last=True))
        for refund in refunds if order_ledger_id else ():
            self._buyers.at(
                0, lambda buyer, refund=refund: self._refund(buyer, str(order_ledger_id), refund, is_last=True)
            )

    def _begin(self, order: Order, order_ledger_id: str, refunds: list[Refund]) -> None:
        with self._lock:  # an order that is sent twice is followed twice
            self._ids[order.key] = order_ledger_id
            new = [refund for refund in refunds if refund.key not in self._wished]
            self._wished |= {refund.key for refund in new}
        for refund in new:
            self._log.write(WISH, refund.key, order=order.key, what="refund", asked=self._asked(refund))
            for _ in range(2 if refund.behaviour == TWICE else 1):
                self._buyers.after(
                    refund.after_s, lambda buyer, refund=refund: self._refund(buyer, order_ledger_id, refund)
                )

    def _asked(self, refund: Refund) -> dict[str, Any]:
        items = [{"product_id": self._products[sku], "quantity": quantity} for sku, quantity in refund.lines]
        return {"amount_cents": refund.amount_cents, "items": items or None, "restock": refund.restock}

    def _cancel(self, buyer: Buyer, order: Order, cancel: Cancel, *, is_last: bool = False) -> None:
        """The order's answer may not have come yet, so it is found by its key."""
        try:
            found = next(buyer.patient.list_orders(client_request_id=order.key), None)
            if found is None:
                raise Unavailable("The order has not arrived yet.")
            buyer.patient.cancel_order(found.order_ledger_id, REASON, idempotency_key=cancel.key)
        except Unavailable:
            self._buyers.after(COMES_BACK_S, lambda buyer: self._cancel(buyer, order, cancel, is_last=is_last))
            return
        except HoldfastError:
            pass  # the log has the answer
        if cancel.behaviour == AGAIN and not is_last:
            self._buyers.after(AGAIN_S, lambda buyer: self._cancel(buyer, order, cancel, is_last=True))

    def _refund(self, buyer: Buyer, order_ledger_id: str, refund: Refund, *, is_last: bool = False) -> None:
        try:
            made = buyer.patient.refund(
                order_ledger_id, reason=REASON, idempotency_key=refund.key, **self._asked(refund)
            )
        except Unavailable:
            self._buyers.after(
                COMES_BACK_S, lambda buyer: self._refund(buyer, order_ledger_id, refund, is_last=is_last)
            )
            return
        except HoldfastError:
            made = None  # the log has the answer
        if refund.behaviour == AGAIN and not is_last:
            self._buyers.after(AGAIN_S, lambda buyer: self._refund(buyer, order_ledger_id, refund, is_last=True))
        if made:
            self._buyers.after(LOOKS_S[0], lambda buyer: self._look(buyer, str(made.refund_id)))

    def _look(self, buyer: Buyer, refund_id: str, looks: int = 1) -> None:
        try:
            has_ended = buyer.patient.get_refund(refund_id).is_terminal
        except Unavailable:
            has_ended = False
        except HoldfastError:
            return  # the log has the answer
        if not has_ended:
            pause = LOOKS_S[min(looks, len(LOOKS_S) - 1)]
            self._buyers.after(pause, lambda buyer: self._look(buyer, refund_id, looks + 1))
