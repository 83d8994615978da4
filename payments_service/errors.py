"""The refusals of the payments service, on top of those that all services share.

A message must be complete without its details: it may become the `failure` of an order.
"""

from __future__ import annotations

from common.api.errors import ApiError, InvalidStatusTransition
from payments_service.domain import REFUNDED


class PaymentDeclined(ApiError):
    """The payment was declined. `details.decline_code` says why."""

    status, code, is_final = 402, "payment_declined", True

    def __init__(self, decline_code: str) -> None:
        super().__init__(f"The payment was declined: {decline_code}.", decline_code=decline_code, is_retryable=False)


class AuthorizationNotFound(ApiError):
    """There is no such authorization."""

    status, code = 404, "authorization_not_found"


class AlreadyVoided(ApiError):
    """The authorization has been voided."""

    status, code = 409, "already_voided"


class AlreadyCaptured(ApiError):
    """The payment has been captured. `details.capture_id` names the capture."""

    status, code = 409, "already_captured"

    def __init__(self, capture_id: str) -> None:
        super().__init__(f"The payment has been captured: {capture_id}.", capture_id=capture_id)


class NothingToRefund(InvalidStatusTransition):
    """No captured money is left to refund."""

    def __init__(self, current_status: str) -> None:
        super().__init__(
            f"No captured money is left to refund: the payment is {current_status}.",
            current_status=current_status,
            attempted_status=REFUNDED,
        )


class RefundDeclined(ApiError):
    """The gateway refuses to refund this payment. It will refuse every repeat."""

    status, code, is_final = 402, "refund_declined", True

    def __init__(self) -> None:
        super().__init__(None, is_retryable=False)


class GatewayError(ApiError):
    """The gateway did not answer. The request may or may not have taken effect. Send the same request again."""

    status, code, retry_after = 503, "gateway_error", 1


class OtherGateway(GatewayError):
    """The payment belongs to another gateway than the one in use. Set PAYMENT_GATEWAY to that one until it is done."""

    def __init__(self, gateway: str) -> None:
        super().__init__(f"The payment belongs to the gateway {gateway}, and PAYMENT_GATEWAY is another one.")
