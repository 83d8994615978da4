"""The refusals of the inventory service, on top of those that all services share.

A message must be complete without its details: it may become the `failure` of an order.
"""

from __future__ import annotations

from common.api.errors import ApiError


class DuplicateSku(ApiError):
    """A product has this SKU already. `details.existing_product_id` names it."""

    status, code = 409, "duplicate_sku"

    def __init__(self, existing_product_id: str) -> None:
        super().__init__(
            f"A product has this SKU already: {existing_product_id}.", existing_product_id=existing_product_id
        )


class ProductNotFound(ApiError):
    """There is no such product. `details.product_ids` names the unknown ones."""

    status, code = 404, "product_not_found"

    def __init__(self, product_ids: list[str]) -> None:
        super().__init__(f"There is no such product: {', '.join(product_ids)}.", product_ids=product_ids)


class InsufficientStock(ApiError):
    """There is not enough in stock. `details.available` says how much is left."""

    status, code = 409, "insufficient_stock"

    def __init__(self, product_id: str, product_sku: str, requested: int, available: int) -> None:
        super().__init__(
            f"There is not enough of {product_sku} in stock: {requested} requested, {available} available.",
            product_id=product_id,
            product_sku=product_sku,
            requested=requested,
            available=available,
        )


class ReservationReleased(ApiError):
    """The reservation of this order has been released and cannot be made again."""

    status, code = 409, "reservation_released"
