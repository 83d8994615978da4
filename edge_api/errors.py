"""Every refusal of the Edge API that is not common to all services."""

from common.api.errors import ApiError


class PaymentDeclined(ApiError):
    """The payment was declined. The same request will be declined again."""

    status, code, is_final = 402, "payment_declined", True


class UnknownProduct(ApiError):
    """A product of this order does not exist."""

    status, code, is_final = 422, "unknown_product", True


class OrderNotFound(ApiError):
    """There is no such order."""

    status, code = 404, "not_found"


class GatewayError(ApiError):
    """The payment service gave no answer. Send the same request with the same key: it goes on where it stopped."""

    status, code, retry_after = 503, "gateway_error", 1


class PricesUnavailable(ApiError):
    """The prices could not be read, nothing was done. Send the same request again with the same key."""

    status, code, retry_after = 503, "service_unavailable", 1
