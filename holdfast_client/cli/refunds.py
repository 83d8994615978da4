"""`holdfast orders refund` and `holdfast orders refunds`."""

from __future__ import annotations

import time
from typing import Any

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.failures import Failed
from holdfast_client.cli.orders import TIMEOUT, WAIT
from holdfast_client.cli.output import FORMAT, as_row, notice, show_all, show_one
from holdfast_client.cli.values import KEY, REASON, order_line
from holdfast_client.client import LONGEST_SERVER_WAIT_S, HoldfastClient
from holdfast_client.models import Line, Refund

COLUMNS = ("refund_id", "status", "amount_cents", "items", "restock", "reason", "created_at")
LOOK_EVERY_S = 0.5


@click.command()
@click.argument("order_ledger_id")
@click.option("--amount-cents", type=click.IntRange(min=1), help="In the smallest unit of the order's currency.")
@click.option(
    "--item", "items", type=order_line, metavar="PRODUCT_ID[:QUANTITY]", multiple=True, help="Pieces. Can be repeated."
)
@click.option("--restock", is_flag=True, help="Put the pieces back into stock.")
@REASON
@click.option("--note", help="For your own use.")
@click.option("--dry-run", is_flag=True, help="Show what would be refunded, and do nothing.")
@KEY
@WAIT
@TIMEOUT
@FORMAT
@pass_connection
def refund(
    connection: Connection,
    /,
    order_ledger_id: str,
    amount_cents: int | None,
    items: tuple[Line, ...],
    restock: bool,
    wait: bool,
    timeout: float,
    output: str,
    **fields: Any,
) -> None:
    """Refund a completed order: an amount, some pieces, or by default all that is left.

    With --wait: 0 if it was refunded, 1 if it was refused for good or is still pending.
    """
    if amount_cents is not None and (items or restock):
        raise click.UsageError("--amount-cents is not about pieces: use it without --item and --restock.")
    with connection.client() as client:
        made = client.refund(
            order_ledger_id, amount_cents=amount_cents, items=list(items) or None, restock=restock, **fields
        )
        if wait and made.refund_id is not None:
            made = _ended(client, made.refund_id, timeout)
    show_one(as_row(made), output)
    if made.refund_id is None:
        notice("Nothing was refunded: this was a dry run.")
    elif made.status == "FAILED":
        why = f": {made.failure.message or made.failure.code}" if made.failure else "."
        raise Failed(f"The refund was refused{why}", "Nothing was paid back. Try again, with another key.")
    elif wait and not made.is_terminal:
        raise Failed(
            f"The refund is still pending after {timeout:g} s.",
            f"It goes on, if need be for days: holdfast orders refunds {order_ledger_id}",
        )
    elif not wait:
        notice(f"Asked for. See how it ends: holdfast orders refunds {order_ledger_id}")


@click.command()
@click.argument("order_ledger_id")
@FORMAT
@pass_connection
def refunds(connection: Connection, order_ledger_id: str, output: str) -> None:
    """List the refunds of an order, oldest first."""
    with connection.client() as client:
        show_all(map(as_row, client.refunds(order_ledger_id)), output, COLUMNS)


def _ended(client: HoldfastClient, refund_id: str, timeout: float) -> Refund:
    """The refund at its end, or as it is when the time is up."""
    deadline = time.monotonic() + timeout
    while True:
        left = max(0, deadline - time.monotonic())
        made = client.get_refund(refund_id, wait=min(left, LONGEST_SERVER_WAIT_S))
        if made.is_terminal or time.monotonic() >= deadline:
            return made
        time.sleep(LOOK_EVERY_S)
