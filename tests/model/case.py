"""One order everywhere: what the client, the ledger and each participant have of it."""

from __future__ import annotations

from typing import NamedTuple

from domain.ids import order_id_for
from domain.states import Status, authorize_key
from tests.model.books import Books, Movement, Order, Payment, Reservation, find
from tests.model.ledger import Entry
from tests.model.refunds import Refund
from tests.model.state import Client


class Case(NamedTuple):
    """One order everywhere: what the ledger and each participant have of it."""

    client: Client
    entry: Entry | None
    payments: tuple[Payment, ...]
    order: Order | None
    reservation: Reservation | None
    refunds: tuple[Refund, ...] = ()
    movements: tuple[Movement, ...] = ()
    """The refunds of its payments, in the books of the payments service."""
    returned: tuple[int, ...] = ()
    """For each of its refunds, the pieces that went back into stock."""

    @property
    def status(self) -> Status | None:
        return self.entry.status if self.entry else None

    @property
    def reached(self) -> str:
        """The status, or during the compensation the one it began at."""
        if self.entry and self.entry.status == Status.COMPENSATING:
            return self.entry.compensating_from
        return self.entry.status if self.entry else ""

    @property
    def kept(self) -> int:
        """Cents captured and not refunded."""
        return sum(payment.captured - payment.refunded for payment in self.payments)

    @property
    def is_held(self) -> bool:
        return any(payment.status == "AUTHORIZED" for payment in self.payments)

    @property
    def is_reserved(self) -> bool:
        return self.reservation is not None and self.reservation.status == "RESERVED"

    @property
    def order_status(self) -> str:
        return self.order.status if self.order else "not there"


def case_of(client: Client, entry: Entry | None, books: Books, refunds: tuple[Refund, ...] = ()) -> Case:
    """A payment is found by key, because the gateway has it before the ledger does, and by id."""
    order_id = order_id_for(client.id)
    keys = (authorize_key(client.id), entry.payment) if entry else ()
    payments = tuple(payment for payment in books.payments if payment.key in keys or payment.id in keys)
    ids = [payment.id for payment in payments]
    movements = tuple(movement for movement in books.movements if movement.payment in ids)
    returned = tuple(sum(row.quantity for row in books.returned if row.reference == refund.id) for refund in refunds)
    order, reservation = find(books.orders, order_id), find(books.reservations, order_id)
    return Case(client, entry, payments, order, reservation, refunds, movements, returned)
