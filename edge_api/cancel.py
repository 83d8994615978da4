"""Cancelling an order. The wish is written to the ledger, and the saga obeys it at its next checkpoint.

No lock outlives the transaction, and nobody waits for the saga.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from common.api.idempotency import StoredResponse
from common.database.database import Row, Transaction
from common.json_text import encode
from domain.states import Status
from edge_api import commands, schemas
from edge_api.commands import Command
from edge_api.errors import OrderNotCancellable, OrderNotFound
from edge_api.operations import Edge
from edge_api.store import GET_ORDER

# What can be a person's: it is not stored with the response, but read from the ledger, where it can be erased.
PERSONAL = ("user_id", "email", "reference", "metadata")

# Note the wish; a second one changes nothing. A saga that waits for a retry becomes due, so that it turns back now.
CANCEL = """
UPDATE order_ledger SET cancel_requested_at = COALESCE(cancel_requested_at, now()),
  cancel_reason = COALESCE(cancel_reason, %(reason)s),
  cancel_note = CASE WHEN cancel_requested_at IS NULL THEN %(note)s ELSE cancel_note END,
  due_at = CASE WHEN status = 'COMPENSATING' OR claimed_until >= now() THEN due_at ELSE LEAST(due_at, now()) END,
  updated_at = now()
WHERE id = %(id)s AND client = %(client)s AND due_at IS NOT NULL RETURNING id
"""
STATUS = "SELECT status FROM order_ledger WHERE id = %(id)s AND client = %(client)s"


def cancel(edge: Edge, client: str, order_ledger_id: str, key: str, sent: Row, wish: Row) -> StoredResponse:
    """Ask for the end of an order that is not completed. :returns: 202 with the order

    :param sent: the body as the client sent it; `wish` is the same with defaults
    :raises OrderNotFound: no such order, or another client's
    :raises ApiError: as `commands.run`; a refusal is stored and returned
    """
    command = Command(client, key, "cancel", order_ledger_id, sent)
    store = edge.store
    response = commands.run_and_notify(
        store.database, store.notifier, command, lambda tx: _cancel(tx, client, order_ledger_id, wish)
    )
    if response.status != 202:
        return response
    return store.database.transact(lambda tx: _complete(tx, client, order_ledger_id, response))


def _cancel(tx: Transaction, client: str, order_ledger_id: str, wish: Row) -> StoredResponse:
    write(tx, client, order_ledger_id, wish)
    order = _order(tx, client, order_ledger_id)
    return StoredResponse.of(202, {name: value for name, value in order.items() if name not in PERSONAL})


def write(tx: Transaction, client: str, order_ledger_id: str, wish: Row) -> None:
    """Write the wish, in a transaction of the caller.

    :raises OrderNotFound: no such order, or another client's
    :raises OrderNotCancellable: the order has ended
    """
    if tx.one(CANCEL, id=order_ledger_id, client=client, **wish):
        return
    order = tx.one(STATUS, id=order_ledger_id, client=client)
    if order is None:
        raise OrderNotFound(order_ledger_id=order_ledger_id)
    use = {"use": "refunds"} if order["status"] == Status.COMPLETED else {}
    raise OrderNotCancellable(status=order["status"], **use)


def _complete(tx: Transaction, client: str, order_ledger_id: str, response: StoredResponse) -> StoredResponse:
    order = _order(tx, client, order_ledger_id)
    return replace(response, body=encode.compact(json.loads(response.body) | {name: order[name] for name in PERSONAL}))


def _order(tx: Transaction, client: str, order_ledger_id: str) -> dict[str, Any]:
    found = tx.one(GET_ORDER, id=order_ledger_id, client=client)
    if found is None:
        raise OrderNotFound(order_ledger_id=order_ledger_id)
    dumped: dict[str, Any] = schemas.Order().dump(found)
    return dumped
