"""What must hold: the rules of the audit, under its names, and two more: what clients were told, and who owns an entry.

A rule returns what is wrong, or None. That nothing is stuck is checked when everything is explored: from every state an
end can be reached without another fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from domain.states import ABANDONED, LEGAL_MOVES, Status, authorize_key
from tests.model.books import Books
from tests.model.case import Case, case_of
from tests.model.ledger import PRICE, Entry
from tests.model.state import World

NOTHING_LEFT = (Status.FAILED, Status.AUTHORIZATION_FAILED)
AWAITING = (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_FAILED)


def completed(case: Case) -> str | None:
    """COMPLETED: confirmed, captured once, and reserved."""
    if case.status != Status.COMPLETED:
        return None
    if case.order_status != "CONFIRMED":
        return f"COMPLETED, and the order is {case.order_status}"
    captures = [payment.captured for payment in case.payments if payment.captured]
    if captures != [PRICE] or case.kept != PRICE:
        return f"COMPLETED, and of {PRICE} cents {sum(captures)} are captured and {case.kept} are kept"
    return None if case.is_reserved else "COMPLETED, and nothing is reserved"


def nothing_left(case: Case) -> str | None:
    """FAILED and AUTHORIZATION_FAILED: nothing is held, kept, reserved or left open."""
    if case.status not in NOTHING_LEFT:
        return None
    left = [
        *(["a hold is left"] if case.is_held else []),
        *([f"{case.kept} cents are kept"] if case.kept else []),
        *(["stock is reserved"] if case.is_reserved else []),
        *([f"the order is {case.order_status}"] if case.order_status not in ("not there", "CANCELLED") else []),
    ]
    return f"{case.status}, and {', '.join(left)}" if left else None


def confirmed_unpaid(case: Case) -> str | None:
    """A confirmed order is paid, and its saga knows that it may be confirmed."""
    if case.order_status != "CONFIRMED":
        return None
    is_on_its_way_back = (
        case.status == Status.COMPENSATING
        and case.reached == Status.PAYMENT_CAPTURED
        and case.entry is not None
        and "cancel_order" not in case.entry.undone
    )
    if case.status not in (Status.PAYMENT_CAPTURED, Status.COMPLETED) and not is_on_its_way_back:
        return f"the order is CONFIRMED, and its entry is {case.status or 'not there'}"
    captured = sum(payment.captured for payment in case.payments)
    return None if captured >= PRICE else f"the order is CONFIRMED, and {captured} cents are captured"


def money(case: Case) -> str | None:
    """Money is taken only when the saga has got that far, and is returned when the saga says so."""
    if case.entry is None or case.entry.status.is_terminal:
        return None
    is_early = case.reached not in (Status.INVENTORY_RESERVED, Status.PAYMENT_CAPTURED)
    if case.kept and (is_early or "void_payment" in case.entry.undone):
        return f"{case.status}, and {case.kept} cents are kept"
    wrong = [payment.captured for payment in case.payments if payment.captured != PRICE]
    if case.reached == Status.PAYMENT_CAPTURED and wrong:
        return f"was PAYMENT_CAPTURED, and {wrong[0]} cents are captured"
    return None


def keys(case: Case) -> str | None:
    """An order has one payment: the one under its key."""
    if len(case.payments) > 1:
        return f"one order has {len(case.payments)} payments"
    known = case.entry.payment if case.entry else ""
    under_its_key = [each.id for each in case.payments if case.entry and each.key == authorize_key(case.entry.id)]
    return "the entry's payment is not the one under its key" if known and [known] != under_its_key else None


def outbox(case: Case) -> str | None:
    """The event is written with AUTHORIZED and closed with the end."""
    if case.entry is None:
        return None
    right = {Status.COMPLETED: "PROCESSED", Status.FAILED: "FAILED"}.get(case.entry.status, "PENDING")
    right = "" if case.entry.status in AWAITING else right
    event = case.entry.event
    return None if event == right else f"{case.status}, and its event is {event or 'missing'}"


def amounts(case: Case) -> str | None:
    """Captured is at most what was held, refunded at most what was captured, and nothing is captured after a void."""
    for payment in case.payments:
        if payment.captured > payment.amount:
            return f"{payment.captured} cents are captured of a hold of {payment.amount}"
        if payment.refunded > payment.captured:
            return f"{payment.refunded} cents are refunded of {payment.captured}"
        if payment.status == "VOIDED" and payment.captured:
            return "a payment is captured and voided"
    return None


def tombstones_and_orphans(case: Case) -> str | None:
    """Nothing is there that no entry asked for, and what was undone is refused."""
    return _orphan(case) or (_not_undone(case, case.entry) if case.entry else None)


def _orphan(case: Case) -> str | None:
    if case.order_status in ("CREATED", "CONFIRMED") and case.status in (None, Status.AWAITING_AUTHORIZATION):
        return f"the order is {case.order_status}, and no authorized entry asked for it"
    if case.is_reserved and not (case.entry and case.entry.has_order):
        return "stock is reserved, and no entry has this order"
    return None


def _not_undone(case: Case, entry: Entry) -> str | None:
    if "release_inventory" in entry.undone and (case.reservation is None or case.is_reserved):
        return "release_inventory is done, and a reservation is not refused"
    if "cancel_order" in entry.undone and case.order_status != "CANCELLED":
        return f"cancel_order is done, and the order is {case.order_status}"
    if "void_payment" in entry.undone and (case.is_held or case.kept):
        return "void_payment is done, and the payment is held or kept"
    is_abandoned = (entry.status, entry.failure) == (Status.AUTHORIZATION_FAILED, ABANDONED)
    if is_abandoned and not any(payment.status in ("VOIDED", "DECLINED") for payment in case.payments):
        return "abandoned, and its authorization is not refused"
    return None


def promised(case: Case) -> str | None:
    """What the client was told is true, and stays true. An accepted order has its money."""
    if case.told == 202 and (case.status is None or case.status in AWAITING):
        return f"the client was told 202, and the entry is {case.status or 'not there'}"
    if case.told in (402, 409) and case.status != Status.AUTHORIZATION_FAILED:
        return f"the client was told {case.told}, and the entry is {case.status}"
    is_accepted = case.status in (Status.AUTHORIZED, Status.ORDER_CREATED, Status.INVENTORY_RESERVED)
    if is_accepted and not (case.is_held or case.kept):
        return f"{case.status}, and no money is held"
    return None


# The rules about one order, with their numbers and names in the view audit_checks.
OF_THE_AUDIT: dict[tuple[int, str], Callable[[Case], str | None]] = {
    (2, "completed"): completed,
    (3, "nothing_left"): nothing_left,
    (4, "confirmed_unpaid"): confirmed_unpaid,
    (6, "money"): money,
    (7, "keys"): keys,
    (8, "outbox"): outbox,
    (10, "amounts"): amounts,
    (11, "tombstones_and_orphans"): tombstones_and_orphans,
}
RULES = {**{name: rule for (_, name), rule in OF_THE_AUDIT.items()}, "promised": promised}


def wrong_state(world: World) -> str | None:
    """The first rule that a state breaks, with what is wrong."""
    for client, entry in zip(world.clients, world.entries, strict=True):
        if reason := _wrong_case(client.id, client.told, entry, world.books):
            return reason
    if reason := _wrong_books(_known(world), world.books):
        return reason
    claims = [(thread.order, thread.seen.claim_number) for thread in world.threads]
    return "owners: two threads hold the same claim number" if len(set(claims)) < len(claims) else None


def broken_rules(world: World) -> set[str]:
    """The names of all rules that the books break, without those about steps and threads."""
    reasons = list(_reasons_of_books(_known(world), world.books))
    for client, entry in zip(world.clients, world.entries, strict=True):
        reasons += _reasons(case_of(client.id, client.told, entry, world.books))
    return {reason.partition(":")[0] for reason in reasons}


class Known(NamedTuple):
    """What matters of an entry to the sums over all orders."""

    status: Status
    keys: tuple[str, str]
    """The key and the id of its payment."""


def _known(world: World) -> tuple[Known, ...]:
    return tuple(
        Known(entry.status, (authorize_key(entry.id), entry.payment)) for entry in world.entries if entry is not None
    )


@cache
def _wrong_books(known: tuple[Known, ...], books: Books) -> str | None:
    return next(_reasons_of_books(known, books), None)


def _reasons_of_books(known: tuple[Known, ...], books: Books) -> Iterator[str]:
    """The rules about all orders together."""
    reserved = sum(row.quantity for row in books.reservations if row.status == "RESERVED")
    if books.stock < 0 or books.stock != books.received - reserved:
        yield f"stock: the stock is {books.stock}, of {books.received} received {reserved} are reserved"
    for payment in books.payments:
        is_real = payment.status == "AUTHORIZED" or payment.captured != payment.refunded
        if is_real and not any(payment.key in entry.keys or payment.id in entry.keys for entry in known):
            yield "tombstones_and_orphans: a payment is held or kept, and no entry asked for it"
    taken = sum(payment.captured - payment.refunded for payment in books.payments)
    accounted = sum(_accounted(entry, books) for entry in known)
    if taken != accounted:
        yield f"money: {taken} cents are kept, and orders account for {accounted}"


def _accounted(entry: Known, books: Books) -> int:
    """Cents that an order may keep: its price when it is COMPLETED, and until it ends what it has taken."""
    if entry.status == Status.COMPLETED:
        return PRICE
    if entry.status.is_terminal:
        return 0
    own = (payment for payment in books.payments if payment.key in entry.keys or payment.id in entry.keys)
    return sum(payment.captured - payment.refunded for payment in own)


@cache
def _wrong_case(id_: str, told: int, entry: Entry | None, books: Books) -> str | None:
    return next(_reasons(case_of(id_, told, entry, books)), None)


def _reasons(case: Case) -> Iterator[str]:
    for name, rule in RULES.items():
        if reason := rule(case):
            yield f"{name}: {reason}"


def wrong_step(before: World, after: World) -> str | None:
    """History: an entry moves as the state machine allows. Owners: nobody claims an entry during another's lease."""
    for was, now in zip(before.entries, after.entries, strict=True):
        if was is not now and was is not None and (reason := _wrong_move(was, now)):
            return reason
    return None


@cache
def _wrong_move(was: Entry, now: Entry | None) -> str | None:
    if now is None:
        return "history: an entry was deleted"
    if was.status != now.status and now.status not in LEGAL_MOVES[was.status]:
        return f"history: {was.status} may not become {now.status}"
    is_forward = (was.status, now.status) == (Status.COMPENSATING, Status.COMPLETED)
    if is_forward and (was.compensating_from != Status.PAYMENT_CAPTURED or was.undone):
        return f"history: {was.status} from {was.compensating_from} may not become COMPLETED"
    if now.claim_number < was.claim_number or not set(was.undone) <= set(now.undone):
        return "history: the claim number or the undone steps are fewer than before"
    if now.claim_number > was.claim_number and was.is_leased:
        return f"owners: claim {now.claim_number} was made during the lease of claim {was.claim_number}"
    return None
