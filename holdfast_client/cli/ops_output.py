"""How `holdfast ops` shows an order to a person: everything on one screen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from holdfast_client.cli.output import TABLE, duration, money, printable, short_time, show_one, show_section

Row = dict[str, Any]
SIGNS = {"done": "[x]", "now": "[>]", "open": "[ ]", "stopped here": "[!]", "left out": "[-]"}
IDS = (
    "client", "client_request_id", "reference", "email", "user_id", "order_id", "payment_authorization_id",
    "request_id", "metadata",
)  # fmt: skip
CHECKS = ("about", "ledger", "participant", "agrees")
MOMENTS = ("at", "after", "what", "detail")
LINES = ("name", "sku", "product_id", "quantity", "unit_price_cents", "refunded_quantity")
REFUNDS = ("refund_id", "status", "amount_cents", "reason", "note", "restock", "next_try", "problem")
DELIVERIES = ("event", "url", "status", "attempts", "response_status", "error")


def show_order(order: Row) -> None:
    """Everything about an order on one screen."""
    amount = money(order["total_amount_cents"], order["currency"])
    refunded = f", refunded {money(order['refunded_cents'], order['currency'])}" if order["refunded_cents"] else ""
    click.echo(f"Order {order['order_ledger_id']}  {order['status']}  {amount}{refunded}")
    for label, value in _why(order):
        click.echo(f"{label}: {printable(value)}")
    click.echo("\nSaga")
    for step in order["steps"]:
        undo = "undo: " if step["is_undo"] else ""
        click.echo(f"  {SIGNS[step['state']]} {undo}{_words(step['action'])}")
    agree = "yes" if order["verdict"]["agrees"] else "NO"
    show_section(f"Do the books agree? {agree}", order["verdict"]["checks"], CHECKS)
    show_section("Timeline", [_moment(each) for each in order["timeline"]], MOMENTS)
    show_section("Lines", [{**item, "currency": order["currency"]} for item in order["items"] or ()], LINES)
    show_section("Refunds", [_refund(refund, order["currency"]) for refund in order["refunds"]], REFUNDS)
    deliveries = [{"event": event["type"], **delivery} for event in order["events"] for delivery in event["deliveries"]]
    show_section("Deliveries", deliveries, DELIVERIES)
    click.echo("\nIds")
    show_one({name: order[name] for name in IDS if order[name]}, TABLE)


def _why(order: Row) -> Iterator[tuple[str, str]]:
    """What an operator asks first, each with its label."""
    if order["failure_code"]:
        yield "Why", ": ".join(filter(None, (order["failure_code"], order["failure_message"])))
    if order["status"] == "COMPENSATING":
        yield "Undone", "the sale is being undone and cannot complete any more. The customer has to order again."
    yield "Money", order["money"]
    if order["needs_attention_at"]:
        yield _attention(order)
    if order["set_aside"]:
        yield "Cannot be written", f"since {short_time(order['set_aside']['since'])}: {order['set_aside']['reason']}"
    if order["cancel_requested_at"]:
        note = f": {order['cancel_note']}" if order["cancel_note"] else ""
        yield "Cancellation", f"asked for at {short_time(order['cancel_requested_at'])}, {order['cancel_reason']}{note}"
    yield "Next", _next(order)


def _attention(order: Row) -> tuple[str, str]:
    since = f"since {short_time(order['needs_attention_at'])}: {order['attention_reason']}"
    if order["needs_attention"]:
        return "Needs attention", since
    dealt_with = order["dealt_with"]
    return "Dealt with", f"by {dealt_with['author']}: {dealt_with['reason']}. It needed attention {since}"


def _next(order: Row) -> str:
    if order["due_at"] is None:
        return "nothing. The order has ended."
    action = next((_words(step["action"]) for step in order["steps"] if step["state"] == "now"), "")
    is_claimed = order["claimed_until"] and _ms(order["as_of"], order["claimed_until"]) > 0
    when = f"in flight at {order['claimed_by']}" if is_claimed else _due(order["due_at"], order["as_of"])
    number = order["retry_count"]
    tries = f", after {number} failed {'try' if number == 1 else 'tries'}" if number else ""
    detail = f" ({order['status_detail']})" if order["status_detail"] else ""
    return f"{action}, {when}{tries}{detail}"


def _due(due_at: str, as_of: str) -> str:
    ms = _ms(as_of, due_at)
    return f"due {short_time(due_at)}, {f'in {duration(ms)}' if ms > 0 else f'for {duration(-ms)} now'}"


def _ms(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000


def _moment(entry: Row) -> Row:
    shown = {"at": short_time(entry["at"]), "after": f"+{duration(entry['after_ms'])}" if "after_ms" in entry else ""}
    match entry["kind"]:
        case "attempt":
            refund = f"refund …{entry['refund_id'][-8:]}: " if entry["refund_id"] else ""
            status = str(entry["http_status"] or "")
            text = entry["text"] or ""
            code = "" if entry["code"] and entry["code"] in text else entry["code"]
            words = (status, code, text, f"took {duration(entry['took_ms'])}")
            what = f"{refund}{_words(entry['step'])}, attempt {entry['attempt']}: {entry['outcome']}"
            return {**shown, "what": what, "detail": ", ".join(filter(None, words))}
        case "note":
            return {**shown, "what": f"note of {entry['text']}", "detail": entry["detail"]}
        case _:
            return {**shown, "what": entry["text"], "detail": entry["detail"]}


def _refund(refund: Row, currency: str) -> Row:
    problem = refund["attention_reason"] or refund["failure_message"]
    if problem and refund["dealt_with"] and not refund["needs_attention"]:
        problem += f" (dealt with by {refund['dealt_with']['author']})"
    next_try = refund["due_at"] and short_time(refund["due_at"])
    return {**refund, "currency": currency, "problem": problem, "next_try": next_try}


def _words(name: str) -> str:
    return name.replace("_", " ")
