"""Calls about products: what can be ordered, at which price, and how much of it there is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import requests

from holdfast_client.calls import Calls, Id, given, path_of
from holdfast_client.models import ChangedStock, Product


class ProductCalls(Calls):
    """The part of HoldfastClient that is about products."""

    def create_product(
        self, *, name: str, sku: str, price_cents: int, currency: str | None = None, initial_stock: int | None = None
    ) -> Product:
        """Create a product.

        :param sku: 1 to 100 of `A-Z a-z 0-9 - _`; each product has another one
        :param currency: that of the price; None: the server's default
        :raises DuplicateSku: a product has this SKU. After a retry it may be the one that an earlier try made
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        body = {"name": name, "sku": sku, "price_cents": price_cents}
        body |= given(currency=currency, initial_stock=initial_stock)
        return self._call("POST", "/products", _product, json=body)

    def get_product(self, product_id: Id) -> Product:
        """:raises NotFound: no such product"""
        return self._call("GET", path_of("products", product_id), _product)

    def list_products(self, page_size: int = 100) -> Iterator[Product]:
        """Return all products, in a stable order. Pages are read while you iterate.

        :param page_size: products in one answer, 1 to 100
        """
        return self._pages("/products", "products", Product.from_json, {"limit": page_size})

    def change_product(
        self,
        product_id: Id,
        *,
        name: str | None = None,
        price_cents: int | None = None,
        is_active: bool | None = None,
    ) -> Product:
        """Change what is given. Orders keep the price at which they were placed.

        :param is_active: False: the product cannot be ordered
        :raises NotFound: no such product
        """
        body = given(name=name, price_cents=price_cents, is_active=is_active)
        return self._call("PATCH", path_of("products", product_id), _product, json=body)

    def change_stock(
        self,
        product_id: Id,
        quantity: int,
        reason: str,
        *,
        reference_id: str | None = None,
        notes: str | None = None,
        idempotency_key: str | None = None,
    ) -> ChangedStock:
        """Add pieces to the stock of a product, or take some away, exactly once.

        :param quantity: pieces; negative for `manual_adjustment` and `correction` only
        :param reason: `warehouse_receiving`, `return_to_stock`, `manual_adjustment` or `correction`
        :param idempotency_key: your name for this change; None: a new one
        :raises NotFound: no such product
        :raises HoldfastError: any other refusal, such as `insufficient_stock`; `Unavailable` when no answer came
        """
        body = {"quantity": quantity, "reason": reason, **given(reference_id=reference_id, notes=notes)}
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        return self._call("POST", f"{path_of('products', product_id)}/stock", _changed_stock, key=key, json=body)


def _product(response: requests.Response) -> Product:
    return Product.from_json(response.json())


def _changed_stock(response: requests.Response) -> ChangedStock:
    return ChangedStock.from_json(response.json())
