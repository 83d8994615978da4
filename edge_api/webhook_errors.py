"""The refusals of the routes for webhook endpoints."""

from common.api.errors import ApiError, RateLimited


class EndpointNotFound(ApiError):
    """There is no such webhook endpoint."""

    status, code = 404, "not_found"


class DeliveryNotFound(ApiError):
    """There is no such webhook endpoint, or it has no such delivery."""

    status, code = 404, "not_found"


class TooManyEndpoints(ApiError):
    """You have as many webhook endpoints as a client may have. Delete one first. `details.limit` is their number."""

    status, code = 409, "too_many_webhook_endpoints"


class TooManyRotations(RateLimited):
    """The secret was rotated nine times within 24 hours. Rotate it again after Retry-After."""
