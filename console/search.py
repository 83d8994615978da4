"""One search box: an id or an address of any kind finds its orders, and a few find something else. Each lookup uses an
index.

An id is tried as everything that it may be by its form. Several may fit: the same request id may be of two orders.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress

from common.database.database import Database, Row
from console.listing import clients_of
from edge_api.listing import EMAIL

MOST = 50
_OF_PAYMENT = """
SELECT l.id FROM payment_authorizations a JOIN order_ledger l ON l.id = (substr(a.idempotency_key, 11))::uuid
WHERE {condition} AND a.idempotency_key ~ '^authorize:[0-9a-f-]{{36}}$'"""
_OF_REFUND_AT_GATEWAY = _OF_PAYMENT.format(
    condition="a.id = (SELECT g.authorization_id FROM gateway_refunds g WHERE g.gateway_id = %(text)s)"
)
# Kind → its statement. What is looked for is `%(text)s`.
BY_UUID = {
    "order": "SELECT id FROM order_ledger WHERE id = %(text)s::uuid",
    "orders service": "SELECT order_ledger_id AS id FROM orders WHERE id = %(text)s::uuid",
    "refund": "SELECT order_ledger_id AS id FROM refunds WHERE id = %(text)s::uuid",
    "reservation": """SELECT o.order_ledger_id AS id FROM inventory_reservations r JOIN orders o ON o.id = r.order_id
        WHERE r.id = %(text)s::uuid""",
    "delivery": "SELECT order_ledger_id AS id FROM webhook_deliveries WHERE id = %(text)s::uuid",
}
BY_PREFIX = {
    "auth": {"payment": _OF_PAYMENT.format(condition="a.id = %(text)s")},
    "cap": {"capture": _OF_PAYMENT.format(condition="a.capture_id = %(text)s")},
    "re": {
        "refund of a payment": _OF_PAYMENT.format(
            condition="a.id = (SELECT r.authorization_id FROM payment_refunds r WHERE r.id = %(text)s)"
        ),
        "refund at the gateway": _OF_REFUND_AT_GATEWAY,
    },
    "pyr": {"refund at the gateway": _OF_REFUND_AT_GATEWAY},
    "pi": {
        "payment at the gateway": _OF_PAYMENT.format(
            condition="a.id = (SELECT h.authorization_id FROM gateway_holds h WHERE h.gateway_id = %(text)s)"
        )
    },
    "evt": {"event": "SELECT order_ledger_id AS id FROM events WHERE id = %(text)s"},
}
# What a person's or a shop's own words may be. `known` are the clients, with which their indexes begin.
_EACH_CLIENT = """
SELECT found.id FROM unnest(%(clients)s::text[]) AS known (client) CROSS JOIN LATERAL (
  SELECT id, created_at FROM order_ledger WHERE client = known.client AND {condition}
  ORDER BY created_at DESC, id DESC LIMIT %(most)s) AS found
ORDER BY found.created_at DESC LIMIT %(most)s"""
USER = _EACH_CLIENT.format(condition="user_id = %(text)s::uuid")
BY_WORDS = {
    "reference": _EACH_CLIENT.format(condition="reference = %(text)s"),
    "idempotency key": _EACH_CLIENT.format(condition="client_request_id = %(text)s"),
    "request": """SELECT id FROM order_ledger WHERE request_id COLLATE "C" = %(text)s
        ORDER BY created_at DESC LIMIT %(most)s""",
    "request of a refund": """SELECT order_ledger_id AS id FROM refunds WHERE request_id COLLATE "C" = %(text)s
        LIMIT %(most)s""",
    "idempotency key of a refund": """SELECT order_ledger_id AS id FROM refunds WHERE idempotency_key = %(text)s
        LIMIT %(most)s""",
}
E_MAIL = _EACH_CLIENT.format(condition=f'{EMAIL} = lower(%(text)s COLLATE "C")')
FOUND = """
SELECT id AS order_ledger_id, client, reference, email, status, total_amount_cents, currency, created_at
FROM order_ledger WHERE id = ANY (%(ids)s::uuid[]) ORDER BY created_at DESC
"""
PREFIXED = re.compile(r"(auth|cap|re|evt|pi|pyr)_[0-9A-Za-z]{8,64}")
# Results that are not orders: kind → its statement.
THINGS_BY_UUID = {
    "product": "SELECT id, sku AS name FROM products WHERE id = %(text)s::uuid",
    "job": "SELECT id, action AS name FROM bulk_jobs WHERE id = %(text)s::uuid",
}
THINGS_BY_WORDS = {
    "product": "SELECT id, sku AS name FROM products WHERE sku = %(text)s",
    "webhook endpoint": "SELECT id, client AS name FROM webhook_endpoints WHERE id = %(text)s AND deleted_at IS NULL",
}


def search(database: Database, text: str) -> list[Row]:
    """The orders that an id, an address or a name of any kind belongs to, the newest first, each with `found_by`."""
    if not text.isprintable():  # no id and no name has such characters
        return []
    found: dict[str, str] = {}
    clients = clients_of(database)
    for kind, statement, wanted in statements_for(text):
        for row in database.all(statement, text=wanted, clients=clients, most=MOST):
            if row["id"]:
                found.setdefault(row["id"], kind)
    return [{**row, "found_by": found[row["order_ledger_id"]]} for row in database.all(FOUND, ids=list(found)[:MOST])]


def things(database: Database, text: str) -> list[Row]:
    """The products, webhook endpoints and jobs with this id or SKU, each with its `kind` and a `name`."""
    if not text.isprintable():
        return []
    wanted = [(kind, statement, text) for kind, statement in THINGS_BY_WORDS.items()]
    with suppress(ValueError):
        id_ = str(uuid.UUID(text))
        wanted += [(kind, statement, id_) for kind, statement in THINGS_BY_UUID.items()]
    return [{"kind": kind, **row} for kind, statement, id_ in wanted for row in database.all(statement, text=id_)]


def statements_for(text: str) -> Iterator[tuple[str, str, str]]:
    """What to look for, by the text's form. A shop may use any form for its own references and keys.

    :returns: the kind, its statement, and the text in the form that the statement takes
    """
    with suppress(ValueError):
        id_ = str(uuid.UUID(text))
        yield from ((kind, statement, id_) for kind, statement in {**BY_UUID, "user": USER}.items())
    if form := PREFIXED.fullmatch(text):
        yield from ((kind, statement, text) for kind, statement in BY_PREFIX[form[1]].items())
    words = {"e-mail": E_MAIL, **BY_WORDS} if "@" in text else BY_WORDS
    yield from ((kind, statement, text) for kind, statement in words.items())
