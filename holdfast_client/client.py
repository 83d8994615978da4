"""Calls to the Edge API. Every attempt of a call carries the same Idempotency-Key, so a retry never orders twice."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from holdfast_client.errors import StillInProgress
from holdfast_client.models import Line, Order, PlacedOrder, Refund
from holdfast_client.retries import RETRY_FOR_S, call
from holdfast_client.sessions import Sessions

Result = TypeVar("Result")
Id = str | uuid.UUID

LONGEST_SERVER_WAIT_S = 30  # the server accepts no more
LOOK_PAUSE_S = 0.1  # between two reads, when the server answers before its wait is over


class _Bearer(requests.auth.AuthBase):
    """The API key. It is not a plain header, because a password in the user's .netrc would replace that."""

    def __init__(self, api_key: str) -> None:
        self._header = f"Bearer {api_key}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class HoldfastClient:
    """The Edge API at `base_url`. Thread-safe: share one client between all threads of a process.

    Connections are kept alive. Close the client when you are done, or use it in a `with` statement.

    :param api_key: sent as `Authorization: Bearer …`
    :param timeout: seconds to connect and seconds to wait for data, for one try
    :param retry_for: seconds for which a call that gets no final answer is retried before it raises `Unavailable`.
        The last try may run for both timeouts longer. A value below 30 s gives up before the server can take over
        a request whose worker has died. 0 means a single try.
    :param trust_env: whether `requests` takes proxies and certificates from the environment
    :param session: makes the `requests.Session` objects to use, for example with a private CA or an adapter
    :param sleep: pauses between two tries for a number of seconds
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        *,
        timeout: tuple[float, float] = (2, 10),
        retry_for: float = RETRY_FOR_S,
        trust_env: bool = True,
        session: Callable[[], requests.Session] = requests.Session,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not retry_for >= 0:
            raise ValueError("retry_for must be 0 or more")
        self._base_url, self._timeout, self._retry_for, self._sleep = base_url.rstrip("/"), timeout, retry_for, sleep
        auth = _Bearer(api_key) if api_key else None

        def make() -> requests.Session:
            made = session()
            made.trust_env, made.auth = trust_env, auth
            return made

        self._sessions = Sessions(make)

    def __enter__(self) -> HoldfastClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. A call that is still in flight closes its own when it ends."""
        self._sessions.close()

    def place_order(
        self,
        *,
        user_id: Id,
        email: str,
        items: Sequence[Line],
        payment_token: str | None = None,
        payment: Mapping[str, str] | None = None,
        currency: str | None = None,
        reference: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> PlacedOrder:
        """Place one order exactly once, however often the request has to be sent.

        :param items: 1 to 50 lines
        :param payment_token: a card's token; or pass the whole `payment` instead
        :param currency: refuses the order when its products have another currency; None accepts theirs
        :param reference: your own order number, 1 to 255 characters; several orders may have the same
        :param metadata: at most 50 strings of your own, with up to 500 characters each, which the order returns
        :param idempotency_key: your name for this order, 1 to 255 printable ASCII characters. Store the key before
            the call and pass it here if the order must survive a restart of your process. By default each call
            makes a new key.
        :raises PaymentDeclined: the payment was refused; nothing is held
        :raises RequestAbandoned: the server closed an unfinished request with this key; nothing is held
        :raises UnknownProduct: a product does not exist
        :raises CurrencyMismatch: the products have another currency, or several
        :raises ValidationError: the request is not valid
        :raises IdempotencyKeyReused: the key belongs to a different order
        :raises Unauthorized: the API key does not allow this
        :raises Unavailable: it is unknown whether the order was placed; the exception has the key for a retry
        """
        if (payment is None) == (payment_token is None):
            raise TypeError("pass either payment_token or payment")
        body: dict[str, Any] = {
            "user_id": str(user_id),
            "email": email,
            "items": [dict(item) for item in items],
            "payment": dict(payment) if payment is not None else {"method": "card", "token": payment_token},
        }
        optional = {
            "currency": currency,
            "reference": reference,
            "metadata": None if metadata is None else dict(metadata),
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        return self._call("POST", "/orders", _placed_order, key=key, json=body)

    def get_order(self, order_ledger_id: Id, wait: float | None = None) -> Order:
        """Return the current state of an order.

        :param wait: seconds, at most 30, for which the server may delay its answer until the order is terminal
        :raises NotFound: the order does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        params = None if wait is None else {"wait": f"{wait:g}"}
        return self._call("GET", _path(order_ledger_id), _order, wait=wait or 0, params=params)

    def wait_until_terminal(self, order_ledger_id: Id, timeout: float = 60) -> Order:
        """Return the order once it is COMPLETED, FAILED or AUTHORIZATION_FAILED.

        :param timeout: seconds; a server that does not answer can add the retries of one `get_order`
        :raises StillInProgress: (a TimeoutError) the order is not terminal yet; `order` is its latest state
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

    def refund(
        self,
        order_ledger_id: Id,
        *,
        reason: str,
        amount_cents: int | None = None,
        items: Sequence[Line] | None = None,
        restock: bool = False,
        note: str | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Refund:
        """Refund a completed order exactly once: an amount, some pieces, or all that is left.

        The refund is `PENDING` at first; `get_refund` shows how it ends, which may take days.

        :param reason: `requested_by_customer`, `duplicate`, `fraudulent`, `out_of_stock` or `other`
        :param amount_cents: in the smallest unit of the order's currency; not together with `items`
        :param items: pieces, at the prices at which they were bought
        :param restock: whether the pieces go back into stock; not together with `amount_cents`
        :param dry_run: return what would be refunded, and do nothing
        :param idempotency_key: your name for this refund, as for `place_order`
        :raises OrderNotRefundable: the order is not completed
        :raises RefundExceedsRemaining: so much is not left
        :raises NotFound: the order does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when it is unknown whether it is refunded
        """
        body: dict[str, Any] = {"reason": reason}
        optional = {
            "amount_cents": amount_cents,
            "items": None if items is None else [dict(item) for item in items],
            "restock": restock or None,
            "note": note,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        params = {"dry_run": "true"} if dry_run else None
        return self._call("POST", f"{_path(order_ledger_id)}/refunds", _refund, key=key, json=body, params=params)

    def refunds(self, order_ledger_id: Id) -> list[Refund]:
        """Return the refunds of an order, the oldest first.

        :raises NotFound: the order does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        return self._call("GET", f"{_path(order_ledger_id)}/refunds", _refunds)

    def get_refund(self, refund_id: Id, wait: float | None = None) -> Refund:
        """Return the current state of a refund.

        :param wait: seconds, at most 30, for which the server may delay its answer until the refund has ended
        :raises NotFound: the refund does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        params = None if wait is None else {"wait": f"{wait:g}"}
        path = f"/refunds/{quote(str(refund_id), safe='')}"
        return self._call("GET", path, _refund, wait=wait or 0, params=params)

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[requests.Response], Result],
        *,
        key: str | None = None,
        wait: float = 0,
        **content: Any,
    ) -> Result:
        request_id = str(uuid.uuid4())  # the same for all tries, so that the server's log shows them together

        def send() -> requests.Response:
            with self._sessions.borrow() as session:
                return session.request(
                    method,
                    self._base_url + path,
                    headers={"X-Request-ID": request_id, "Idempotency-Key": key},
                    timeout=(self._timeout[0], self._timeout[1] + wait),
                    allow_redirects=False,  # following one would turn a POST into a GET
                    **content,
                )

        return call(send, read, key=key, request_id=request_id, retry_for=self._retry_for, sleep=self._sleep)


def _placed_order(response: requests.Response) -> PlacedOrder:
    return PlacedOrder.from_json(response.json(), replayed=response.headers.get("Idempotency-Replayed") == "true")


def _order(response: requests.Response) -> Order:
    return Order.from_json(response.json())


def _refund(response: requests.Response) -> Refund:
    return Refund.from_json(response.json())


def _refunds(response: requests.Response) -> list[Refund]:
    return [Refund.from_json(each) for each in response.json()["refunds"]]


def _path(order_ledger_id: Id) -> str:
    return f"/orders/{quote(str(order_ledger_id), safe='')}"
