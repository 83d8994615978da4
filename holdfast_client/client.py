"""Calls to the Edge API that are safe to make again: every try of a call carries the same Idempotency-Key."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import backoff
import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from holdfast_client.errors import HoldfastError, StillInProgress, is_transient, refusal, unavailable, unreadable
from holdfast_client.models import Line, Order, PlacedOrder

Answer = TypeVar("Answer")
Id = str | uuid.UUID

FIRST_PAUSE_S = 0.5  # upper bounds, as the jitter is full: 0.5, 1, 2, 4, 8 s, which outlasts a rolling restart
LONGEST_PAUSE_S = 8
LONGEST_RETRY_AFTER_S = 30  # a caller who is blocked for longer is better told so
LONGEST_SERVER_WAIT_S = 30  # the server takes no more
LOOK_PAUSE_S = 0.1  # between two looks, for a server that answers before the time it was given is up
NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


@dataclass(frozen=True)
class _Nothing:
    """What a try comes to that leaves open whether anything happened."""

    error: HoldfastError
    retry_after_s: float = 0


class _Bearer(requests.auth.AuthBase):
    """The API key. Not a plain header, because a password in the user's .netrc would replace it."""

    def __init__(self, api_key: str) -> None:
        self._header = f"Bearer {api_key}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class HoldfastClient:
    """The Edge API at `base_url`. Connections are kept alive; close it, or use it in a `with` statement.

    An instance belongs to one thread: make one in each.

    :param api_key: sent as `Authorization: Bearer …`
    :param timeout: seconds to connect, and seconds to wait for an answer, of one try
    :param max_tries: how often a call is tried before `Unavailable`; with nothing answering this takes up to
        `max_tries` × both timeouts and about 15 s of pauses between them
    :param trust_env: whether proxies and certificates may come from the environment, as usual with `requests`
    :param sleep: waits that many seconds between two tries
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        *,
        timeout: tuple[float, float] = (2, 10),
        max_tries: int = 6,
        trust_env: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if max_tries < 1:
            raise ValueError("max_tries must be 1 or more")
        self._base_url, self._timeout, self._max_tries, self._sleep = base_url.rstrip("/"), timeout, max_tries, sleep
        self._session = requests.Session()
        self._session.trust_env = trust_env
        self._session.auth = _Bearer(api_key) if api_key else None

    def __enter__(self) -> HoldfastClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that were kept alive."""
        self._session.close()

    def place_order(
        self,
        *,
        user_id: Id,
        email: str,
        items: Sequence[Line],
        payment_token: str | None = None,
        payment: Mapping[str, str] | None = None,
        currency: str = "USD",
        idempotency_key: str | None = None,
    ) -> PlacedOrder:
        """Place one order, once, however often it has to be sent.

        :param items: 1 to 50 lines
        :param payment_token: a card's token; or give the whole `payment` instead
        :param idempotency_key: your name for this order, 1 to 255 printable ASCII characters. Give one that you have
            kept, if the order must not be placed twice even though your process dies and starts again. Otherwise
            one is made for this call.
        :raises PaymentDeclined: the payment was refused; nothing is held
        :raises UnknownProduct: a product does not exist
        :raises ValidationError: the order can never be taken as it stands
        :raises IdempotencyKeyReused: the key belongs to a different order
        :raises Unauthorized: the API key does not allow this
        :raises Unavailable: it is unknown whether the order was placed; the exception has the key to try again with
        """
        if (payment is None) == (payment_token is None):
            raise TypeError("give either payment_token or payment")
        body = {
            "user_id": str(user_id),
            "email": email,
            "items": [dict(item) for item in items],
            "payment": dict(payment) if payment is not None else {"method": "card", "token": payment_token},
            "currency": currency,
        }
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        return self._call("POST", "/orders", _placed_order, key=key, body=body)

    def get_order(self, order_ledger_id: Id, wait: float | None = None) -> Order:
        """How an order stands.

        :param wait: seconds, at most 30, for which the server may hold its answer back until the order is finished
        :raises NotFound: there is no such order, or it is not yours
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        path = f"/orders/{quote(str(order_ledger_id), safe='')}"
        return self._call("GET", path, _order, wait=wait)

    def wait_until_terminal(self, order_ledger_id: Id, timeout: float = 60) -> Order:
        """The order once it is finished: COMPLETED, FAILED or AUTHORIZATION_FAILED.

        :param timeout: seconds; longer by the tries of one `get_order` where the server does not answer
        :raises StillInProgress: (a TimeoutError) it was not; `order` is how it stood last
        :raises HoldfastError: as `get_order`
        """
        deadline = time.monotonic() + timeout
        while True:
            left = max(0, deadline - time.monotonic())
            order = self.get_order(order_ledger_id, wait=min(left, LONGEST_SERVER_WAIT_S))
            if order.is_terminal:
                return order
            if time.monotonic() >= deadline:
                late = StillInProgress(f"Order {order_ledger_id} is still {order.status} after {timeout:g} s.")
                late.order = order
                raise late
            self._sleep(LOOK_PAUSE_S)

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[requests.Response], Answer],
        *,
        key: str | None = None,
        body: dict[str, Any] | None = None,
        wait: float | None = None,
    ) -> Answer:
        """Send it until there is a yes or a no, or the tries are used up."""
        request_id = str(uuid.uuid4())  # one for all tries, so that the server's log shows them together
        send = partial(
            self._session.request,
            method,
            self._base_url + path,
            json=body,
            params=None if wait is None else {"wait": f"{wait:g}"},
            headers={"X-Request-ID": request_id, "Idempotency-Key": key},
            timeout=(self._timeout[0], self._timeout[1] + (wait or 0)),
            allow_redirects=False,  # following one would turn a POST into a GET
        )
        pauses = _pauses(self._max_tries)
        while True:
            outcome = _attempt(send, read, request_id)
            if not isinstance(outcome, _Nothing):
                return outcome
            pause = next(pauses, None)
            if pause is None:
                raise unavailable(outcome.error, self._max_tries, key) from outcome.error
            # The jitter only adds to what the server asked for, so that its callers do not come back all at once.
            self._sleep(outcome.retry_after_s + backoff.full_jitter(pause))


def _pauses(tries: int) -> Iterator[float]:
    """The longest pause after each try but the last, in seconds."""
    schedule = backoff.expo(factor=FIRST_PAUSE_S, max_value=LONGEST_PAUSE_S)
    next(schedule)  # the generator's first value is no pause
    return islice(schedule, tries - 1)


def _attempt(
    send: Callable[[], requests.Response], read: Callable[[requests.Response], Answer], request_id: str
) -> Answer | _Nothing:
    """Send it once: the answer, or nothing where it may have happened or not.

    :raises HoldfastError: it was refused
    """
    try:
        response = send()
    except NO_ANSWER as broken:
        silence = HoldfastError(f"{type(broken).__name__}.", code="no_answer", request_id=request_id)
        silence.__cause__ = broken  # its text is long and for developers: the traceback is the place for it
        return _Nothing(silence)
    if not 200 <= response.status_code < 300:
        error = refusal(response, request_id)
        if is_transient(error):
            return _Nothing(error, _retry_after_s(response))
        raise error
    try:
        return read(response)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        # It says yes, but not to what: the order may well have been placed, and the same key brings it to light.
        return _Nothing(unreadable(response, request_id))


def _placed_order(response: requests.Response) -> PlacedOrder:
    return PlacedOrder.from_json(response.json(), replayed=response.headers.get("Idempotency-Replayed") == "true")


def _order(response: requests.Response) -> Order:
    return Order.from_json(response.json())


def _retry_after_s(response: requests.Response) -> float:
    """The server's `Retry-After`, a number of seconds or a date, in seconds from now; 0 without one."""
    try:
        asked = Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0
    return min(asked, LONGEST_RETRY_AFTER_S)
