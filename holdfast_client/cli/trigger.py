"""`holdfast webhooks trigger`: make an event happen, by a real order against the simulated gateway."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.failures import Failed
from holdfast_client.cli.output import FORMAT, TABLE, notice, show_one
from holdfast_client.cli.values import METADATA
from holdfast_client.client import HoldfastClient
from holdfast_client.errors import DuplicateSku, NotCancellable, PaymentDeclined
from holdfast_client.models import Event

SKU = "HOLDFAST-TRIGGER"
STOCK = 1000
TRIES = 5  # an order may be completed before it can be cancelled
APPEARS_WITHIN_S = 60
LOOK_EVERY_S = 0.2
Place = Callable[[str], str]
"""Places an order with this card, and returns its order_ledger_id, also after a decline."""
Recipe = Callable[[HoldfastClient, Place], str]
"""Makes an event happen, and returns the order_ledger_id of its order."""


def _with_card(token: str) -> Recipe:
    return lambda client, place: place(token)


def _cancelled(client: HoldfastClient, place: Place) -> str:
    for _ in range(TRIES):
        order_ledger_id = place("tok_visa")
        try:
            client.cancel_order(order_ledger_id, "other")
        except NotCancellable:
            continue
        if not client.wait_until_terminal(order_ledger_id).is_completed:
            return order_ledger_id
    raise Failed(f"{TRIES} orders were completed before they could be cancelled.", "Try again.")


def _refunded(token: str) -> Recipe:
    def recipe(client: HoldfastClient, place: Place) -> str:
        order_ledger_id = place(token)
        client.wait_until_terminal(order_ledger_id)
        client.refund(order_ledger_id, reason="other")
        return order_ledger_id

    return recipe


RECIPES: dict[str, Recipe] = {
    "order.authorized": _with_card("tok_visa"),
    "order.completed": _with_card("tok_visa"),
    "order.failed": _with_card("fail_capture"),
    "order.authorization_failed": _with_card("decline_insufficient"),
    "order.cancelled": _cancelled,
    "refund.succeeded": _refunded("tok_visa"),
    "refund.failed": _refunded("fail_refund"),
}
"""Event type → what makes it happen."""


@click.command()
@click.argument("event_type", metavar="EVENT_TYPE")
@click.option("--product", "product_id", help=f"Order this one. By default a product is made, with the SKU {SKU}.")
@click.option("--reference", help="The order number of the order.")
@METADATA
@click.option("--yes", is_flag=True, help="Do not ask, although Holdfast is not on this machine.")
@FORMAT
@pass_connection
def trigger(
    connection: Connection,
    event_type: str,
    product_id: str | None,
    reference: str | None,
    metadata: tuple[tuple[str, str], ...],
    yes: bool,
    output: str,
) -> None:
    """Make an event happen, and show it: holdfast webhooks trigger order.failed

    This places a real order. It needs the simulated payment gateway, as `make run` has it.
    """
    recipe = RECIPES.get(event_type)
    if recipe is None:
        raise click.BadParameter(f"{event_type} is not one of {', '.join(RECIPES)}", param_hint="EVENT_TYPE")
    if not (yes or connection.is_local):
        click.confirm(f"This places a real order at {connection.address}. Go on?", abort=True, err=True)
    with connection.client() as client:
        product = product_id or _product(client)
        place = _placing(client, product, reference, dict(metadata) or None)
        event = _appearing(client, event_type, recipe(client, place))
    body = dict(event.raw)
    show_one({**body, **body["data"]} if output == TABLE else body, output, COLUMNS if output == TABLE else ())


COLUMNS = ("id", "type", "timestamp", "order_ledger_id", "status", "sequence", "total_amount_cents", "failure")


def _placing(client: HoldfastClient, product_id: str, reference: str | None, metadata: dict[str, str] | None) -> Place:
    def place(token: str) -> str:
        key = f"trigger-{uuid.uuid4()}"
        content: dict[str, Any] = {"reference": reference, "metadata": metadata, "payment_token": token}
        try:
            placed = client.place_order(
                user_id=uuid.uuid4(),
                email="trigger@shop.example",
                items=[{"product_id": product_id, "quantity": 1}],
                idempotency_key=key,
                **content,
            )
        except PaymentDeclined:
            return next(order.order_ledger_id for order in client.list_orders(client_request_id=key))
        return placed.order_ledger_id

    return place


def _product(client: HoldfastClient) -> str:
    """A product that can be ordered."""
    try:
        return client.create_product(name="Trigger", sku=SKU, price_cents=1000, initial_stock=STOCK).id
    except DuplicateSku as error:
        product = client.get_product(error.existing_product_id)
    if not product.is_active:
        client.change_product(product.id, is_active=True)
    if product.stock_quantity < 1:
        client.change_stock(product.id, STOCK, "correction")
    return product.id


def _appearing(client: HoldfastClient, event_type: str, order_ledger_id: str) -> Event:
    """Wait for the event. :raises Failed: it does not come"""
    notice(f"Waiting for {event_type} of the order {order_ledger_id}")
    deadline = time.monotonic() + APPEARS_WITHIN_S
    while True:
        found = next(client.events(type=event_type, order_ledger_id=order_ledger_id), None)
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            advice = f"See what has happened instead: holdfast orders show {order_ledger_id}"
            raise Failed(f"No {event_type} within {APPEARS_WITHIN_S} s.", advice)
        time.sleep(LOOK_EVERY_S)
