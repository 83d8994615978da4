"""Taking an order: first the ledger entry, then the payment's authorization, then the event that starts the saga."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from common.api.errors import ApiError, IdempotencyKeyReused, RateLimited, RequestInProgress
from common.api.idempotency import Fingerprint, StoredResponse
from common.api.routes import Reply
from common.api.waits import IS_RESUMED, Waits
from common.calls.client import Nothing
from common.database.database import Row
from common.database.errors import TransientDatabaseError
from common.process import moments
from domain.states import Status
from edge_api.admission import Backlog, Bulkhead
from edge_api.cursor import page_of
from edge_api.errors import OrderNotFound, TooManyDeclines, UnknownProduct
from edge_api.limits import Limits
from edge_api.notifier import Notifier
from edge_api.outcome import Authorization, abandoned, finish, location
from edge_api.pricing import priced
from edge_api.services import Services
from edge_api.store import Payers, Store
from edge_api.webhooks import Endpoints

# How long a repeat waits for the first request before it is told to retry: an authorization takes milliseconds.
REPEAT_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Edge:
    """The context of the operations: the ledger, the other services, and the limits."""

    store: Store
    services: Services
    bulkhead: Bulkhead
    backlog: Backlog
    limits: Limits
    rate_limit_per_minute: int
    endpoints: Endpoints
    waits: Waits = field(repr=False)
    refund_waits: Waits = field(repr=False)
    refund_notifier: Notifier = field(repr=False)


@dataclass(frozen=True)
class Request:
    """One POST: its client, its key and its body."""

    client: str
    key: str
    order: dict[str, Any]
    fingerprint: Fingerprint
    payers: Payers

    @property
    def payment_token(self) -> str:
        return str(self.order["payment"]["token"])


def place_order(edge: Edge, request: Request) -> StoredResponse:
    """Accept an order, once per client and key, however often and wherever it is sent.

    :raises ApiError: for every response that is not stored; those that are stored are returned
    """
    found: Row | None = edge.store.look(request.client, request.key, request.payers, edge.limits.max_declines)
    if found and found["fingerprint"] is None:
        if found["locked_for_s"]:
            raise _too_many_declines(found["locked_for_s"])
        edge.backlog.check()
        with edge.bulkhead.slot():
            first = _begin(edge, request)
        if isinstance(first, Authorization):
            return finish(edge.store, first)
        if first is not None:
            return first
        found = edge.store.find(request.client, request.key)
    return _repeat(edge, request, found)


def _begin(edge: Edge, request: Request) -> Authorization | StoredResponse | None:
    """Write the entry and ask for the hold, or store a refusal. None: the key has been used meanwhile."""
    with _rate_token(edge, request.client):
        try:
            columns = priced(edge.services, request.order)
        except UnknownProduct as refusal:
            response = StoredResponse.refusal(refusal)
            stored = edge.store.insert_refused(request.client, request.key, request.fingerprint.value, response)
            return response if stored else None
        edge.services.expect_payments()
        entry = edge.store.insert_entry(
            request.client, request.key, {**columns, "fingerprint": request.fingerprint.value}
        )
    return _authorize(edge, entry, request) if entry else None


@contextmanager
def _rate_token(edge: Edge, client: str) -> Iterator[None]:
    """Take one of the client's tokens; return it if the request fails with a 5xx before it has an entry.

    :raises RateLimited: no token is left
    """
    limit = edge.rate_limit_per_minute
    if not limit:
        yield
        return
    if not edge.store.take_token(client, limit):
        raise _rate_limited(limit)
    try:
        yield
    except (ApiError, TransientDatabaseError) as error:
        if not isinstance(error, ApiError) or error.status >= 500:
            with suppress(TransientDatabaseError):
                edge.store.give_token_back(client, limit)
        raise


def get_order(edge: Edge, client: str, order_ledger_id: str, wait_s: float, environ: dict[str, Any]) -> Row | Reply:
    """The current order. With `wait_s`, respond once it is in a terminal state or the time is up.

    If this process has no room for another wait, respond at once and say when to retry.

    :param environ: of the WSGI request
    :raises OrderNotFound: no such order, or another client's
    """
    found = _found(edge, client, order_ledger_id)
    if not wait_s or Status(found["status"]).is_terminal:
        return found
    if not edge.waits.wait(order_ledger_id, wait_s, environ):
        return Reply(found, 200, {"Retry-After": "1"})
    return found if environ.get(IS_RESUMED) else _found(edge, client, order_ledger_id)


def list_orders(edge: Edge, client: str, query: dict[str, Any]) -> Row:
    """One page of the client's orders, and the cursor of the next page: null at the end."""
    limit = query["limit"]
    filters = {name: value for name, value in query.items() if name != "limit"}
    page, next_cursor = page_of(edge.store.page(client, filters, limit + 1), limit, id_="order_ledger_id")
    return {"orders": page, "next_cursor": next_cursor}


def _found(edge: Edge, client: str, order_ledger_id: str) -> Row:
    found = edge.store.get(client, order_ledger_id)
    if found is None:
        raise OrderNotFound(order_ledger_id=order_ledger_id)
    return found


def _repeat(edge: Edge, request: Request, found: Row | None) -> StoredResponse:
    """Handle a used key: replay its response, continue where its request stopped, or tell the client to retry."""
    for pause in (*REPEAT_WAITS_S, None):
        if found is None:
            raise RequestInProgress()  # the conflicting insert is not visible yet, or was rolled back
        if not request.fingerprint.matches(found["fingerprint"]):
            raise IdempotencyKeyReused()
        if found["response_status"] is not None:
            return _stored(found)
        if found["status"] == Status.AUTHORIZATION_FAILED:
            closed = abandoned(found)
            if edge.store.answer_abandoned(found, closed):
                return closed
        elif not found["is_claimed"] and (going_on := _take_over(edge, found, request)):
            return finish(edge.store, going_on)
        if pause is None:
            break
        time.sleep(pause)
        found = edge.store.find(request.client, request.key)
    raise RequestInProgress()


def _take_over(edge: Edge, entry: Row, request: Request) -> Authorization | None:
    with edge.bulkhead.slot():
        taken = edge.store.take_over(entry)
        if taken is None:
            return None
        if pause_s := edge.services.payments.pause_s():
            return Authorization(taken, Nothing(f"payments: has not answered for some time, pausing for {pause_s} s"))
        return _authorize(edge, taken, request)


def _stored(row: Row) -> StoredResponse:
    headers = location(row) if row["response_status"] == 202 else {}
    return StoredResponse(row["response_status"], row["response_body"], replayed=True, headers=headers)


def _authorize(edge: Edge, entry: Row, request: Request) -> Authorization:
    with edge.store.released_on_error(entry):
        answer = edge.services.authorize(entry, request.payment_token)
        moments.reached("edge.after_authorize")
    return Authorization(entry, answer, request.payers)


def _rate_limited(per_minute: int) -> RateLimited:
    refusal = RateLimited()
    refusal.retry_after = math.ceil(60 / per_minute)  # until the bucket has a token again, at the latest
    return refusal


def _too_many_declines(for_s: float) -> TooManyDeclines:
    refusal = TooManyDeclines()
    refusal.retry_after = max(1, math.ceil(for_s))
    return refusal
