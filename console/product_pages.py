"""The pages about products."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import render_template, request, url_for
from werkzeug.wrappers import Response

from common.api.errors import ValidationFailed
from common.api.routes import load
from common.database.database import Row
from common.products.schemas import StockChange
from console import forms, product_schemas, products
from console.context import Console
from console.formats import cents_of, money
from console.pages import operator, page
from console.writes import Done
from domain.stock import MORE_OR_LESS, ONLY_MORE

Answer = str | Response | tuple[str, int]
WHOLE = re.compile("[+-]?[0-9]{1,10}", re.ASCII)


@page("GET", "/products", role="viewer")
def product_list(console: Console) -> str:
    given, query, problems = forms.asked(product_schemas.ProductQuery())
    nothing: Row = {"products": [], "next_cursor": None}
    found = nothing if problems else products.page(console.database, query)
    more = forms.more("product_list", found["next_cursor"], {})
    return render_template("products.html", **found, given=given, problems=problems, more=more)


@page("GET", "/products/<uuid:product_id>", role="viewer")
def product_page(console: Console, product_id: str) -> str:
    return render_template("product.html", **_values(console, product_id), key=forms.new_key())


@page("POST", "/products/<uuid:product_id>/stock", role="operator")
def change_stock_of_product(console: Console, product_id: str) -> Answer:
    def work() -> str:
        body = load(StockChange(), _stock_form())
        done = products.change_stock(
            console.database, console.inventory, operator().name, forms.key(), product_id, body
        )
        result = done.result
        return forms.outcome(done, f"{result['sku']}: stock {result['previous_quantity']} → {result['new_quantity']}.")

    return _act(console, product_id, work)


@page("POST", "/products/<uuid:product_id>/change", role="operator")
def change_of_product(console: Console, product_id: str) -> Answer:
    def work() -> str:
        product = products.read(console.database, product_id, {"limit": 1})
        done = _change(console, product_id, _changes_of_form(product["currency"]))
        return forms.outcome(done, f"{done.result['sku']}: {done.result['name']}, {_price(done.result)}.")

    return _act(console, product_id, work)


@page("POST", "/products/<uuid:product_id>/retire", role="operator")
def retire_product(console: Console, product_id: str) -> Answer:
    def work() -> str:
        done = _change(console, product_id, {"is_active": False})
        return forms.outcome(done, f"{done.result['sku']} was retired: new orders for it are refused.")

    return _act(console, product_id, work)


@page("POST", "/products/<uuid:product_id>/resume", role="operator")
def resume_product(console: Console, product_id: str) -> Answer:
    def work() -> str:
        done = _change(console, product_id, {"is_active": True})
        return forms.outcome(done, f"{done.result['sku']} was put on sale again, at {_price(done.result)}.")

    return _act(console, product_id, work)


def _act(console: Console, product_id: str, work: Callable[[], str]) -> Answer:
    """Change a product, and tell it on its page."""
    then = url_for(".product_page", product_id=product_id)
    return forms.answer(console, work, then, "product.html", lambda: _values(console, product_id))


def _change(console: Console, product_id: str, changes: Row) -> Done:
    body = load(product_schemas.ProductChange(), {**changes, "reason": forms.text("reason")})
    reason = body.pop("reason")
    return products.change(console.database, console.inventory, operator().name, forms.key(), product_id, body, reason)


def _values(console: Console, product_id: str) -> Row:
    """What the page of a product shows. :raises ProductNotFound:"""
    query = load(product_schemas.AdjustmentQuery(), request.args.to_dict())
    product = products.read(console.database, product_id, query)
    older = url_for(".product_page", product_id=product_id, cursor=product["next_cursor"])
    return {
        "product": product,
        "older": older if product["next_cursor"] else None,
        "only_more": ONLY_MORE,
        "more_or_less": MORE_OR_LESS,
    }


def _stock_form() -> Row:
    sent: Row = {name: forms.text(name) for name in ("reason", "reference_id", "notes") if forms.text(name)}
    quantity = forms.text("quantity").replace("−", "-")
    return {**sent, "quantity": int(quantity) if WHOLE.fullmatch(quantity) else quantity}


def _changes_of_form(currency: str) -> Row:
    """What differs from the page as it was drawn, so that nothing that others changed since is undone."""
    name, price = forms.text("name"), forms.text("price")
    changes: Row = {"name": name} if name != forms.text("was_name") else {}
    if price != forms.text("was_price"):
        try:
            changes["price_cents"] = cents_of(price, currency)
        except ValueError as error:
            raise ValidationFailed(price=[str(error)]) from None
    return changes


def _price(product: Row) -> str:
    return money(product["price_cents"], product["currency"])
