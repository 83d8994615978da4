"""Refunds: what a client asks for, and what it sees of them. The orchestrator does the work."""

from __future__ import annotations

from typing import Any

from common.api.idempotency import StoredResponse
from common.api.routes import Reply
from common.api.waits import IS_RESUMED
from common.database.database import Database, Row, Transaction
from domain.refunds import PENDING
from domain.states import Status
from edge_api import commands, refund_store
from edge_api.commands import Command
from edge_api.errors import OrderNotFound, OrderNotRefundable, RefundExceedsRemaining, RefundNotFound
from edge_api.operations import Edge
from edge_api.refund_schemas import Refund


def request(edge: Edge, client: str, order_ledger_id: str, key: str, wanted: Row, sent: Row) -> StoredResponse:
    """Write a refund, which takes its share of what is left of the order in the same transaction.

    :param wanted: the request, as `refund_schemas.NewRefund` loads it
    :param sent: the body as the client sent it
    :raises OrderNotFound, OrderNotRefundable, RefundExceedsRemaining: and those of `commands.run`
    """
    command = Command(client, key, "refund", order_ledger_id, sent)
    return commands.run_and_notify(
        edge.store.database,
        edge.refund_notifier,
        command,
        lambda tx: StoredResponse.dumped(202, Refund, write(tx, client, order_ledger_id, key, wanted)),
    )


def write(tx: Transaction, client: str, order_ledger_id: str, key: str, wanted: Row) -> Row:
    """Write a refund, in a transaction of the caller. :returns: the refund as clients see it

    :raises OrderNotFound, OrderNotRefundable, RefundExceedsRemaining:
    """
    order = _found(refund_store.lock_order(tx, client, order_ledger_id), order_ledger_id)
    return refund_store.insert(tx, key, share_of(order, wanted))


def dry_run(database: Database, client: str, order_ledger_id: str, wanted: Row) -> Reply:
    """What would be refunded now. :raises OrderNotFound, OrderNotRefundable, RefundExceedsRemaining:"""
    order = database.transact(lambda tx: refund_store.find_order(tx, client, order_ledger_id))
    share = share_of(_found(order, order_ledger_id), wanted)
    unknown = dict.fromkeys(("refund_id", "status", "failure", "created_at", "updated_at"))
    return Reply({**unknown, **share}, 200)


def of_order(edge: Edge, client: str, order_ledger_id: str) -> Row:
    """The refunds of an order, the oldest first. :raises OrderNotFound: no such order, or another client's"""
    database = edge.store.database
    _found(database.transact(lambda tx: refund_store.find_order(tx, client, order_ledger_id)), order_ledger_id)
    return {"refunds": refund_store.of_order(database, order_ledger_id)}


def get(edge: Edge, client: str, refund_id: str, wait_s: float, environ: dict[str, Any]) -> Row | Reply:
    """The current refund. With `wait_s`, respond once it has ended or the time is up, as `operations.get_order` does.

    :raises RefundNotFound: no such refund, or another client's
    """
    found = _get(edge, client, refund_id)
    if not wait_s or found["status"] != PENDING:
        return found
    if not edge.refund_waits.wait(refund_id, wait_s, environ):
        return Reply(found, 200, {"Retry-After": "1"})
    return found if environ.get(IS_RESUMED) else _get(edge, client, refund_id)


def _get(edge: Edge, client: str, refund_id: str) -> Row:
    found = refund_store.get(edge.store.database, client, refund_id)
    if found is None:
        raise RefundNotFound(refund_id=refund_id)
    return found


def _found(order: Row | None, order_ledger_id: str) -> Row:
    if order is None:
        raise OrderNotFound(order_ledger_id=order_ledger_id)
    return order


def share_of(order: Row, wanted: Row) -> Row:
    """The refund that is wanted: its amount and its pieces.

    :raises OrderNotRefundable: the order is not completed
    :raises RefundExceedsRemaining: that much is not left
    """
    if order["status"] != Status.COMPLETED:
        raise OrderNotRefundable(status=order["status"])
    remaining = order["total_amount_cents"] - order["refund_reserved_cents"]
    items = _items(order, wanted, remaining)
    amount = _amount(order, wanted, items, remaining)
    if not 0 < amount <= remaining:
        raise RefundExceedsRemaining(remaining_cents=remaining)
    return {
        "order_ledger_id": order["id"],
        "amount_cents": amount,
        "items": items,
        "restock": wanted["restock"] and bool(items),
        "reason": wanted["reason"],
        "note": wanted.get("note"),
    }


def _items(order: Row, wanted: Row, remaining_cents: int) -> list[Row]:
    """The pieces to refund: those that are wanted, none for an amount, otherwise all that are left."""
    left = {line["product_id"]: line["quantity"] - line["refunded_quantity"] for line in order["lines"]}
    if "amount_cents" in wanted:
        return []
    if "items" not in wanted:
        return [{"product_id": product_id, "quantity": pieces} for product_id, pieces in left.items() if pieces]
    too_many = [
        {"product_id": item["product_id"], "requested": item["quantity"], "remaining": left.get(item["product_id"], 0)}
        for item in wanted["items"]
        if item["quantity"] > left.get(item["product_id"], 0)
    ]
    if too_many:
        raise RefundExceedsRemaining(remaining_cents=remaining_cents, items=too_many)
    return list(wanted["items"])


def _amount(order: Row, wanted: Row, items: list[Row], remaining_cents: int) -> int:
    if "amount_cents" in wanted:
        return int(wanted["amount_cents"])
    if "items" not in wanted:
        return remaining_cents
    prices = {line["product_id"]: line["unit_price_cents"] for line in order["lines"]}
    return sum(item["quantity"] * int(prices[item["product_id"]]) for item in items)
