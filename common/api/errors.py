"""Every way in which a service can refuse or fail, in one shape (contract.md, "Rules for every HTTP service").

An error's docstring is the sentence a person reads; keyword arguments become `details`. A service's own refusals
stand in its `errors.py`.
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
    """Whether the same request will always be answered so, and the answer may be stored and replayed."""

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        self.details = details
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """The answer's JSON: `{"error", "message", "details"?, "request_id"}`."""
        details = {"details": self.details} if self.details else {}
        return {"error": self.code, "message": self.message, **details, "request_id": request_id.get()}

    @classmethod
    def header_names(cls) -> list[str]:
        return [*cls.own_headers, *([] if cls.retry_after is None else ["Retry-After"])]

    def headers(self) -> dict[str, str]:
        again = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**self.own_headers, **again}


class ValidationFailed(ApiError):
    """The request is not valid; details name each field and what is wrong with it."""

    status, code = 400, "validation_error"


class MalformedJson(ApiError):
    """The body is not valid JSON in UTF-8."""

    status, code = 400, "malformed_json"


class MissingIdempotencyKey(ApiError):
    """The header Idempotency-Key is missing: a key of your own that names this request, the same on every retry."""

    status, code = 400, "missing_idempotency_key"


class Unauthorized(ApiError):
    """No credential was sent, or it is not known. Send it as `Authorization: Bearer KEY`."""

    status, code, own_headers = 401, "unauthorized", {"WWW-Authenticate": "Bearer"}


class Forbidden(ApiError):
    """This credential may read but not write."""

    status, code = 403, "forbidden"


class NotFound(ApiError):
    """There is nothing here."""

    status, code = 404, "not_found"


class PayloadTooLarge(ApiError):
    """The body is larger than any valid request."""

    status, code = 413, "payload_too_large"


class UnsupportedMediaType(ApiError):
    """The body must be application/json in UTF-8, not compressed."""

    status, code = 415, "unsupported_media_type"


class BrokenHttp(ApiError):
    """This is not HTTP/1.1 as its standard has it: the request line, a header, or how the body is cut into chunks."""

    status, code = 400, "validation_error"


class UriTooLong(ApiError):
    """The address is longer than any that is needed here."""

    status, code = 414, "uri_too_long"


class ExpectationFailed(ApiError):
    """`Expect` may be 100-continue and nothing else."""

    status, code = 417, "expectation_failed"


class HeadersTooLarge(ApiError):
    """The headers are more or longer than any that are needed here."""

    status, code = 431, "headers_too_large"


class InvalidStatusTransition(ApiError):
    """The present state does not allow this."""

    status, code = 409, "invalid_status_transition"


class RequestInProgress(ApiError):
    """A request with this key is being worked on. Send it again in a moment for its answer."""

    status, code, retry_after = 409, "request_in_progress", 1


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
    """Other requests are using the same data at the moment. Nothing was changed. Send the same request again."""

    status, code, retry_after = 503, "busy", 1


class DatabaseUnavailable(ApiError):
    """The database cannot be reached at the moment. Send the same request again."""

    status, code, retry_after = 503, "database_unavailable", 2
