"""An operator's actions, each exactly once for its key. The console acts in the name of the order's own client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from common.api.idempotency import StoredResponse
from common.api.routes import Reply
from common.database.database import Row, Transaction
from console import action_statements as statements
from console import verbs
from console.context import Console
from console.errors import NoSuchRefund
from console.inventory import key_of
from console.orders import NoSuchOrder
from console.verbs import Subject
from edge_api import commands
from edge_api import refunds as edge_refunds
from edge_api.commands import Command
from edge_api.notifier import Notifier
from edge_api.refund_schemas import Refund


class Act(NamedTuple):
    """One request: the operator's name, and the idempotency key."""

    actor: str
    key: str


def retry(console: Console, act: Act, subject: Subject, reason: str) -> StoredResponse:
    """Make an order or a refund due now. :raises NotDueNow:"""
    notifier = console.refund_notifier if subject.refund_id else console.order_notifier
    work = _done(lambda tx: verbs.retry(tx, act.actor, subject, reason))
    return _run(console, act, subject, "retry", {"reason": reason}, work, notifier)


def cancel(console: Console, act: Act, subject: Subject, wish: Row) -> StoredResponse:
    """Ask for the end of an order. A refusal is stored and returned. :raises ApiError: as `commands.run`"""
    work = _done(lambda tx: verbs.cancel(tx, act.actor, subject, wish))
    return _run(console, act, subject, "cancel", wish, work, console.order_notifier)


def refund(console: Console, act: Act, subject: Subject, wanted: Row) -> StoredResponse:
    """:param wanted: as `refund_schemas.NewRefund` loads it :raises OrderNotRefundable, RefundExceedsRemaining:"""

    def work(tx: Transaction) -> StoredResponse:
        made = verbs.refund(tx, act.actor, subject, _key(act), wanted)
        return StoredResponse.dumped(202, Refund, made)

    return _run(console, act, subject, "refund", wanted, work, console.refund_notifier)


def would_refund(console: Console, subject: Subject, wanted: Row) -> Reply:
    """What `refund` would do now, without doing it. :raises OrderNotRefundable, RefundExceedsRemaining:"""
    return edge_refunds.dry_run(console.database, subject.client, subject.order_ledger_id, wanted)


def add_note(console: Console, act: Act, subject: Subject, text: str) -> StoredResponse:
    work = _done(lambda tx: verbs.add_note(tx, act.actor, subject, text))
    return _run(console, act, subject, "note", {"text": text}, work)


def deal_with(console: Console, act: Act, subject: Subject, reason: str) -> StoredResponse:
    """Hide the mark of an order or a refund until it fails again. :raises NeedsNoAttention:"""
    work = _done(lambda tx: verbs.deal_with(tx, act.actor, subject, reason))
    return _run(console, act, subject, "dealt_with", {"reason": reason}, work)


def order(console: Console, order_ledger_id: str) -> Subject:
    """:raises NoSuchOrder:"""
    found = console.database.one(statements.ORDER, id=order_ledger_id)
    if found is None:
        raise NoSuchOrder()
    return Subject(found["client"], order_ledger_id)


def refund_of(console: Console, refund_id: str) -> Subject:
    """:raises NoSuchRefund:"""
    found = console.database.one(statements.REFUND, id=refund_id)
    if found is None:
        raise NoSuchRefund()
    return Subject(found["client"], found["order_ledger_id"], refund_id)


def _done(act: Callable[[Transaction], None]) -> Callable[[Transaction], StoredResponse]:
    def work(tx: Transaction) -> StoredResponse:
        act(tx)
        return StoredResponse.of(200, {})

    return work


def _run(
    console: Console,
    act: Act,
    subject: Subject,
    call: str,
    sent: dict[str, Any],
    work: Callable[[Transaction], StoredResponse],
    notifier: Notifier | None = None,
) -> StoredResponse:
    of = {"refund_id": subject.refund_id} if subject.refund_id else {}
    command = Command(subject.client, _key(act), f"console.{call}", subject.order_ledger_id, {**sent, **of})
    if notifier is None:
        return commands.run(console.database, command, work)
    return commands.run_and_notify(console.database, notifier, command, work)


def _key(act: Act) -> str:
    """The key in the client's books, apart from the keys that the client and other operators send themselves."""
    return key_of(act.actor, act.key)
