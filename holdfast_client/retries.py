"""One call, sent until it gets a final answer or its time is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import backoff
import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from holdfast_client.errors import HoldfastError, is_transient, refusal, unavailable, unreadable

Result = TypeVar("Result")

# 120 s: when a server process dies, its lease on the request ends after 30 s, and the next try with the key takes
# over. That try may wait for a payment, or meet a restart of the server, and still has time to be repeated.
RETRY_FOR_S = 120
FIRST_PAUSE_S = 0.5  # upper bounds, as the jitter is full: 0.5, 1, 2, 4, 8, 8 … s
LONGEST_PAUSE_S = 8
LONGEST_RETRY_AFTER_S = 30  # a caller that is blocked for longer should be told so
NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


@dataclass(frozen=True)
class _Inconclusive:
    """A try that leaves open whether the request had an effect."""

    error: HoldfastError
    retry_after_s: float = 0


def call(
    send: Callable[[], requests.Response],
    read: Callable[[requests.Response], Result],
    *,
    key: str | None,
    request_id: str,
    retry_for: float,
    sleep: Callable[[float], None],
) -> Result:
    """Send a request until `read` accepts the answer.

    :raises HoldfastError: the server refused it
    :raises Unavailable: no final answer came within `retry_for` seconds
    """
    pauses = backoff.expo(factor=FIRST_PAUSE_S, max_value=LONGEST_PAUSE_S)
    next(pauses)  # the generator's first value is not a pause
    began, tries = monotonic(), 0
    while True:
        outcome, tries = _attempt(send, read, request_id), tries + 1
        if not isinstance(outcome, _Inconclusive):
            return outcome
        # The jitter only adds to the server's Retry-After, so that callers do not come back all at once.
        pause = outcome.retry_after_s + backoff.full_jitter(next(pauses))
        if monotonic() - began + pause > retry_for:
            raise unavailable(outcome.error, tries, key) from outcome.error
        sleep(pause)


def _attempt(
    send: Callable[[], requests.Response], read: Callable[[requests.Response], Result], request_id: str
) -> Result | _Inconclusive:
    """Send the request once.

    :raises HoldfastError: the server refused it
    """
    try:
        response = send()
    except NO_ANSWER as broken:
        error = HoldfastError(f"{type(broken).__name__}.", code="no_answer", request_id=request_id)
        error.__cause__ = broken  # its text is long and for developers, so it stays in the traceback
        return _Inconclusive(error)
    if not 200 <= response.status_code < 300:
        error = refusal(response, request_id)
        if is_transient(error):
            return _Inconclusive(error, _retry_after_s(response))
        raise error
    try:
        return read(response)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        # The server accepted the request, but its answer is damaged. A retry with the same key gets it again.
        return _Inconclusive(unreadable(response, request_id))


def _retry_after_s(response: requests.Response) -> float:
    """The server's `Retry-After`, a number of seconds or a date, in seconds from now; 0 without one."""
    try:
        asked = Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0
    return min(asked, LONGEST_RETRY_AFTER_S)
