"""The routes about products, a part of the console's API."""

from __future__ import annotations

from typing import Any

from flask import g

from common.api.routes import Api
from common.database.database import Row
from common.products import schemas as inventory
from console import product_schemas as schemas
from console import products
from console.access import OPERATOR, VIEWER
from console.context import Console
from console.writes import NotKnown, Unanswered
from edge_api.errors import InsufficientStock, ProductNotFound

ONE = "/api/products/<uuid:product_id>"
api = Api("Products", "A part of the console's API.")


@api.route("GET", "/api/products", access=VIEWER, query=schemas.ProductQuery, answer=schemas.ListedProducts)
def list_products(console: Console, query: dict[str, Any]) -> Row:
    """List products by SKU, with what open orders have reserved."""
    return products.page(console.database, query)


@api.route(
    "GET",
    ONE,
    access=VIEWER,
    query=schemas.AdjustmentQuery,
    answer=schemas.ProductDetails,
    errors=(ProductNotFound,),
)
def get_product(console: Console, product_id: str, query: dict[str, Any]) -> Row:
    """Show a product, its prices and its adjustments, newest first."""
    return products.read(console.database, product_id, query)


@api.route(
    "POST",
    f"{ONE}/stock",
    access=OPERATOR,
    body=inventory.StockChange,
    answer=schemas.ProductDetails,
    idempotency_key=True,
    errors=(ProductNotFound, InsufficientStock, Unanswered),
)
def change_stock(console: Console, product_id: str, idempotency_key: str, body: Row) -> Row:
    """Add stock to a product, or correct it."""
    products.change_stock(console.database, console.inventory, g.caller, idempotency_key, product_id, body)
    return _shown(console, product_id)


@api.route(
    "PATCH",
    ONE,
    access=OPERATOR,
    body=schemas.ProductChange,
    answer=schemas.ProductDetails,
    idempotency_key=True,
    errors=(ProductNotFound, NotKnown),
)
def change_product(console: Console, product_id: str, idempotency_key: str, body: Row) -> Row:
    """Change a product's name or price, or end and resume its sale."""
    changes = {name: value for name, value in body.items() if name != "reason"}
    products.change(console.database, console.inventory, g.caller, idempotency_key, product_id, changes, body["reason"])
    return _shown(console, product_id)


def _shown(console: Console, product_id: str) -> Row:
    return products.read(console.database, product_id, schemas.AdjustmentQuery().load({}))
