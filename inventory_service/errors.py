"""Every "no" that the inventory service can say, beside those of common/api/errors.py."""

from common.api.errors import ApiError


class DuplicateSku(ApiError):
    """There is a product with this SKU already; details name it."""

    status, code = 409, "duplicate_sku"


class ProductNotFound(ApiError):
    """There is no such product; details name the ids that are not known."""

    status, code = 404, "product_not_found"


class InsufficientStock(ApiError):
    """There is not enough in stock; details say how much is left."""

    status, code = 409, "insufficient_stock"


class ReservationReleased(ApiError):
    """The reservation of this order has been released, and cannot be made again."""

    status, code = 409, "reservation_released"
