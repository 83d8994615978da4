"""What must hold: the rules of the audit, under its names, and what it cannot see.

That is what clients were told, whether a cancel wins, and who owns an entry.

A rule returns what is wrong, or None. That nothing is stuck is checked when everything is explored: from every state an
end can be reached without another fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from domain.events import EventType
from domain.refunds import LEGAL_MOVES as REFUND_MOVES
from domain.refunds import RefundStatus, payment_key
from domain.states import ABANDONED, CANCELLED, LEGAL_MOVES, Status, authorize_key
from tests.model.books import Books, find
from tests.model.case import Case, case_of
from tests.model.ledger import PIECES, PRICE, PRODUCT, Entry, Event
from tests.model.refunds import Refund
from tests.model.state import REFUND, Client, World

NOTHING_LEFT = (Status.FAILED, Status.AUTHORIZATION_FAILED)
AWAITING = (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_FAILED)
MAY_COMPLETE = ("", Status.PAYMENT_CAPTURED, Status.COMPENSATING)
"""When a cancel may come too late: the confirm may be on its way. Empty: there was no cancel."""
MONEY_IS_BACK = (RefundStatus.PAYMENT_REFUNDED, RefundStatus.RESTOCKED, RefundStatus.SUCCEEDED)
REFUND_EVENTS = {
    RefundStatus.SUCCEEDED: EventType.REFUND_SUCCEEDED,
    RefundStatus.FAILED: EventType.REFUND_FAILED,
}
ENDS = frozenset(EventType) - {EventType.ORDER_AUTHORIZED, *REFUND_EVENTS.values()}
LEGAL_EVENTS = {
    ("", EventType.ORDER_AUTHORIZED, Status.AUTHORIZED),
    ("", EventType.ORDER_AUTHORIZATION_FAILED, Status.AUTHORIZATION_FAILED),
    ("", EventType.ORDER_CANCELLED, Status.AUTHORIZATION_FAILED),
    (EventType.ORDER_AUTHORIZED, EventType.ORDER_COMPLETED, Status.COMPLETED),
    (EventType.ORDER_AUTHORIZED, EventType.ORDER_FAILED, Status.FAILED),
    (EventType.ORDER_AUTHORIZED, EventType.ORDER_CANCELLED, Status.FAILED),
    *(
        (before, refund, Status.COMPLETED)
        for before in (EventType.ORDER_COMPLETED, *REFUND_EVENTS.values())
        for refund in REFUND_EVENTS.values()
    ),
}
"""What may follow what, and with which status of the order: the view audit_legal_events."""


def completed(case: Case) -> str | None:
    """COMPLETED: confirmed, captured once, and reserved."""
    if case.status != Status.COMPLETED:
        return None
    if case.order_status != "CONFIRMED":
        return f"COMPLETED, and the order is {case.order_status}"
    captures = [payment.captured for payment in case.payments if payment.captured]
    if captures != [PRICE]:
        return f"COMPLETED, and of {PRICE} cents {sum(captures)} are captured"
    if case.entry and not case.entry.refunded <= sum(captures) - case.kept <= case.entry.reserved:
        asked = f"its refunds returned {case.entry.refunded} and reserve {case.entry.reserved}"
        return f"COMPLETED, and of {PRICE} cents {case.kept} are kept, and {asked}"
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
        if payment.refunded + payment.pending > payment.captured:
            return f"{payment.refunded + payment.pending} cents are refunded or pending of {payment.captured}"
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


def events(case: Case) -> str | None:
    """Each change that a client is told of has its event, in a legal sequence."""
    entry, walk = case.entry, case.entry.events if case.entry else ()
    if entry is None:
        return None
    if (entry.status == Status.AWAITING_AUTHORIZATION) != (not walk):
        return f"{entry.status}, and its events are {_listed(walk)}"
    for before, event in pairwise(walk):
        if (before.type, *event) not in LEGAL_EVENTS:
            return f"{event.type} with status {event.status} after {before.type}"
    if walk and ("", *walk[0]) not in LEGAL_EVENTS:
        return f"begins with {walk[0].type} with status {walk[0].status}"
    ended = min((event.type for event in walk if event.type in ENDS), default="")
    return None if ended == _must_end(entry) else f"{entry.status}, and its events are {_listed(walk)}"


def _listed(walk: tuple[Event, ...]) -> str:
    return ", ".join(event.type for event in walk) or "missing"


def _must_end(entry: Entry) -> str:
    if entry.status == Status.COMPLETED:
        return EventType.ORDER_COMPLETED
    if entry.status not in NOTHING_LEFT:
        return ""
    if entry.failure == CANCELLED:
        return EventType.ORDER_CANCELLED
    return EventType.ORDER_FAILED if entry.status == Status.FAILED else EventType.ORDER_AUTHORIZATION_FAILED


def refunds(case: Case) -> str | None:
    """An order's sums follow from its refunds. Each refund has one movement at most, and its pieces return once."""
    if case.entry is None:
        return None
    wrong_refunds = (_wrong_refund(case, refund) for refund in case.refunds)
    return (
        _wrong_sums(case, case.entry)
        or next((reason for reason in wrong_refunds if reason), None)
        or next((reason for pair in zip(case.refunds, case.returned, strict=True) if (reason := _pieces(*pair))), None)
        or _not_asked_for(case)
        or _wrong_refund_events(case)
    )


