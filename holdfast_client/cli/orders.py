"""`holdfast orders`: place, find, follow and cancel orders."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.failures import Failed
from holdfast_client.cli.output import FORMAT, JSONL, TABLE, as_row, cell, notice, show_all, show_line, show_one
from holdfast_client.cli.values import KEY, METADATA, REASON, order_line, when
from holdfast_client.models import Line, Order

COLUMNS = ("order_ledger_id", "status", "total_amount_cents", "reference", "email", "created_at")
STATUSES = (
    "AWAITING_AUTHORIZATION", "AUTHORIZED", "AUTHORIZATION_FAILED", "ORDER_CREATED", "INVENTORY_RESERVED",
    "PAYMENT_CAPTURED", "COMPLETED", "COMPENSATING", "FAILED",
)  # fmt: skip
LOOK_EVERY_S = 0.5
WAIT = click.option("--wait", is_flag=True, help="Wait for the end. The exit code is 1 if it is not the wanted one.")
TIMEOUT = click.option(
    "--timeout", type=click.FloatRange(min=0), default=60, show_default=True, metavar="SECONDS",
    help="How long to wait for the end.",
)  # fmt: skip


@click.group()
def orders() -> None:
    """Place, find, follow, cancel and refund orders."""


@orders.command()
@click.option(
    "--item",
    "items",
    type=order_line,
    metavar="PRODUCT_ID[:QUANTITY]",
    multiple=True,
    required=True,
    help="Can be repeated.",
)
@click.option("--email", required=True, help="The customer's.")
@click.option("--user-id", default=lambda: str(uuid.uuid4()), help="The customer's, a UUID. By default a new one.")
@click.option("--token", default="tok_visa", show_default=True, help="The token of the card.")
@click.option("--currency", help="Refuse the order if its products have another currency.")
@click.option("--reference", help="Your own order number.")
@METADATA
@KEY
@WAIT
@TIMEOUT
@FORMAT
@pass_connection
def place(
    connection: Connection,
    /,
    items: tuple[Line, ...],
    token: str,
    metadata: tuple[tuple[str, str], ...],
    idempotency_key: str | None,
    wait: bool,
    timeout: float,
    output: str,
    **fields: Any,
) -> None:
    """Place an order."""
    key = idempotency_key or str(uuid.uuid4())
    with connection.client() as client:
        placed = client.place_order(
            items=items, payment_token=token, metadata=dict(metadata) or None, idempotency_key=key, **fields
        )
        notice(f"{'Placed before' if placed.replayed else 'Placed'}, with the idempotency key {key}")
        if not wait:
            show_one(as_row(placed), output)
            return
        show_order(order := client.wait_until_terminal(placed.order_ledger_id, timeout), output)
    check_completed(order)


@orders.command("list")
@click.option("--status", type=click.Choice(STATUSES), multiple=True, help="Can be repeated.")
@click.option("--reference")
@click.option("--key", "client_request_id", help="The idempotency key of the order.")
@click.option("--user-id")
@click.option("--email")
@click.option("--refund-status", type=click.Choice(["none", "partial", "full"]))
@click.option("--since", "created_from", type=when, help="Placed then or later: 2h, or 2026-01-31T12:00:00Z.")
@click.option("--before", "created_before", type=when, help="Placed before then.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--all", "all_", is_flag=True, help="All of them, whatever --limit says.")
@FORMAT
@pass_connection
def list_(
    connection: Connection, /, status: tuple[str, ...], limit: int, all_: bool, output: str, **filters: Any
) -> None:
    """List orders, newest first."""
    with connection.client() as client:
        page_size = 100 if all_ else min(limit + 1, 100)
        found = client.list_orders(status=status or None, page_size=page_size, **filters)
        show_some(found, None if all_ else limit, lambda rows: show_all(map(_without_timeline, rows), output, COLUMNS))


@orders.command()
@click.argument("order_ledger_id")
@click.option("--wait", type=click.FloatRange(0, 30), metavar="SECONDS", help="Wait for its end, at most so long.")
@FORMAT
@pass_connection
def show(connection: Connection, order_ledger_id: str, wait: float | None, output: str) -> None:
    """Show an order and how it got there."""
    with connection.client() as client:
        show_order(client.get_order(order_ledger_id, wait=wait), output)


@orders.command()
@click.argument("order_ledger_id")
@TIMEOUT
@FORMAT
@pass_connection
def watch(connection: Connection, order_ledger_id: str, timeout: float, output: str) -> None:
    """Follow an order until its end.

    table and jsonl show each step when it is taken, json shows the order at its end. The exit code is 0 if the order is
    completed, and 1 if it ended otherwise or is still in progress.
    """
    shown, deadline = 0, time.monotonic() + timeout
    with connection.client() as client:
        while True:
            order = client.get_order(order_ledger_id)
            for entry in order.timeline[shown:]:
                _show_step(as_row(entry), output)
            shown = len(order.timeline)
            if order.is_terminal or time.monotonic() >= deadline:
                break
            time.sleep(LOOK_EVERY_S)
    if output not in (TABLE, JSONL):
        show_one(as_row(order), output)
    if not order.is_terminal:
        raise Failed(f"The order is still {order.status} after {timeout:g} s.", "It goes on. Watch it again later.")
    check_completed(order)


@orders.command()
@click.argument("order_ledger_id")
@REASON
@click.option("--note", help="For your own use.")
@KEY
@WAIT
@TIMEOUT
@FORMAT
@pass_connection
def cancel(
    connection: Connection, /, order_ledger_id: str, wait: bool, timeout: float, output: str, **fields: Any
) -> None:
    """Cancel an order that is not completed. With --wait: 0 if it was cancelled, 1 if it was completed first."""
    with connection.client() as client:
        order = client.cancel_order(order_ledger_id, **fields)
        if wait:
            order = client.wait_until_terminal(order_ledger_id, timeout)
    show_order(order, output)
    if order.cancellation and order.cancellation.status == "refused":
        raise Failed("The order was completed before it could be cancelled.", "Refund it instead.")
    if not wait:
        notice(f"Asked for. See how it ends: holdfast orders watch {order_ledger_id}")


def show_order(order: Order, output: str) -> None:
    """Print an order. In a table, what has no value is left out."""
    row = as_row(order)
    if output != TABLE:
        show_one(row, output)
        return
    lines, steps = row.pop("items"), row.pop("timeline")
    show_one(row, output, [name for name, value in row.items() if value not in (None, {}, "")])
    click.echo()
    show_all([each | {"currency": order.currency} for each in lines], output, tuple(lines[0]))
    click.echo()
    show_all(steps, output, ("at", "status", "detail"))


def check_completed(order: Order) -> None:
    """:raises Failed: the order has ended otherwise"""
    if order.is_completed:
        return
    why = f": {order.failure.message or order.failure.code}" if order.failure else ""
    raise Failed(f"The order has ended as {order.status}{why}", "Nothing is charged, held or reserved.")


def show_some(found: Iterable[Any], limit: int | None, show_rows: Callable[[Iterable[Any]], None]) -> None:
    """Show at most so many, and say whether there are more."""
    if limit is None:
        show_rows(found)
        return
    first = list(islice(found, limit + 1))
    show_rows(first[:limit])
    if len(first) > limit:
        notice(f"There are more than these {limit}. See them with --limit or --all.")


def _without_timeline(order: Order) -> dict[str, Any]:
    """An order of a list, which has no timeline."""
    return {name: value for name, value in as_row(order).items() if name != "timeline"}


def _show_step(row: dict[str, Any], output: str) -> None:
    if output == JSONL:
        show_line(row)
    elif output == TABLE:
        click.echo(f"{cell(row, 'at')}  {cell(row, 'status'):<22}  {cell(row, 'detail')}")
