"""The audits that ran, as the database keeps them. The console runs none: an audit reads every book."""

from __future__ import annotations

from typing import Any

from common.database.database import Database, Row

SHOWN = 20
OLD_AFTER_S = 3600
# What a subject begins with, if an id that the search finds comes next.
WITH_ID = ("order_ledger", "order", "refund", "payment", "product", "webhook_delivery", "webhook_endpoint")
# The newest first.
RUNS = """
SELECT id, at, took_ms, healthy, violations, rows_found, at < now() - %(old_after_s)s * interval '1 second' AS is_old
FROM audit_runs ORDER BY at DESC LIMIT %(limit)s
"""
# What one of them found.
EXAMPLES = "SELECT examples FROM audit_runs WHERE id = %(id)s"
# Each rule of the view `audit_checks`, in its order.
RULES = {
    "stock": "The stock of each product is what was adjusted, less what is reserved, and never below zero.",
    "completed": "A completed order is confirmed, captured exactly once in full, and its pieces are reserved.",
    "nothing_left": "A failed or declined order holds no money and no stock, and is cancelled in the orders service.",
    "confirmed_unpaid": "A confirmed order has been paid in full.",
    "stuck": "Every open order is due, and none has been due for long without anyone claiming it.",
    "money": "What was captured, less what was refunded, is what orders account for, in each currency.",
    "keys": "A key has one order, and an order has one payment, found under its key.",
    "outbox": "Every authorized order has exactly one outbox event, in the order's own state.",
    "history": "The history of each order is complete, and each of its moves is allowed.",
    "amounts": "The amounts of an order are the same in all books, and its lines add up to its total.",
    "tombstones_and_orphans": "Nothing in the books of a service lacks its order, or came after its order was undone.",
    "events": "Each order has the events of its moves, in their sequence, and no others.",
    "refunds": "The refunds of an order agree with its sums, its payment and its stock, and never exceed its total.",
    "deliveries": "Each webhook delivery tells one endpoint of one event of its client.",
}


def read(database: Database, limit: int = SHOWN) -> Row:
    """The last runs, and each rule with what the last one found. `last` is null before the first.

    `examples` are violations that it found, each with its rule, its subject and a text. `rows_found` counts all.
    """
    runs = database.all(RUNS, old_after_s=OLD_AFTER_S, limit=limit)
    if not runs:
        return {"last": None, "rules": [], "examples": [], "runs": []}
    found = database.one(EXAMPLES, id=runs[0]["id"]) or {"examples": []}  # it may have been deleted meanwhile
    examples = [{**each, "id": id_of(each["subject"])} for each in found["examples"]]
    return {"last": runs[0], "rules": rules_of(runs[0]), "examples": examples, "runs": runs}


def id_of(subject: str) -> str | None:
    """The id that the search finds: `order_ledger 0189…` is about an order. A currency has none."""
    kind, _, id_ = subject.partition(" ")
    return id_ if kind in WITH_ID else None


def rules_of(run: Row) -> list[dict[str, Any]]:
    """The rules that a run checked. One of another release may have others."""
    names = [*RULES, *(name for name in run["violations"] if name not in RULES)]
    return [
        {"name": name, "found": run["violations"][name], "means": RULES.get(name, "A rule of another release.")}
        for name in names
        if name in run["violations"]
    ]
