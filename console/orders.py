"""One order as an operator sees it: the saga, the books of all services, and whether they agree."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from common.api.errors import ApiError
from common.database.database import Database, Row
from common.ledger import attempts
from console import formats, money_words
from console.order_statements import ORDER
from console.saga_view import steps_of
from console.verdict import verdict_on

NOTE = "order.note"
# The answers to an undo by which its step never happened. The saga takes them for a yes.
NEVER_HAPPENED = {("cancel_order", "not_found"), ("void_payment", "authorization_not_found")}
SETTLES_IN = timedelta(seconds=30)  # an ended order's events reach the endpoints after it


class NoSuchOrder(ApiError):
    """There is no order with this id."""

    status, code = 404, "order_not_found"


def read(database: Database, order_ledger_id: str) -> Row:
    """All that the books say about an order. :raises NoSuchOrder:"""
    order = database.one(ORDER, id=order_ledger_id)
    if order is None:
        raise NoSuchOrder()
    found = attempts.of_order(database, order_ledger_id)
    order["attempts"] = [_attempt(row) for row in (*found.newest, *found.first)]
    order["attempts_left_out"] = found.left_out
    return {
        **order,
        "steps": steps_of(order),
        "money": money_words.told(order),
        "verdict": verdict_on(order),
        "timeline": timeline_of(order),
        **_state(order, order),
        "refunds": [{**refund, **_state(refund, order)} for refund in order["refunds"]],
    }


def _state(entry: Row, order: Row) -> Row:
    until = entry["claimed_until"]
    return {"is_claimed": until is not None and _moment(until) > _moment(order["now"])}


def is_live(order: Row) -> bool:
    """Whether a page about the order can change by itself: work on it is open, or it ended a moment ago."""
    if order["due_at"] or any(refund["due_at"] for refund in order["refunds"]):
        return True
    if any(delivery["due_at"] for event in order["events"] for delivery in event["deliveries"]):
        return True
    changed = [order["updated_at"], *(refund["updated_at"] for refund in order["refunds"])]
    return bool(max(map(_moment, changed)) + SETTLES_IN > _moment(order["now"]))


def timeline_of(order: Row) -> list[dict[str, Any]]:
    """What happened to an order, the oldest first: the saga's moves, refunds, failed calls, notes, and who did what."""
    found = [
        {"at": move["at"], "kind": "move", "text": move["to"], "detail": move["detail"]} for move in order["history"]
    ]
    found += _refunds(order)
    found += _attempts(order)
    found += [
        {"at": each["at"], "kind": "note", "text": each["author"], "detail": each["text"]} for each in order["notes"]
    ]
    found += [
        {
            "at": each["at"],
            "kind": "action",
            "text": f"{each['actor']}: {each['action']}",
            "detail": _why(each["details"], order["currency"]),
        }
        for each in order["record"]
        if each["action"] != NOTE  # the note itself is there
    ]
    found.sort(key=lambda each: datetime.fromisoformat(each["at"]))
    for before, after in pairwise(found):
        after["after_ms"] = (_time(after) - _time(before)).total_seconds() * 1000
    return found


def _refunds(order: Row) -> list[dict[str, Any]]:
    """When each refund was asked for, and when it ended."""
    found = []
    for refund in order["refunds"]:
        text = f"refund of {formats.money(refund['amount_cents'], order['currency'])}"
        found.append({"at": refund["created_at"], "kind": "refund", "text": text, "detail": "asked for"})
        if not refund["due_at"]:
            detail = formats.words(refund["status"])
            found.append({"at": refund["updated_at"], "kind": "refund", "text": text, "detail": detail})
    return found


def _attempts(order: Row) -> list[dict[str, Any]]:
    """The attempts, oldest first, with a line for those that are left out behind the first ones."""
    shown = [{"kind": "attempt", **each} for each in reversed(order["attempts"])]
    if left_out := order["attempts_left_out"]:
        before = shown[attempts.FIRST - 1]
        text = f"{left_out:,} more {'attempt' if left_out == 1 else 'attempts'}"
        shown.insert(attempts.FIRST, {"at": before["at"], "kind": "left_out", "text": text, "detail": None})
    return shown


def _attempt(row: Row) -> dict[str, Any]:
    """A call that was refused or not answered."""
    names = ("step", "attempt", "took_ms", "http_status", "code", "refund_id", "request_id")
    shown = {name: row[name] for name in names}
    outcome = "nothing to undo" if (row["step"], row["code"]) in NEVER_HAPPENED else row["kind"]
    return {**shown, "at": _moment(row["began_at"]).isoformat(), "outcome": outcome, "text": row["message"]}


def _time(entry: dict[str, Any]) -> datetime:
    return _moment(entry["at"])


def _moment(time: str | datetime) -> datetime:
    return datetime.fromisoformat(time) if isinstance(time, str) else time


def _why(details: dict[str, Any], currency: str) -> str:
    told = {name: value for name, value in details.items() if name != "order_ledger_id" and value}
    return ", ".join(_detail(name, value, currency) for name, value in told.items())


def _detail(name: str, value: Any, currency: str) -> str:
    if name == "amount_cents":
        return formats.money(value, currency)
    return formats.words(name) if value is True else f"{formats.words(name)}: {value}"
