"""`holdfast ops order`, `retry`, `cancel`, `refund`, `note` and `dealt-with`: what concerns one order."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.console import YES, ask
from holdfast_client.cli.failures import Failed
from holdfast_client.cli.ops_output import show_order
from holdfast_client.cli.output import FORMAT, TABLE, money, notice, printable, short_time, show_one, table
from holdfast_client.cli.values import KEY, NOTE, REASONS
from holdfast_client.console import ConsoleClient, Row
from holdfast_client.errors import RefundExceedsRemaining

FOUND = ("order_ledger_id", "found_by", "created_at", "status", "total_amount_cents", "client", "reference", "email")
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
QUANTITY = re.compile("[1-9][0-9]{0,8}", re.ASCII)
ID = click.argument("id_", metavar="ID")
WHY = click.option("--reason", required=True, help="Stays in the record. Name no customer.")
OF_MONEY = click.option("--reason", type=click.Choice(REASONS), required=True)


@click.command()
@ID
@FORMAT
@pass_connection
def order(connection: Connection, id_: str, output: str) -> None:
    """Show everything about an order on one screen: where it is, why, what is next, and whether all books agree.

    ID is any id that belongs to it: of the order, a payment, a capture, a refund, a reservation, an event or a request;
    an idempotency key, a reference, a user or an e-mail address. If several orders belong to it, they are listed, and
    the exit code is 1.
    """
    with connection.console() as console:
        _show(console.get(_path(_one(console, id_))), output)


@click.command()
@ID
@WHY
@KEY
@FORMAT
@pass_connection
def retry(connection: Connection, id_: str, reason: str, idempotency_key: str | None, output: str) -> None:
    """Try the next step of an order or a refund now, instead of waiting for its next retry."""
    with connection.console() as console:
        _act_on_either(console, id_, "retry", reason, idempotency_key, output)


@click.command("dealt-with")
@ID
@WHY
@KEY
@FORMAT
@pass_connection
def dealt_with(connection: Connection, id_: str, reason: str, idempotency_key: str | None, output: str) -> None:
    """Hide the mark of an order or a refund that needs attention, until it fails again."""
    with connection.console() as console:
        _act_on_either(console, id_, "dealt-with", reason, idempotency_key, output)


@click.command()
@ID
@OF_MONEY
@NOTE
@YES
@KEY
@FORMAT
@pass_connection
def cancel(
    connection: Connection, /, id_: str, reason: str, note: str | None, yes: bool, idempotency_key: str | None,
    output: str,
) -> None:  # fmt: skip
    """Cancel an order that is not completed: nothing stays charged, held or reserved."""
    with connection.console() as console:
        path = _path(_one(console, id_))
        found = console.get(path)
        amount = money(found["total_amount_cents"], found["currency"])
        ask(f"Cancel order {found['order_ledger_id']} ({found['status']}) and give {amount} back?", yes)
        body = {"reason": reason, **({"note": note} if note else {})}
        _show(console.act(f"{path}/cancel", body, idempotency_key), output)


@click.command()
@ID
@click.option("--amount-cents", type=click.IntRange(min=1), help="By default all that is left.")
@click.option("--item", "items", multiple=True, metavar="PRODUCT_ID:QUANTITY", help="Pieces. Can be repeated.")
@click.option("--restock", is_flag=True, help="Put the pieces back into stock.")
@OF_MONEY
@NOTE
@YES
@KEY
@FORMAT
@pass_connection
def refund(
    connection: Connection, /, id_: str, amount_cents: int | None, items: tuple[str, ...], restock: bool, reason: str,
    note: str | None, yes: bool, idempotency_key: str | None, output: str,
) -> None:  # fmt: skip
    """Refund a completed order: all that is left of it, an amount, or some of its pieces."""
    body: dict[str, Any] = {"reason": reason, "restock": restock, **({"note": note} if note else {})}
    if amount_cents is not None:
        body["amount_cents"] = amount_cents
    if items:
        body["items"] = [_item(each) for each in items]
    with connection.console() as console:
        order_ledger_id = _one(console, id_)
        if not yes:
            ask(_question(console, order_ledger_id, body, is_repeat=idempotency_key is not None), yes)
        show_one(_refund(console, order_ledger_id, body, idempotency_key), output)


def _refund(console: ConsoleClient, order_ledger_id: str, body: Row, key: str | None = None, **options: str) -> Row:
    """:raises RefundExceedsRemaining: with what is left"""
    path = _path(order_ledger_id)
    try:
        return console.act(f"{path}/refunds", body, key, **options)
    except RefundExceedsRemaining as error:
        left = _left(console.get(path), error)
        raise RefundExceedsRemaining(left, status=error.status, code=error.code, request_id=error.request_id) from None


def _left(order: Row, refusal: RefundExceedsRemaining) -> str:
    names = {item["product_id"]: item["name"] for item in order["items"] or ()}
    if items := refusal.details.get("items"):
        return " ".join(
            _left_of(names.get(item["product_id"]) or item["product_id"], item["remaining"]) for item in items
        )
    if left := refusal.remaining_cents:
        return f"Only {money(left, order['currency'])} is left to refund."
    return "Nothing is left to refund."


def _left_of(name: str, pieces: int) -> str:
    name = printable(name)
    if pieces == 0:
        return f"No piece of {name} is left to refund."
    if pieces == 1:
        return f"Only 1 piece of {name} is left to refund."
    return f"Only {pieces} pieces of {name} are left to refund."


def _question(console: ConsoleClient, order_ledger_id: str, body: Row, *, is_repeat: bool) -> str:
    """:raises HoldfastError: it would be refused"""
    try:
        planned = _refund(console, order_ledger_id, body, dry_run="true")
    except RefundExceedsRemaining:
        if is_repeat:
            return f"Less is left of order {order_ledger_id}. Was this the refund with this key? Send it once more?"
        raise
    amount = money(planned["amount_cents"], console.get(_path(order_ledger_id))["currency"])
    back = ", and put the pieces back into stock" if planned["restock"] else ""
    return f"Refund {amount} of order {order_ledger_id} to the customer{back}?"


@click.command()
@ID
@click.argument("text")
@KEY
@FORMAT
@pass_connection
def note(connection: Connection, id_: str, text: str, idempotency_key: str | None, output: str) -> None:
    """Write a note on an order, for other operators."""
    with connection.console() as console:
        _show(console.act(f"{_path(_one(console, id_))}/notes", {"text": text}, idempotency_key), output)


def one_order_commands() -> tuple[click.Command, ...]:
    return order, retry, cancel, refund, note, dealt_with


def _act_on_either(
    console: ConsoleClient, text: str, action: str, reason: str, key: str | None, output: str
) -> None:  # fmt: skip
    """On a refund, if this is the id of one; otherwise on the order to which it belongs."""
    found = _search(console, text)
    if [each["found_by"] for each in found] == ["refund"]:
        show_one(console.act(f"/refunds/{quote(text, safe='')}/{action}", {"reason": reason}, key), output)
    else:
        _show(console.act(f"{_path(_only(found, text))}/{action}", {"reason": reason}, key), output)


def _path(order_ledger_id: str) -> str:
    return f"/orders/{quote(order_ledger_id, safe='')}"


def _one(console: ConsoleClient, text: str) -> str:
    """The order that an id of any kind belongs to. :raises Failed: there is none, or there are several"""
    return _only(_search(console, text), text)


def _search(console: ConsoleClient, text: str) -> list[Row]:
    answer = console.get("/search", q=text)
    found: list[Row] = answer["orders"]
    if not found and answer.get("others"):
        raise Failed(f"{text} is the id of a {answer['others'][0]['kind']}, and not of an order.")
    if not found:
        raise Failed(f"Nothing belongs to {text}.", "Give a whole id, a whole reference or a whole e-mail address.")
    return found


def _only(found: list[Row], text: str) -> str:
    if len(found) > 1:
        notice(table([{**each, "created_at": short_time(each["created_at"])} for each in found], FOUND))
        raise Failed(f"Several orders belong to {text}.", "Give the order_ledger_id of one of them.")
    return str(found[0]["order_ledger_id"])


def _item(text: str) -> dict[str, Any]:
    product_id, _, quantity = text.partition(":")
    if not UUID.fullmatch(product_id) or not QUANTITY.fullmatch(quantity):
        raise click.BadParameter(
            f"{text} is not PRODUCT_ID:QUANTITY. The id is a UUID, and not a SKU.", param_hint="--item"
        )
    return {"product_id": product_id, "quantity": int(quantity)}


def _show(found: Row, output: str) -> None:
    if output == TABLE:
        show_order(found)
    else:
        show_one(found, output)
