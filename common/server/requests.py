"""What both workers do before and after the application sees a request."""

from __future__ import annotations

import json
import logging
import socket
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors as http_errors

from common.api import errors, headers
from common.api.idempotency import SENT_TWICE
from common.process import logs

# What gunicorn refuses before the application sees it. Any other parse error is BrokenHttp.
REFUSALS = {
    http_errors.LimitRequestLine: errors.UriTooLong,
    http_errors.LimitRequestHeaders: errors.HeadersTooLarge,
    http_errors.ExpectationFailed: errors.ExpectationFailed,
}
# Parse errors by their class, but in a response: not the client's fault.
IN_RESPONSE = (http_errors.InvalidResponseHeader, http_errors.InvalidResponseHeaderName)
ALWAYS = "".join(f"{name}: {value}\r\n" for name, value in (headers.NO_STORE, headers.NO_SNIFF))
log = logging.getLogger(__name__)


def mark_repeated_key(request: Any) -> None:
    """Tell the application of a second Idempotency-Key.

    WSGI joins two headers of one name with a comma, and a key may contain a comma.
    """
    if sum(name == "IDEMPOTENCY-KEY" for name, _ in request.headers) > 1:
        request.headers.append(("IDEMPOTENCY-KEY", SENT_TWICE))


def refuse(client: socket.socket, error: Exception) -> None:
    """Send the standard error response for a request that the application did not answer.

    The response repeats nothing of the request, which may contain secrets.
    """
    before = logs.request_id.set(str(uuid.uuid4()))
    try:
        if isinstance(error, http_errors.ParseException) and not isinstance(error, IN_RESPONSE):
            refusal = REFUSALS.get(type(error), errors.BrokenHttp)()
            log.warning("refused with %s: %s", refusal.status, type(error).__name__)
        else:
            refusal = errors.ApiError()
            log.error("the request could not be answered", exc_info=error)
        client.send(_as_http(refusal), socket.MSG_DONTWAIT)
    except OSError:
        log.debug("the client has gone")
    finally:
        logs.request_id.reset(before)


def _as_http(error: errors.ApiError) -> bytes:
    """A complete response, after which the connection is closed."""
    body = error.body()
    text = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        f"{ALWAYS}X-Request-ID: {body['request_id']}\r\n\r\n"
    )
    return head.encode() + text
