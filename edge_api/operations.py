"""Taking an order: first the ledger entry, then the payment's authorization, then the event that starts the saga."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import backoff

from common.api.errors import (
    IdempotencyKeyReused,
    RateLimited,
    RequestInProgress,
    ValidationFailed,
)
from common.api.idempotency import Answer, fingerprint
from common.api.routes import Reply
from common.api.waits import IS_RESUMED, Waits
from common.calls.client import No, Nothing, Yes
from common.database.database import Row
from common.database.errors import TransientDatabaseError
from common.process import moments
from common.process.logs import request_id
from domain.money import MAX_CENTS
from domain.states import ABANDONED, Status
from edge_api.errors import GatewayError, OrderNotFound, PaymentDeclined, UnknownProduct
from edge_api.gateways import Gateways
from edge_api.schemas import AcceptedOrder
from edge_api.store import Store

# How long a repeated request waits for the first one before it is told to come again: an authorization takes some ms.
REPEAT_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Edge:
    """What the verbs need: the ledger, the other services, and the limits."""

    store: Store
    gateways: Gateways
    rate_limit_per_minute: int
    waits: Waits = field(repr=False)


def place_order(edge: Edge, client: str, key: str, order: dict[str, Any]) -> Answer:
    """Take an order, once per client and key, however often and wherever it is sent.

    :raises ApiError: for every answer that is not stored; those that are stored come back as an Answer
    """
    print_ = fingerprint(order)
    found = edge.store.find(client, key)
    if found and found["id"] is None:
        return _stored(found, print_)
    if found is None:
        if edge.rate_limit_per_minute and not edge.store.take_token(client, edge.rate_limit_per_minute):
            raise _rate_limited(edge.rate_limit_per_minute)
        try:
            entry = edge.store.insert_entry(client, key, _priced(edge, order, print_))
        except UnknownProduct as refusal:
            answer = Answer.refusal(refusal)
            edge.store.insert_refused(client, key, print_, answer)
            return answer
        if entry is not None:
            return _authorize(edge, entry, order["payment"]["token"])
    return _repeat(edge, client, key, print_, order)


def get_order(edge: Edge, client: str, order_ledger_id: str, wait_s: float, environ: dict[str, Any]) -> Row | Reply:
    """The current order. With `wait_s`, respond once it is in a terminal state or the time is up.

    Where this process has no room for another wait, respond at once and say when to ask again.

    :param environ: of the WSGI request
    :raises OrderNotFound: no such order, or another client's
    """
    found = _found(edge, client, order_ledger_id)
    if not wait_s or Status(found["status"]).is_terminal:
        return found
    if not edge.waits.wait(order_ledger_id, wait_s, environ):
        return Reply(found, 200, {"Retry-After": "1"})
    return found if environ.get(IS_RESUMED) else _found(edge, client, order_ledger_id)


def _found(edge: Edge, client: str, order_ledger_id: str) -> Row:
    found = edge.store.get(client, order_ledger_id)
    if found is None:
        raise OrderNotFound(order_ledger_id=order_ledger_id)
    return found


def _priced(edge: Edge, order: dict[str, Any], print_: str) -> dict[str, Any]:
    """The columns of a new entry, with the prices of this moment."""
    items = order["items"]
    prices = edge.gateways.prices([item["product_id"] for item in items])
    unit_prices = [prices[item["product_id"]] for item in items]
    total = sum(price * item["quantity"] for price, item in zip(unit_prices, items, strict=True))
    if total > MAX_CENTS:
        raise ValidationFailed(items=[f"The total is more than {MAX_CENTS} cents."])
    return {
        "fingerprint": print_,
        "user_id": order["user_id"],
        "email": order["email"],
        "currency": order["currency"],
        "total": total,
        "request_id": request_id.get(),
        "product_ids": [item["product_id"] for item in items],
        "quantities": [item["quantity"] for item in items],
        "prices": unit_prices,
    }


def _repeat(edge: Edge, client: str, key: str, print_: str, order: dict[str, Any]) -> Answer:
    """The key has an entry already: replay its answer, go on where it stopped, or ask to come again."""
    for pause in (0.0, *REPEAT_WAITS_S):
        time.sleep(pause)
        entry = edge.store.find(client, key)
        if entry is None:
            raise RequestInProgress()  # the insert that we met has not become visible, or was undone
        if entry["response_status"] is not None or entry["fingerprint"] != print_:
            return _stored(entry, print_)
        closed = _abandoned() if entry["status"] == Status.AUTHORIZATION_FAILED else None
        if closed and edge.store.answer_abandoned(entry, closed):
            return closed
        if taken := edge.store.take_over(entry):
            return _authorize(edge, taken, order["payment"]["token"])
    raise RequestInProgress()


def _stored(row: Row, print_: str) -> Answer:
    if row["fingerprint"] != print_:
        raise IdempotencyKeyReused()
    headers = _location(row) if row["response_status"] == 202 else {}
    return Answer(row["response_status"], row["response_body"], replayed=True, headers=headers)


def _location(entry: Row) -> dict[str, str]:
    return {"Location": f"/orders/{entry['id']}"}


def _authorize(edge: Edge, entry: Row, payment_token: str) -> Answer:
    """Ask for the hold and write down what came of it; `entry` is claimed by us."""
    asked = edge.gateways.authorize(entry, payment_token)
    moments.reached("edge.after_authorize")
    match asked:
        case Yes(body):
            return _accept(edge, entry, body["authorization_id"])
        case No() as no:
            return _decline(edge, entry, no)
        case Nothing(reason):
            edge.store.let_go(entry)
            raise GatewayError() from RuntimeError(reason)


def _accept(edge: Edge, entry: Row, authorization_id: str) -> Answer:
    accepted = {
        "order_ledger_id": entry["id"],
        "status": Status.AUTHORIZED,
        "total_amount_cents": entry["total_amount_cents"],
        "currency": entry["currency"],
        "message": "The payment is authorized and the order is being processed.",
    }
    answer = replace(Answer.dumped(202, AcceptedOrder, accepted), headers=_location(entry))
    if not _authorized(edge, entry, authorization_id, answer):
        raise RequestInProgress()  # another request took it over, or the sweeper has it
    return answer


@backoff.on_exception(backoff.expo, TransientDatabaseError, max_time=5, factor=0.1, logger=None)
def _authorized(edge: Edge, entry: Row, authorization_id: str, answer: Answer) -> bool:
    """T2. When its outcome is unknown it is tried again: the claim number lets it happen once; then the ledger tells.

    :raises TransientDatabaseError: after 5 s; the key stays open, and the next request with it goes on here
    """
    if edge.store.authorized(entry, authorization_id, answer):
        return True
    now = edge.store.find(entry["client"], entry["client_request_id"])
    return now is not None and now["response_body"] == answer.body


def _decline(edge: Edge, entry: Row, no: No) -> Answer:
    code = str(no.details.get("decline_code", no.code))
    refusal = PaymentDeclined(decline_code=code, is_retryable=False, order_ledger_id=entry["id"])
    answer = Answer.refusal(refusal)
    if not edge.store.declined(entry, "payment_declined", f"The payment was declined: {code}.", answer):
        raise RequestInProgress()  # another request took it over, or the sweeper has it
    return answer


def _rate_limited(per_minute: int) -> RateLimited:
    refusal = RateLimited()
    refusal.retry_after = math.ceil(60 / per_minute)  # until the bucket has a token again, at the latest
    return refusal


def _abandoned() -> Answer:
    """What a request is told, from its first repetition on, that the sweeper has closed."""
    refusal = PaymentDeclined(
        "The request was abandoned before the payment was authorized; nothing is held. A new request needs a new key.",
        decline_code=ABANDONED,
        is_retryable=False,
    )
    return Answer.refusal(refusal)
