"""The errors that any service can return, all with the same body.

An error's docstring is its message for people. Keyword arguments become `details`. Errors of a single service are in
its own `errors.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from common.process.logs import request_id


class ApiError(Exception):
    """The request could not be served."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retry_after: int | None = None  # seconds
    own_headers: ClassVar[dict[str, str]] = {}
    is_final: ClassVar[bool] = False
    """Whether the same request always gets this response, so that it may be stored and replayed."""

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        self.details = details
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """The response body: `{"error", "message", "details"?, "request_id"}`."""
        details = {"details": self.details} if self.details else {}
        return {"error": self.code, "message": self.message, **details, "request_id": request_id.get()}

    @classmethod
    def header_names(cls) -> list[str]:
        return [*cls.own_headers, *([] if cls.retry_after is None else ["Retry-After"])]

    def headers(self) -> dict[str, str]:
        again = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**self.own_headers, **again}


class ValidationFailed(ApiError):
    """The request is not valid. The details say for each field what is wrong with it."""

    status, code = 400, "validation_error"


class MalformedJson(ApiError):
    """The body is not valid JSON in UTF-8."""

    status, code = 400, "malformed_json"


class MissingIdempotencyKey(ApiError):
    """The header Idempotency-Key is missing. Send a key of your own for this request, the same on every retry."""

    status, code = 400, "missing_idempotency_key"


class Unauthorized(ApiError):
    """The credential is missing, unknown or no longer valid. Send it as `Authorization: Bearer KEY`."""

    status, code, own_headers = 401, "unauthorized", {"WWW-Authenticate": "Bearer"}


class Forbidden(ApiError):
    """This credential may not do this."""

    status, code = 403, "forbidden"


class NotFound(ApiError):
    """Nothing was found at this address."""

    status, code = 404, "not_found"


class PayloadTooLarge(ApiError):
    """The body is larger than 64 KiB, counted as it was sent."""

    status, code = 413, "payload_too_large"


class UnsupportedMediaType(ApiError):
    """The body must be application/json in UTF-8, not compressed."""

    status, code = 415, "unsupported_media_type"


class BrokenHttp(ApiError):
    """This is not valid HTTP/1.1: check the request line, the headers and the chunks of the body."""

    status, code = 400, "validation_error"


class UriTooLong(ApiError):
    """The address is longer than any valid one."""

    status, code = 414, "uri_too_long"


class ExpectationFailed(ApiError):
    """The only supported value of `Expect` is 100-continue."""

    status, code = 417, "expectation_failed"


class HeadersTooLarge(ApiError):
    """The headers are too many or too long."""

    status, code = 431, "headers_too_large"


class InvalidStatusTransition(ApiError):
    """The present state does not allow this."""

    status, code = 409, "invalid_status_transition"


class RequestInProgress(ApiError):
    """A request with this key is being processed. Send it again in a moment to get its response."""

    status, code, retry_after = 409, "request_in_progress", 1


class RequestExpired(ApiError):
    """The key was used, and its response is no longer kept. Nothing was done now. A new request needs a new key."""

    status, code, is_final = 409, "request_expired", True


class IdempotencyKeyReused(ApiError):
    """This key has been used for another request. A new request needs a new key."""

    status, code = 422, "idempotency_key_reused"


class RateLimited(ApiError):
    """Too many requests. Send it again, with the same key, after the time in Retry-After."""

    status, code, retry_after = 429, "rate_limited", 1


class ServiceUnavailable(ApiError):
    """The service is too busy to answer. Send the same request again."""

    status, code, retry_after = 503, "service_unavailable", 1


class Busy(ApiError):
    """The service is overloaded, or others use the same data; nothing was done. Send the same request again later."""

    status, code, retry_after = 503, "busy", 1


class NotMigrated(ApiError):
    """The database does not have this release's tables yet. Run the migrations, then send the same request again."""

    status, code, retry_after = 503, "not_migrated", 5


class DatabaseUnavailable(ApiError):
    """The database cannot be reached at the moment. Send the same request again."""

    status, code, retry_after = 503, "database_unavailable", 2
