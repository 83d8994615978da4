"""The refusals of the Edge API, in addition to those of common/api/errors.py."""

from common.api.errors import ApiError, RateLimited


class PaymentDeclined(ApiError):
    """The payment was declined. The same request will be declined again."""

    status, code, is_final = 402, "payment_declined", True


class TooManyDeclines(RateLimited):
    """Too many payments with this key or from this address were declined. Send the order again after Retry-After."""


class CurrencyMismatch(ApiError):
    """All products of an order must be priced in the order's currency. The details list those that are not."""

    status, code = 400, "currency_mismatch"


class UnknownProduct(ApiError):
    """A product of this order does not exist or cannot be ordered."""

    status, code, is_final = 422, "unknown_product", True


class RequestAbandoned(ApiError):
    """Nobody came back in time, or the order was cancelled; nothing is held. A new order needs a new key."""

    status, code, is_final = 409, "request_abandoned", True


class OrderNotFound(ApiError):
    """There is no such order."""

    status, code = 404, "not_found"


class OrderNotCancellable(ApiError):
    """The order has ended and cannot be cancelled. A completed one can be refunded: `details.use` says so."""

    status, code, is_final = 409, "order_not_cancellable", True


class OrderNotRefundable(ApiError):
    """Only a completed order can be refunded. `details.status` says where the order stands."""

    status, code = 409, "order_not_refundable"


class RefundExceedsRemaining(ApiError):
    """Less is left to refund: `details.remaining_cents`. `details.items` lists products with too many pieces."""

    status, code = 409, "refund_exceeds_remaining"


class RefundNotFound(ApiError):
    """There is no such refund."""

    status, code = 404, "not_found"


class GatewayError(ApiError):
    """The payment service did not answer. Send the same request with the same key: it continues where it stopped."""

    status, code, retry_after = 503, "gateway_error", 1


class PricesUnavailable(ApiError):
    """The prices could not be read; nothing was done. Send the same request again with the same key."""

    status, code, retry_after = 503, "service_unavailable", 1


class ProductsUnavailable(ApiError):
    """The inventory service did not answer. Send the same request again, with the same key if it has one."""

    status, code, retry_after = 503, "service_unavailable", 1


class DuplicateSku(ApiError):
    """A product has this SKU already. `details.existing_product_id` names it."""

    status, code = 409, "duplicate_sku"


class ProductNotFound(ApiError):
    """There is no such product. `details.product_ids` names the unknown ones."""

    status, code = 404, "product_not_found"


class InsufficientStock(ApiError):
    """There is not enough in stock. `details.available` says how much is left."""

    status, code = 409, "insufficient_stock"
