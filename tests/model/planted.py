"""Design errors, planted one at a time. The model must find each of them.

An error replaces one decision of `Design` by a wrong one. The tests fail if the model does not find it, or if it finds
something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from common.api.idempotency import StoredResponse
from common.calls.client import Answer, No, Nothing, ServiceClient, Yes
from domain.refunds import RefundStatus
from domain.states import CANCELLED, Status
from edge_api import outcome
from edge_api import refunds as refunds_of_edge
from edge_api.outcome import Authorization
from edge_api.services import Services
from orchestrator import refund_calls, refund_entries, saga
from orchestrator.definitions import SALE
from orchestrator.participants import Action, Participants
from orchestrator.saga import Pending, RetryPolicy, Saga, Sale
from tests.model import ledger, participants, refunds
from tests.model.books import Books, Handled, Handler, Payment
from tests.model.design import Design
from tests.model.ledger import POLICY, PRICE, Entry, Outcome
from tests.model.network import Request
from tests.model.refunds import Both, Refund, RefundOutcome


class Planted(NamedTuple):
    error: str
    """What the design gets wrong."""
    rule: str
    """The rule that shows it."""
    design: Design
    scenario: str = "a sale"


# The Edge API


def _authorized_from_nothing(entry: Entry | None, seen: Entry, payment: str, response: int) -> Entry | None:
    return ledger.authorized(entry or seen, seen, payment, response)


def _authorize_with_key_of_attempt(services: Services, row: dict[str, Any], card: str) -> Answer:
    attempt = row["claim_number"] - 1
    return services.authorize({**row, "id": f"{row['id']}:{attempt}" if attempt else row["id"]}, card)


def _authorize_with_key_of_all_orders(services: Services, row: dict[str, Any], card: str) -> Answer:
    return services.authorize({**row, "id": "00000000-0000-7000-8000-000000000001"}, card)


def _nothing_is_a_decline(store: Any, authorization: Authorization) -> StoredResponse:
    answer = authorization.answer
    if isinstance(answer, Nothing):
        answer = No("payment_declined", "no answer")
    return outcome.finish(store, replace(authorization, answer=answer))


# Claims and writes


def _authorized_without_fence(entry: Entry | None, seen: Entry, payment: str, response: int) -> Entry | None:
    return ledger.authorized(entry, entry or seen, payment, response)


def _authorized_without_event(entry: Entry | None, seen: Entry, payment: str, response: int) -> Entry | None:
    new = ledger.authorized(entry, seen, payment, response)
    return new and new._replace(event="")


def _save_without_fence(entry: Entry | None, seen: Entry, outcome: Outcome) -> Entry | None:
    return ledger.save(entry, entry or seen, outcome)


def _claim_without_lease(entry: Entry) -> Entry | None:
    return ledger.claim(entry._replace(is_leased=False))


def _claim_without_number(entry: Entry) -> Entry | None:
    claimed = ledger.claim(entry)
    return claimed and claimed._replace(claim_number=entry.claim_number)


def _claim_without_mark(entry: Entry) -> Entry | None:
    claimed = ledger.claim(entry)
    return claimed and claimed._replace(failure=entry.failure)


def _claim_gives_up(entry: Entry) -> Entry | None:
    return None if entry.retry_count >= POLICY.max_attempts else ledger.claim(entry)


# Answers


After = Callable[[Saga, Answer, RetryPolicy], Saga]


def _undo_counts_as_done(saga_: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
    is_undo = saga_.status == Status.COMPENSATING
    return saga.after(saga_, Yes({}) if is_undo and isinstance(answer, Nothing) else answer, policy)


def _failed_before_the_undo(saga_: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
    now = saga.after(saga_, answer, policy)
    is_undo = saga_.status == Status.COMPENSATING
    return replace(now, status=Status.FAILED, retry_in_s=None) if is_undo and not isinstance(answer, Yes) else now


def _closed_without_an_answer(saga_: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
    is_closing = saga_.status == Status.AWAITING_AUTHORIZATION
    return saga.after(saga_, Yes({}) if is_closing and isinstance(answer, Nothing) else answer, policy)


def _never_forward(saga_: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
    """An order that is already confirmed is one more reason to try the undo again."""
    is_refused_undo = saga_.status == Status.COMPENSATING and isinstance(answer, No)
    return saga.after(saga_, Nothing("refused") if is_refused_undo else answer, policy)


def _nothing_is_a_yes(saga_: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
    is_step = saga_.status in (step.at for step in SALE)
    return saga.after(saga_, Yes({}) if is_step and isinstance(answer, Nothing) else answer, policy)


# The compensation


class _UndoesWhatIsKnown(Sale):
    """Leaves out the undo of the step in flight."""

    @property
    def undo(self) -> tuple[str, ...]:
        in_flight: dict[Any, str] = {Status.AUTHORIZED: "cancel_order", Status.ORDER_CREATED: "release_inventory"}
        left_out = in_flight.get(self.compensating_from) if self.compensating_from else None
        return tuple(name for name in super().undo if name != left_out)


class _UndoesMoneyFirst(Sale):
    """Returns the money before it asks whether the order is confirmed."""

    @property
    def undo(self) -> tuple[str, ...]:
        return tuple(sorted(super().undo, key=("void_payment", "release_inventory", "cancel_order").index))


def _as(kind: type[Saga]) -> Callable[[dict[str, Any]], Saga]:
    return lambda row: kind(**vars(Design.saga_of(row)))


class _WithoutRefund(Participants):
    def __init__(self, orders: Any, inventory: Any, payments: Any) -> None:
        super().__init__(orders, inventory, payments)
        self._payments = payments

    def ask(self, saga: Saga) -> Any:
        return self._payments.ask(_void_only, saga, []) if saga.next_action == "void_payment" else super().ask(saga)


def _void_only(payments: ServiceClient, saga: Saga) -> Answer:
    """A payment that is captured already needs no void."""
    body = {"idempotency_key": f"void:{saga.id}", "reason": "order failed"}
    path = f"/payments/void/{saga.payment_authorization_id}"
    answer = payments.ask("POST", path, body, refusals=frozenset({"already_captured"}))
    return Yes({}) if isinstance(answer, No) else answer


# The participants


def _forgets(service: str, word: str) -> Handler:
    """An undo of something unknown is answered, and not remembered."""

    def handle(books: Books, request: Request) -> Handled:
        after, response = participants.handle(books, request)
        known = {"orders": books.orders, "inventory": books.reservations, "payments": books.payments}[service]
        is_it = request.service == service and word in f"{request.method} {request.path}"
        return (books, response) if is_it and not known else (after, response)

    return handle


def _before(word: str, change: Callable[[Books], Books]) -> Handler:
    """A request finds the books changed."""

    def handle(books: Books, request: Request) -> Handled:
        return participants.handle(change(books) if word in f"{request.method} {request.path}" else books, request)

    return handle


def _holds_again(books: Books) -> Books:
    def held(payment: Payment) -> Payment:
        return payment._replace(status="AUTHORIZED") if payment.amount and payment.status == "VOIDED" else payment

    return books._replace(payments=tuple(map(held, books.payments)))


def _opens_again(books: Books) -> Books:
    orders = tuple(order._replace(status="CREATED") if order.sent else order for order in books.orders)
    return books._replace(orders=orders)


def _captures_again(books: Books, request: Request) -> Handled:
    after, response = participants.handle(books, request)
    if "/payments/capture" not in request.path or after != books or response.status != 200:
        return after, response
    more = tuple(payment._replace(captured=payment.captured + PRICE) for payment in books.payments)
    return books._replace(payments=more), response


def _reserves_without_looking(books: Books, request: Request) -> Handled:
    if request.method == "POST" and request.service == "inventory":
        more, response = participants.handle(books._replace(stock=books.stock + 100), request)
        return more._replace(stock=more.stock - 100), response
    return participants.handle(books, request)


# Cancels


def _cancel_unnoted(entry: Entry) -> Entry | None:
    return None if entry.status.is_terminal else entry


def _cancel_at_any_time(entry: Entry) -> Entry | None:
    return entry._replace(is_cancelled=True)


def _refused_for_its_own_reason(entry: Entry | None, seen: Entry, failure: str, response: int) -> Entry | None:
    new = ledger.refused(entry and entry._replace(is_cancelled=False), seen, failure, response)
    return entry and new and new._replace(is_cancelled=entry.is_cancelled)


def _cancel_ends_the_order(entry: Entry) -> Entry | None:
    ended = entry._replace(is_cancelled=True, status=Status.FAILED, failure=CANCELLED, is_leased=False, event="FAILED")
    return None if ledger.cancel(entry) is None else ledger.guarded(entry, ended)


def _turned_back_unasked(saga_: Saga) -> Saga:
    """It takes the order for one that is not confirmed."""
    now = saga.turned_back(saga_)
    return replace(now, undone=("cancel_order",)) if saga_.status == Status.PAYMENT_CAPTURED else now


# Refunds


def _share_without_status(order: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    is_turned_back = order["status"] == Status.COMPENSATING
    return refunds_of_edge.share_of({**order, "status": Status.COMPLETED} if is_turned_back else order, wanted)


def _insert_without_status(entry: Entry, refund: Refund) -> Both | None:
    written = refunds.insert(entry._replace(status=Status.COMPLETED), refund)
    return written and written._replace(entry=written.entry._replace(status=entry.status))


def _insert_without_share(entry: Entry, refund: Refund) -> Both | None:
    return refunds.insert(entry, refund) and Both(entry, refund)


def _save_takes_the_share(both: Both, seen: Refund, outcome: RefundOutcome) -> Both | None:
    written = refunds.save(both, seen, outcome)
    if written is None or written.refund.status != RefundStatus.PAYMENT_REFUNDED or written.refund == both.refund:
        return written
    return refunds.insert(written.entry, written.refund) or written


def _save_refund_without_fence(both: Both, seen: Refund, outcome: RefundOutcome) -> Both | None:
    return refunds.save(both, both.refund, outcome._replace(expected_status=both.refund.status))


def _save_refund_without_event(both: Both, seen: Refund, outcome: RefundOutcome) -> Both | None:
    written = refunds.save(both, seen, outcome)
    return written and written._replace(entry=written.entry._replace(events=both.entry.events))


def _save_keeps_the_share(both: Both, seen: Refund, outcome: RefundOutcome) -> Both | None:
    written = refunds.save(both, seen, outcome)
    return written and written._replace(entry=written.entry._replace(reserved=both.entry.reserved))


def _save_without_event(entry: Entry | None, seen: Entry, outcome: Outcome) -> Entry | None:
    new = ledger.save(entry, seen, outcome)
    return new and new._replace(events=entry.events if entry else ())


def _claim_refund_without_lease(refund: Refund) -> Refund | None:
    return refunds.claim(refund._replace(is_leased=False))


def _nothing_is_a_refusal(saga_: Saga, answer: Any, policy: RetryPolicy) -> Saga:
    is_money = saga_.status == RefundStatus.REQUESTED
    return saga.after(saga_, No("unanswered", "") if is_money and isinstance(answer, Nothing) else answer, policy)


def _pending_is_a_yes(saga_: Saga, answer: Any, policy: RetryPolicy) -> Saga:
    return saga.after(saga_, Yes({}) if isinstance(answer, Pending) else answer, policy)


def _without_restock(row: dict[str, Any]) -> Saga:
    refund = refund_entries.refund_of(row)
    return replace(refund, restock=False) if refund.status == RefundStatus.PAYMENT_REFUNDED else refund


def _refund_calls(**actions: Action) -> Callable[..., Participants]:
    """The participants, with other calls for these actions."""

    def participants_(orders: Any, inventory: Any, payments: Any) -> Participants:
        made = Participants(orders, inventory, payments)
        callers = {"refund_payment": payments, "restock": inventory}
        made._actions |= {name: (callers[name], action) for name, action in actions.items()}
        return made

    return participants_


def _refund_with_key_of_attempt(payments: ServiceClient, refund: Any) -> Any:
    attempt = replace(refund, id=f"{refund.id}:{refund.retry_count}") if refund.retry_count else refund
    return refund_calls.refund_payment(payments, attempt)


class _RestocksFirst(Participants):
    """Puts the pieces back before it asks for the money."""

    def __init__(self, orders: Any, inventory: Any, payments: Any) -> None:
        super().__init__(orders, inventory, payments)
        self._inventory = inventory

    def ask(self, saga: Any) -> Any:
        if saga.next_action == "refund_payment" and saga.restock:
            answer = self._inventory.ask(refund_calls.restock, saga, [])
            if not isinstance(answer, Yes):
                return answer
        return super().ask(saga)


def _forgets_key_of_restock(books: Books, request: Request) -> Handled:
    after, response = participants.handle(books, request)
    is_it = request.path.endswith("/stock")
    return after._replace(replies=books.replies) if is_it else after, response


PLANTED = {
    "effect-before-entry": Planted(
        "Money is held before the entry that remembers it is committed.",
        "tombstones_and_orphans",
        Design(insert=lambda id_: None, authorized=_authorized_from_nothing),
    ),
    "answer-before-commit": Planted(
        "The client is told 202 before AUTHORIZED is committed.", "promised", Design(responds_before_commit=True)
    ),
    "key-changes": Planted(
        "Each attempt to authorize has a key of its own.",
        "tombstones_and_orphans",
        Design(authorize=_authorize_with_key_of_attempt, only_compares_claims=False),
    ),
    "key-is-shared": Planted(
        "The key of an authorization does not name its order.",
        "tombstones_and_orphans",
        Design(authorize=_authorize_with_key_of_all_orders),
        "two orders for the last pieces",
    ),
    "nothing-is-a-decline": Planted(
        "A payment service that does not answer is taken for a declined card.",
        "nothing_left",
        Design(finish=_nothing_is_a_decline),
    ),
    "accept-without-fence": Planted(
        "AUTHORIZED is written without the claim number.", "promised", Design(authorized=_authorized_without_fence)
    ),
    "accept-without-event": Planted(
        "AUTHORIZED is written without its event.", "outbox", Design(authorized=_authorized_without_event)
    ),
    "save-without-fence": Planted(
        "An outcome is saved without the claim number.", "history", Design(save=_save_without_fence)
    ),
    "claim-without-lease": Planted(
        "A claim takes entries that others have claimed: no lease, no SKIP LOCKED.",
        "owners",
        Design(claim=_claim_without_lease),
    ),
    "claim-without-number": Planted(
        "A claim does not raise the claim number.", "owners", Design(claim=_claim_without_number)
    ),
    "sweep-without-mark": Planted(
        "The sweeper voids before it has marked the entry.", "promised", Design(claim=_claim_without_mark)
    ),
    "sweep-without-answer": Planted(
        "The sweeper closes an entry although its void got no answer.",
        "tombstones_and_orphans",
        Design(after=_closed_without_an_answer),
    ),
    "sweep-without-tombstone": Planted(
        "A void by key of something unknown is not remembered.",
        "tombstones_and_orphans",
        Design(handle=_forgets("payments", "POST /payments/void")),
    ),
    "release-without-tombstone": Planted(
        "A release of something unknown is not remembered.",
        "tombstones_and_orphans",
        Design(handle=_forgets("inventory", "DELETE")),
    ),
    "cancel-without-tombstone": Planted(
        "A cancel of something unknown is not remembered.",
        "tombstones_and_orphans",
        Design(handle=_forgets("orders", "/cancel")),
    ),
    "undo-counts-as-done": Planted(
        "An undo without an answer counts as done.", "tombstones_and_orphans", Design(after=_undo_counts_as_done)
    ),
    "failed-before-the-undo": Planted(
        "FAILED is written before the undo is answered.", "nothing_left", Design(after=_failed_before_the_undo)
    ),
    "nothing-is-a-yes": Planted("A step without an answer counts as done.", "money", Design(after=_nothing_is_a_yes)),
    "undo-gives-up": Planted(
        "An undo is no longer tried after its last attempt.", "stuck", Design(claim=_claim_gives_up)
    ),
    "only-known-steps-are-undone": Planted(
        "The compensation leaves out the step in flight.",
        "nothing_left",
        Design(saga_of=_as(_UndoesWhatIsKnown)),
    ),
    "undo-in-wrong-order": Planted(
        "The money is returned before it is known whether the order is confirmed.",
        "completed",
        Design(saga_of=_as(_UndoesMoneyFirst)),
    ),
    "never-forward": Planted(
        "A compensation that finds the order confirmed tries to cancel it without end.",
        "stuck",
        Design(after=_never_forward),
    ),
    "capture-is-not-refunded": Planted(
        "A void that finds the payment captured counts as done.",
        "money",
        Design(calls=_WithoutRefund),
    ),
    "capture-after-void": Planted(
        "A payment can be captured after its void.",
        "money",
        Design(handle=_before("/payments/capture", _holds_again)),
    ),
    "capture-is-repeated": Planted(
        "The payment service does not remember the key of a capture.", "amounts", Design(handle=_captures_again)
    ),
    "confirm-after-cancel": Planted(
        "An order can be confirmed after its cancel.",
        "confirmed_unpaid",
        Design(handle=_before("/confirm", _opens_again)),
    ),
    "oversold": Planted(
        "A reservation does not look at the stock.",
        "stock",
        Design(handle=_reserves_without_looking),
        "nothing in stock",
    ),
    "lease-never-ends": Planted(
        "The entry of a killed process stays claimed.", "stuck", Design(lease_ends=lambda entry: None)
    ),
    "save-without-event": Planted(
        "The event is written in a transaction of its own, after that of the change.",
        "events",
        Design(save=_save_without_event),
    ),
    "cancel-read-at-the-claim": Planted(
        "A saga learns of a cancel only when it claims the order.",
        "cancelled",
        Design(as_saved=lambda seen, saved: ledger.as_claimed(seen)),
        "a cancel",
    ),
    "cancel-is-not-noted": Planted(
        "The client is told 202, and its wish is written down later.",
        "cancelled",
        Design(cancel=_cancel_unnoted),
        "a cancel",
    ),
    "declined-after-the-cancel": Planted(
        "An order that is declined after its client cancelled it ends as declined.",
        "cancelled",
        Design(refused=_refused_for_its_own_reason),
        "a cancel, and a declined card",
    ),
    "cancel-ends-the-order": Planted(
        "A cancel ends the order itself instead of leaving that to the saga.",
        "nothing_left",
        Design(cancel=_cancel_ends_the_order),
        "a cancel or a refund",
    ),
    "cancel-after-the-end": Planted(
        "A cancel of a completed order is accepted.",
        "cancelled",
        Design(cancel=_cancel_at_any_time),
        "a cancel or a refund",
    ),
    "cancel-after-the-capture": Planted(
        "A cancelled order that is paid is taken for one that is not confirmed.",
        "tombstones_and_orphans",
        Design(turned_back=_turned_back_unasked),
        "a cancel or a refund",
    ),
    "refund-of-a-cancelled-order": Planted(
        "A refund of an order that is being cancelled is accepted.",
        "refunds",
        Design(share_of=_share_without_status, insert_refund=_insert_without_status),
        "a cancel or a refund",
    ),
    "share-after-the-call": Planted(
        "A refund takes its share of the order when the money is back.",
        "refunds",
        Design(insert_refund=_insert_without_share, save_refund=_save_takes_the_share),
        "two refunds at once",
    ),
    "share-is-kept": Planted(
        "A refund that has failed keeps its share of the order.",
        "refunds",
        Design(save_refund=_save_keeps_the_share),
        "a refused refund",
    ),
    "refund-without-fence": Planted(
        "An outcome of a refund is saved without the claim number and the expected status.",
        "history",
        Design(save_refund=_save_refund_without_fence),
        "a refund",
    ),
    "refund-without-lease": Planted(
        "A claim takes refunds that others have claimed.",
        "owners",
        Design(claim_refund=_claim_refund_without_lease),
        "a refund",
    ),
    "refund-without-event": Planted(
        "A refund ends without its event.",
        "refunds",
        Design(save_refund=_save_refund_without_event),
        "a refund",
    ),
    "refund-key-changes": Planted(
        "Each attempt to refund has a key of its own.",
        "refunds",
        Design(calls=_refund_calls(refund_payment=_refund_with_key_of_attempt)),
        "a refund",
    ),
    "no-answer-is-a-failed-refund": Planted(
        "A refund that gets no answer is taken for a refused one.",
        "completed",
        Design(after=_nothing_is_a_refusal),
        "a refund",
    ),
    "pending-is-a-yes": Planted(
        "A refund that the gateway has not settled counts as done.",
        "refunds",
        Design(after=_pending_is_a_yes),
        "a pending refund",
    ),
    "restock-before-the-money": Planted(
        "The pieces go back before the ledger says that the money is back.",
        "refunds",
        Design(calls=_RestocksFirst),
        "a refused refund",
    ),
    "restock-after-the-end": Planted(
        "A refund has ended before its pieces are asked for.",
        "refunds",
        Design(refund_of=_without_restock),
        "a refund",
    ),
    "restock-is-repeated": Planted(
        "The inventory service does not remember the key of a restock.",
        "refunds",
        Design(handle=_forgets_key_of_restock),
        "a refund",
    ),
    "refund-lease-never-ends": Planted(
        "The refund of a killed process stays claimed.",
        "stuck",
        Design(refund_lease_ends=lambda refund: None),
        "a refund",
    ),
}
