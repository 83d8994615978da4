"""Calls to the Edge API. Every attempt of a call carries the same Idempotency-Key, so a retry never orders twice."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import requests

from holdfast_client.calls import Id, given, path_of
from holdfast_client.errors import StillInProgress
from holdfast_client.events import EventCalls
from holdfast_client.models import Line, Order, PlacedOrder
from holdfast_client.products import ProductCalls
from holdfast_client.refunds import RefundCalls
from holdfast_client.webhook_endpoints import WebhookCalls

LONGEST_SERVER_WAIT_S = 30  # the server accepts no more
LOOK_PAUSE_S = 0.1  # between two reads, when the server answers before its wait is over


class HoldfastClient(ProductCalls, RefundCalls, EventCalls, WebhookCalls):
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
        :raises RequestAbandoned: the server closed an unfinished request with this key, or its order was cancelled
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
        notes = None if metadata is None else dict(metadata)
        body |= given(currency=currency, reference=reference, metadata=notes)
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        return self._call("POST", "/orders", _placed_order, key=key, json=body)

    def get_order(self, order_ledger_id: Id, wait: float | None = None) -> Order:
        """Return the current state of an order.

        :param wait: seconds, at most 30, for which the server may delay its answer until the order is terminal
        :raises NotFound: the order does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        params = None if wait is None else {"wait": f"{wait:g}"}
        return self._call("GET", path_of("orders", order_ledger_id), _order, wait=wait or 0, params=params)

    def list_orders(
        self,
        *,
        status: str | Iterable[str] | None = None,
        reference: str | None = None,
        client_request_id: str | None = None,
        user_id: Id | None = None,
        email: str | None = None,
        refund_status: str | None = None,
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        page_size: int = 100,
    ) -> Iterator[Order]:
        """Return your orders that fit all filters, newest first. Pages are read while you iterate.

        The orders have no timeline. An order that is placed meanwhile does not appear.

        :param status: one status or several
        :param client_request_id: the idempotency key with which the order was placed
        :param refund_status: `none`, `partial` or `full`
        :param created_from, created_before: aware times; the first is included, the second is not
        :param page_size: orders in one answer, 1 to 100
        :raises ValueError: a time is not aware
        :raises ValidationError: a filter is not valid
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        filters = given(
            status=status if status is None or isinstance(status, str) else ",".join(status),
            reference=reference,
            client_request_id=client_request_id,
            user_id=None if user_id is None else str(user_id),
            email=email,
            refund_status=refund_status,
            created_from=_utc(created_from),
            created_before=_utc(created_before),
        )
        return self._pages("/orders", "orders", Order.from_json, filters | {"limit": page_size})

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

    def cancel_order(
        self, order_ledger_id: Id, reason: str, *, note: str | None = None, idempotency_key: str | None = None
    ) -> Order:
        """Ask for the end of an order that is not completed, and return it.

        The end comes later: `wait_until_terminal` shows it. `order.cancellation.status` is then `done`, with nothing
        charged, held or reserved, or `refused`, if the order was confirmed at that moment.

        :param reason: `requested_by_customer`, `duplicate`, `fraudulent`, `out_of_stock` or `other`
        :param note: 1 to 500 characters for your own use
        :param idempotency_key: as for `place_order`; by default each call makes a new key
        :raises NotCancellable: the order has ended; `error.use` is `refunds` if it can be refunded
        :raises NotFound: the order does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        path = f"{path_of('orders', order_ledger_id)}/cancel"
        body = {"reason": reason} | ({} if note is None else {"note": note})
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        return self._call("POST", path, _order, key=key, json=body)


def _placed_order(response: requests.Response) -> PlacedOrder:
    return PlacedOrder.from_json(response.json(), replayed=response.headers.get("Idempotency-Replayed") == "true")


def _order(response: requests.Response) -> Order:
    return Order.from_json(response.json())


def _utc(time: datetime | None) -> str | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError("a time must be aware: give it a time zone")
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
