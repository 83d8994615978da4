"""The outcome of a ledger entry after the call to the payment service: accepted, refused, or left open."""

from __future__ import annotations

from dataclasses import dataclass, replace

import backoff

from common.api.errors import RequestInProgress
from common.api.idempotency import StoredResponse
from common.calls.client import Answer, No, Nothing, Yes
from common.database.database import Row
from common.database.errors import TransientDatabaseError
from domain.states import ABANDONED, Status
from edge_api.errors import GatewayError, PaymentDeclined, RequestAbandoned
from edge_api.schemas import AcceptedOrder
from edge_api.store import NOBODY, Payers, Store


@dataclass(frozen=True)
class Authorization:
    """The payment service's answer to the request for a hold. We hold the claim on `entry`."""

    entry: Row
    answer: Answer
    payers: Payers = NOBODY


def finish(store: Store, authorization: Authorization) -> StoredResponse:
    """Save the payment service's answer."""
    with store.released_on_error(authorization.entry):
        return _finish(store, authorization)


def _finish(store: Store, authorization: Authorization) -> StoredResponse:
    entry = authorization.entry
    match authorization.answer:
        case Yes(body):
            return _accept(store, entry, body["authorization_id"])
        case No("already_voided"):
            # Only the sweeper voids by our key, so the request is abandoned.
            reason = "The payment was voided before it was authorized; nothing is held."
            return _refuse(store, entry, ABANDONED, reason, abandoned(entry))
        case No() as no:
            return _decline(store, entry, no, authorization.payers)
        case Nothing(reason):
            store.let_go(entry)
            raise GatewayError() from RuntimeError(reason)


def location(entry: Row) -> dict[str, str]:
    return {"Location": f"/orders/{entry['id']}"}


def _accept(store: Store, entry: Row, authorization_id: str) -> StoredResponse:
    accepted = {
        "order_ledger_id": entry["id"],
        "status": Status.AUTHORIZED,
        "total_amount_cents": entry["total_amount_cents"],
        "currency": entry["currency"],
        "message": "The payment is authorized and the order is being processed.",
    }
    response = replace(StoredResponse.dumped(202, AcceptedOrder, accepted), headers=location(entry))
    if not _authorized(store, entry, authorization_id, response):
        raise RequestInProgress()  # another request took it over, or the sweeper has it
    return response


@backoff.on_exception(backoff.expo, TransientDatabaseError, max_time=5, factor=0.1, logger=None)
def _authorized(store: Store, entry: Row, authorization_id: str, response: StoredResponse) -> bool:
    """Run T2, and retry while its outcome is unknown: the claim number lets it succeed only once.

    :raises TransientDatabaseError: after 5 s; the key stays open, and the next request with it continues here
    """
    if store.authorized(entry, authorization_id, response):
        return True
    now = store.find(entry["client"], entry["client_request_id"])
    return now is not None and now["response_body"] == response.body


def _decline(store: Store, entry: Row, no: No, payers: Payers) -> StoredResponse:
    code = str(no.details.get("decline_code", no.code))
    refusal = PaymentDeclined(decline_code=code, is_retryable=False, order_ledger_id=entry["id"])
    message = f"The payment was declined: {code}."
    return _refuse(store, entry, "payment_declined", message, StoredResponse.refusal(refusal), payers)


def _refuse(
    store: Store,
    entry: Row,
    failure_code: str,
    failure_message: str,
    response: StoredResponse,
    payers: Payers = NOBODY,
) -> StoredResponse:
    """End the entry with a refusal."""
    if not store.refused(entry, failure_code, failure_message, response, payers):
        raise RequestInProgress()  # another request took it over, or the sweeper has it
    return response


def abandoned(entry: Row) -> StoredResponse:
    return StoredResponse.refusal(RequestAbandoned(order_ledger_id=entry["id"]))