def _wrong_sums(case: Case, entry: Entry) -> str | None:
    open_or_done = [each for each in case.refunds if each.status != RefundStatus.FAILED]
    returned = sum(each.amount for each in case.refunds if each.status == RefundStatus.SUCCEEDED)
    reserved, pieces = sum(each.amount for each in open_or_done), sum(each.pieces for each in open_or_done)
    if case.refunds and entry.status != Status.COMPLETED:
        return f"{entry.status}, with {len(case.refunds)} refunds"
    if entry.refunded != returned:
        return f"refunded are {entry.refunded}, and the succeeded refunds add up to {returned}"
    if entry.reserved != reserved or entry.reserved > PRICE:
        return f"reserved are {entry.reserved} of {PRICE}, and the refunds add up to {reserved}"
    if entry.refunded_pieces != pieces or pieces > PIECES:
        return f"refunded are {entry.refunded_pieces} pieces of {PIECES}, and the refunds add up to {pieces}"
    return None


def _wrong_refund(case: Case, refund: Refund) -> str | None:
    movement = find(case.movements, payment_key(refund.id))
    status = movement.status if movement else "not in the books"
    if refund.status in MONEY_IS_BACK and status != "REFUNDED":
        return f"a refund is {refund.status}, and its movement is {status}"
    if refund.status == RefundStatus.FAILED and movement:
        return f"a refund is FAILED, and its movement is {status}"
    if movement and (movement.amount, movement.payment) != (refund.amount, refund.payment):
        return f"a refund is for {refund.amount}, and its movement for {movement.amount}"
    return None


def _pieces(refund: Refund, returned: int) -> str | None:
    if not refund.is_restocked:
        return None
    right = {0}
    if PRODUCT in refund.restocked:
        right = {refund.pieces}
    elif PRODUCT in refund.not_restocked or refund.status == RefundStatus.PAYMENT_REFUNDED:
        right = {0, refund.pieces}
    elif refund.status in MONEY_IS_BACK:
        right = set()
    if returned in right:
        return None
    return f"a refund is {refund.status}, and {returned} of its {refund.pieces} pieces went back into stock"


def _not_asked_for(case: Case) -> str | None:
    keys_ = {payment_key(refund.id) for refund in case.refunds}
    others = [movement.amount for movement in case.movements if movement.key not in keys_]
    return (
        f"{others[0]} cents are refunded, and no refund asked for it"
        if case.status == Status.COMPLETED and others
        else None
    )


def _wrong_refund_events(case: Case) -> str | None:
    """Each refund that has ended has its event."""
    told = Counter(event.type for event in case.entry.events if event.type not in ENDS) if case.entry else Counter()
    ended = Counter(refund.status for refund in case.refunds)
    for status, type_ in REFUND_EVENTS.items():
        if told[type_] != ended[status]:
            return f"{ended[status]} refunds are {status}, and there are {told[type_]} events {type_}"
    return None


def promised(case: Case) -> str | None:
    """What the client was told is true, and stays true. An accepted order has its money."""
    told = case.client.told
    if told == 202 and (case.status is None or case.status in AWAITING):
        return f"the client was told 202, and the entry is {case.status or 'not there'}"
    if told in (402, 409) and case.status != Status.AUTHORIZATION_FAILED:
        return f"the client was told {told}, and the entry is {case.status}"
    is_accepted = case.status in (Status.AUTHORIZED, Status.ORDER_CREATED, Status.INVENTORY_RESERVED)
    if is_accepted and not (case.is_held or case.kept):
        return f"{case.status}, and no money is held"
    return None


def cancelled(case: Case) -> str | None:
    """A cancel wins until the order may be confirmed, and the client's answer agrees with the end."""
    entry, client = case.entry, case.client
    if entry is None:
        return None
    if 202 in client.told_of_cancel and not entry.is_cancelled:
        return "the client was told that its order will be cancelled, and nobody has noted it"
    if 409 in client.told_of_cancel and not entry.status.is_terminal:
        return f"the client was told that its order has ended, and the entry is {entry.status}"
    if entry.status == Status.COMPLETED and client.cancelled_at not in MAY_COMPLETE:
        return f"cancelled when it was {client.cancelled_at}, and the entry is COMPLETED"
    if entry.status in NOTHING_LEFT and entry.is_cancelled and entry.failure != CANCELLED:
        return f"cancelled, and the entry is {entry.status} because of {entry.failure}"
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
    (12, "events"): events,
    (13, "refunds"): refunds,
}
ONLY_IN_THE_MODEL = {"promised": promised, "cancelled": cancelled}
RULES = {**{name: rule for (_, name), rule in OF_THE_AUDIT.items()}, **ONLY_IN_THE_MODEL}


