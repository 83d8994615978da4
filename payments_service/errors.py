"""Every "no" that the payments service can say, beside those that all services share."""

from __future__ import annotations

from common.api.errors import ApiError


class PaymentDeclined(ApiError):
    """The payment was declined; `details.decline_code` says why."""

    status, code, is_final = 402, "payment_declined", True

    def __init__(self, decline_code: str) -> None:
        super().__init__(decline_code=decline_code, is_retryable=False)


class AuthorizationNotFound(ApiError):
    """There is no such authorization."""

    status, code = 404, "authorization_not_found"


class AlreadyVoided(ApiError):
    """The authorization has been voided."""

    status, code = 409, "already_voided"


class AlreadyCaptured(ApiError):
    """The payment has been captured, by `details.capture_id`."""

    status, code = 409, "already_captured"


class GatewayError(ApiError):
    """The gateway did not answer. It may or may not have done its work: send the same request again."""

    status, code, retry_after = 503, "gateway_error", 1
