"""Idempotency keys outside the ledger: delete their stored responses, and at last the keys themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from common.database.transaction import Transaction
from ops.database import within
from ops.retention import EXPIRED, EXPIRED_CODE

TIMEOUT_S = 30


class Keys(NamedTuple):
    """A table of keys, its primary key, and how a row loses its response."""

    table: str
    first: str
    second: str
    change: str
    unless_done: str
    unless_open: str = "true"
    """A key of a saga that is still open is not forgotten: the saga may ask again."""


REFUSALS = Keys(
    "refused_requests",
    "client",
    "client_request_id",
    "response_status = 409, response_body = %(body)s",
    "position(%(code)s IN response_body) = 0",
)
_NOT_OF_OPEN_REFUND = "NOT EXISTS (SELECT FROM refunds WHERE due_at IS NOT NULL AND id::text = split_part(key, ':', 2))"
STOCK = Keys(
    "inventory_idempotency_keys",
    "scope",
    "key",
    "status = NULL, body = NULL",
    f"status IS NOT NULL AND {_NOT_OF_OPEN_REFUND}",
    _NOT_OF_OPEN_REFUND,
)
_NOT_REQUEST_OF_OPEN_REFUND = """NOT EXISTS (
  SELECT FROM refunds JOIN order_ledger AS entry ON entry.id = refunds.order_ledger_id
  WHERE refunds.due_at IS NOT NULL AND refunds.idempotency_key = edge_idempotency_keys.key
    AND entry.client = edge_idempotency_keys.client)"""
# A shop that asks for a refund again hears of the refund that is open.
COMMANDS = Keys(
    "edge_idempotency_keys",
    "client",
    "key",
    "status = NULL, body = NULL",
    f"status IS NOT NULL AND {_NOT_REQUEST_OF_OPEN_REFUND}",
    _NOT_REQUEST_OF_OPEN_REFUND,
)
# A saga that is still open may ask again for the response to its last call.
PAYMENTS = Keys(
    "payment_idempotency_keys",
    "scope",
    "key",
    "status = NULL, body = NULL",
    "status IS NOT NULL AND NOT EXISTS (SELECT FROM order_ledger"
    f" WHERE due_at IS NOT NULL AND id::text = split_part(key, ':', 2)) AND {_NOT_OF_OPEN_REFUND}",
)
WITH_ANSWERS = (REFUSALS, COMMANDS, STOCK, PAYMENTS)
# The keys of payments are deleted with their orders only.
TO_FORGET = (REFUSALS, COMMANDS, STOCK)

PAGE_END = """
SELECT first, second FROM (
  SELECT {first} AS first, {second} AS second FROM {table}
  WHERE ({first}, {second}) > (%(after_first)s, %(after_second)s) ORDER BY {first}, {second} LIMIT %(size)s
) AS page ORDER BY first DESC, second DESC LIMIT 1
"""
_OLD = """
WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table}
  WHERE ({first}, {second}) > (%(after_first)s, %(after_second)s) AND ({first}, {second}) <= (%(first)s, %(second)s)
    AND created_at < now() - %(days)s * interval '1 day' AND {condition} FOR UPDATE SKIP LOCKED))
"""


class Page(NamedTuple):
    """The keys after one key, up to and including another."""

    keys: Keys
    bounds: dict[str, str]


def pages(connection: Any, keys: Keys, size: int) -> Iterator[Page]:
    first, second = "", ""
    while True:
        with within(connection, timeout_s=TIMEOUT_S) as tx:
            end = tx.one(PAGE_END.format(**keys._asdict()), after_first=first, after_second=second, size=size)
        if end is None:
            return
        yield Page(keys, {"after_first": first, "after_second": second, **end})
        first, second = end["first"], end["second"]


def delete_answers(tx: Transaction, page: Page, days: int) -> int:
    keys = page.keys
    statement = f"UPDATE {keys.table} SET {keys.change} {_OLD.format(condition=keys.unless_done, **keys._asdict())}"
    return tx.execute(statement, **page.bounds, days=days, body=EXPIRED, code=EXPIRED_CODE)


def forget(tx: Transaction, page: Page, days: int) -> int:
    keys = page.keys
    return tx.execute(
        f"DELETE FROM {keys.table} {_OLD.format(condition=keys.unless_open, **keys._asdict())}",
        **page.bounds,
        days=days,
    )