def wrong_state(world: World) -> str | None:
    """The first rule that a state breaks, with what is wrong."""
    for client, entry, refunds_ in _orders(world):
        if reason := _wrong_case(_without_requests(client), entry, refunds_, world.books):
            return reason
    if reason := _wrong_books(_known(world), world.books):
        return reason
    for wanted, refund in zip(world.wanted, world.refunds, strict=True):
        if wanted.told and (wanted.told == 202) != (refund is not None):
            return f"promised: the client was told {wanted.told}, and the refund is {refund and refund.status}"
    claims = [(thread.kind == REFUND, thread.order, thread.seen.claim_number) for thread in world.threads]
    return "owners: two threads hold the same claim number" if len(set(claims)) < len(claims) else None


def broken_rules(world: World) -> set[str]:
    """The names of all rules that the books break, without those about steps and threads."""
    reasons = list(_reasons_of_books(_known(world), world.books))
    for client, entry, refunds_ in _orders(world):
        reasons += _reasons(case_of(client, entry, world.books, refunds_))
    return {reason.partition(":")[0] for reason in reasons}


def _orders(world: World) -> Iterator[tuple[Client, Entry | None, tuple[Refund, ...]]]:
    for order, (client, entry) in enumerate(zip(world.clients, world.entries, strict=True)):
        yield client, entry, tuple(refund for refund in world.refunds if refund and refund.order == order)


def _without_requests(client: Client) -> Client:
    """No rule depends on how often a client may still send something."""
    return client._replace(requests=0, cancels=0) if client.requests or client.cancels else client


class Known(NamedTuple):
    """What matters of an entry to the sums over all orders."""

    status: Status
    keys: tuple[str, str]
    """The key and the id of its payment."""
    refunds: tuple[tuple[str, int, bool], ...] = ()
    """Of each refund: the key of its movement, its amount, and whether it says that the money is back."""


def _known(world: World) -> tuple[Known, ...]:
    return tuple(
        Known(
            entry.status,
            (authorize_key(entry.id), entry.payment),
            tuple((payment_key(each.id), each.amount, each.status in MONEY_IS_BACK) for each in refunds_),
        )
        for _, entry, refunds_ in _orders(world)
        if entry is not None
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
    """Cents that an order may keep: its price less its refunds when it is COMPLETED, and before what it has taken."""
    moved = {movement.key for movement in books.movements if movement.status == "REFUNDED"}
    returned = sum(amount for key, amount, is_back in entry.refunds if is_back or key in moved)
    if entry.status == Status.COMPLETED:
        return PRICE - returned
    if entry.status.is_terminal:
        return -returned
    own = (payment for payment in books.payments if payment.key in entry.keys or payment.id in entry.keys)
    return sum(payment.captured - payment.refunded for payment in own) - returned


@cache
def _wrong_case(client: Client, entry: Entry | None, refunds_: tuple[Refund, ...], books: Books) -> str | None:
    return next(_reasons(case_of(client, entry, books, refunds_)), None)


def _reasons(case: Case) -> Iterator[str]:
    for name, rule in RULES.items():
        if reason := rule(case):
            yield f"{name}: {reason}"


def wrong_step(before: World, after: World) -> str | None:
    """History: a row moves as its state machine allows. Owners: nobody claims a row during another's lease."""
    for was, now in zip(before.entries, after.entries, strict=True):
        if was is not now and was is not None and (reason := _wrong_move(was, now)):
            return reason
    for former, refund in zip(before.refunds, after.refunds, strict=True):
        if former is not refund and former is not None and (reason := _wrong_refund_move(former, refund)):
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
    if not set(was.undone) <= set(now.undone) or was.events != now.events[: len(was.events)]:
        return "history: the undone steps or the events are fewer than before"
    return _wrong_claim(was, now)


@cache
def _wrong_refund_move(was: Refund, now: Refund | None) -> str | None:
    if now is None:
        return "history: a refund was deleted"
    if was.status != now.status and now.status not in REFUND_MOVES[was.status]:
        return f"history: a refund that is {was.status} may not become {now.status}"
    if not {*was.restocked, *was.not_restocked} <= {*now.restocked, *now.not_restocked}:
        return "history: the restocked products are fewer than before"
    return _wrong_claim(was, now)


def _wrong_claim(was: Entry | Refund, now: Entry | Refund) -> str | None:
    if now.claim_number < was.claim_number:
        return "history: the claim number is lower than before"
    if now.claim_number > was.claim_number and was.is_leased:
        return f"owners: claim {now.claim_number} was made during the lease of claim {was.claim_number}"
    return None
