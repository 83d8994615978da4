"""`holdfast products`: what can be ordered, at which price, and how much of it there is."""

from __future__ import annotations

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.orders import show_some
from holdfast_client.cli.output import FORMAT, as_row, show_all, show_one
from holdfast_client.cli.values import KEY

COLUMNS = ("id", "sku", "name", "price_cents", "stock_quantity", "is_active")
STOCK_REASONS = ("warehouse_receiving", "return_to_stock", "manual_adjustment", "correction")
PRICE = click.IntRange(min=1)


@click.group()
def products() -> None:
    """Create and change products, and their stock."""


@products.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--all", "all_", is_flag=True, help="All of them, whatever --limit says.")
@FORMAT
@pass_connection
def list_(connection: Connection, limit: int, all_: bool, output: str) -> None:
    """List products, in a stable order."""
    with connection.client() as client:
        found = client.list_products(page_size=100 if all_ else min(limit + 1, 100))
        show_some(found, None if all_ else limit, lambda rows: show_all(map(as_row, rows), output, COLUMNS))


@products.command()
@click.argument("product_id")
@FORMAT
@pass_connection
def show(connection: Connection, product_id: str, output: str) -> None:
    """Show a product."""
    with connection.client() as client:
        show_one(as_row(client.get_product(product_id)), output)


@products.command()
@click.option("--name", required=True)
@click.option("--sku", required=True, help="1 to 100 of A-Z a-z 0-9 - _")
@click.option("--price-cents", type=PRICE, required=True, help="In the smallest unit of the currency.")
@click.option("--currency", help="By default that of the server.")
@click.option("--stock", type=click.IntRange(min=0), help="How many pieces there are.")
@FORMAT
@pass_connection
def create(
    connection: Connection, name: str, sku: str, price_cents: int, currency: str | None, stock: int | None, output: str
) -> None:
    """Create a product."""
    with connection.client() as client:
        product = client.create_product(
            name=name, sku=sku, price_cents=price_cents, currency=currency, initial_stock=stock
        )
    show_one(as_row(product), output)


@products.command()
@click.argument("product_id")
@click.option("--name")
@click.option("--price-cents", type=PRICE, help="Orders keep the price at which they were placed.")
@click.option("--active/--inactive", "is_active", default=None, help="An inactive product cannot be ordered.")
@FORMAT
@pass_connection
def change(
    connection: Connection,
    product_id: str,
    name: str | None,
    price_cents: int | None,
    is_active: bool | None,
    output: str,
) -> None:
    """Change the name or the price of a product, or whether it can be ordered."""
    if name is None and price_cents is None and is_active is None:
        raise click.UsageError("Nothing to change: give --name, --price-cents, --active or --inactive.")
    with connection.client() as client:
        product = client.change_product(product_id, name=name, price_cents=price_cents, is_active=is_active)
    show_one(as_row(product), output)


@products.command(context_settings={"ignore_unknown_options": True})
@click.argument("product_id")
@click.argument("quantity", type=int)
@click.option("--reason", type=click.Choice(STOCK_REASONS), help="By default warehouse_receiving or correction.")
@click.option("--reference-id", help="Such as the number of a delivery note.")
@click.option("--notes")
@KEY
@FORMAT
@pass_connection
def stock(
    connection: Connection,
    product_id: str,
    quantity: int,
    reason: str | None,
    reference_id: str | None,
    notes: str | None,
    idempotency_key: str | None,
    output: str,
) -> None:
    """Add QUANTITY pieces to the stock of a product. A negative QUANTITY takes some away."""
    why = reason or ("warehouse_receiving" if quantity > 0 else "correction")
    with connection.client() as client:
        changed = client.change_stock(
            product_id, quantity, why, reference_id=reference_id, notes=notes, idempotency_key=idempotency_key
        )
    show_one(as_row(changed), output)
