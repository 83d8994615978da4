"""Endpoints and deliveries as the process `webhooks` sees them: fan-out, claims, and saved outcomes."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterator

from common.api.fields import rfc3339
from common.database import operator_log
from common.database.database import Database, Row, Transaction
from common.events.body import event_body
from common.json_text import encode
from common.webhooks.secrets import signature
from domain.events import EventType
from webhooks import statements
from webhooks.delivery import Answer, Delivery, NoAnswer, Outcome, is_success
from webhooks.schedule import DISABLE_AFTER_S, WARN_AFTER_S, delay_after

log = logging.getLogger(__name__)

TYPES = list(map(str, EventType))
BATCH = 500  # events for one endpoint in one transaction
LEASE_S = 60  # longer than one attempt (15 s) and a slow resolver together
LOOK_AHEAD = 100  # due deliveries among which a claim looks for some of different orders
GONE = "the receiver answered 410 Gone"
TOO_LONG = "no delivery succeeded for five days"
USER_AGENT = "Holdfast-Webhooks/1"


class Store:
    """Raises TransientDatabaseError when the database cannot be used now."""

    def __init__(self, database: Database, claimant: str, in_flight: int) -> None:
        """:param in_flight: deliveries to one endpoint at once; one that fails has one"""
        self.database, self.claimant, self.in_flight = database, claimant, in_flight

    def fan_out(self) -> int:
        """Make deliveries of new events, at most one batch for each endpoint. :returns: how many events were read"""
        return sum(
            self.database.transact(lambda tx, id_=row["id"]: _fan_out(tx, id_))  # type: ignore[misc]
            for row in self.database.all(statements.BEHIND, types=TYPES, limit=1)
        )

    def due(self) -> list[Row]:
        """The endpoints with due deliveries, the longest overdue first: `id`, `is_failing`."""
        return self.database.all(statements.DUE)

    def claim(self, endpoint_id: str, limit: int) -> list[Delivery]:
        """Claim at most `limit` due deliveries of one endpoint, unless another process is changing its queue."""
        return self.database.transact(lambda tx: list(self._claim(tx, endpoint_id, limit)))

    def save(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Save what became of an attempt. :returns: False if the claim is lost"""
        return self.database.transact(lambda tx: _save(tx, delivery, outcome))

    def release(self, delivery: Delivery, delay_s: float = 0) -> None:
        """Release a claim without an outcome. It costs no attempt."""
        claim = {"id": delivery.id, "claim_number": delivery.claim_number}
        self.database.all(statements.RELEASE, **claim, delay_s=delay_s)

    def release_stranded(self, in_flight: Collection[str]) -> None:
        """Release every claim of this process except those on these deliveries."""
        self.database.all(statements.RELEASE_STRANDED, claimant=self.claimant, in_flight=list(in_flight))

    def look_after_endpoints(self) -> None:
        """Warn about endpoints that have failed for long, and disable those that have failed for five days."""
        for row in self.database.all(statements.WARN, after_s=list(WARN_AFTER_S)):
            log.warning(
                "no delivery to a webhook endpoint has succeeded since %s; after five days it will be disabled",
                row["failing_since"],
                extra={"webhook_endpoint_id": row["id"], "client": row["client"]},
            )
        for row in self.database.all(statements.FAILED_FOR_TOO_LONG, disable_after_s=DISABLE_AFTER_S):
            self.database.transact(lambda tx, id_=row["id"]: _disable(tx, id_, TOO_LONG))  # type: ignore[misc]

    def _claim(self, tx: Transaction, endpoint_id: str, limit: int) -> Iterator[Delivery]:
        endpoint = tx.one(statements.LOCK_UNLESS_BUSY, endpoint_id=endpoint_id)
        if endpoint is None:
            return
        rows = tx.all(
            statements.CLAIM,
            endpoint_id=endpoint_id,
            claimant=self.claimant,
            lease_s=LEASE_S,
            limit=LOOK_AHEAD,
            in_flight=min(limit, 1 if endpoint["is_failing"] else self.in_flight),
        )
        if not rows:
            return
        events = {row["id"]: row for row in tx.all(statements.EVENTS, ids=[row["message_id"] for row in rows])}
        address = tx.one(statements.ADDRESS, endpoint_id=endpoint_id) or {}
        for row in rows:
            yield _delivery(row, events.get(row["message_id"]), address, is_failing=endpoint["is_failing"])


def _delivery(row: Row, event: Row | None, address: Row, *, is_failing: bool) -> Delivery:
    body = encode.readable(event_body(event) if event else _test_body(row)).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": row["message_id"],
        "webhook-timestamp": str(address["timestamp"]),
        "webhook-signature": signature(address["secrets"], row["message_id"], address["timestamp"], body),
    }
    same = ("id", "endpoint_id", "message_id", "order_ledger_id", "claim_number", "attempts")
    return Delivery(
        **{name: row[name] for name in same}, url=address["url"], headers=headers, body=body, is_failing=is_failing
    )


def _test_body(row: Row) -> Row:
    return {
        "type": row["type"],
        "timestamp": rfc3339(row["created_at"]),
        "data": {"webhook_endpoint_id": row["endpoint_id"]},
    }


def _fan_out(tx: Transaction, endpoint_id: str) -> int:
    endpoint = tx.one(statements.LOCK_UNLESS_BUSY, endpoint_id=endpoint_id)
    if endpoint is None:
        return 0
    events = tx.all(statements.NEXT_EVENTS, endpoint_id=endpoint_id, types=TYPES, limit=BATCH)
    if not events:
        return 0
    wanted = [event for event in events if {"*", event["type"]} & set(endpoint["event_types"])]
    if wanted:
        orders = [event["order_ledger_id"] for event in wanted]
        tx.execute(
            statements.ADD,
            endpoint_id=endpoint_id,
            event_ids=[event["id"] for event in wanted],
            types=[event["type"] for event in wanted],
            order_ledger_ids=orders,
            sequences=[event["sequence"] for event in wanted],
        )
        tx.execute(statements.SCHEDULE, endpoint_id=endpoint_id, order_ledger_ids=sorted(set(orders)))
    last = events[-1]
    tx.execute(statements.MOVE_CURSOR, endpoint_id=endpoint_id, xid=last["xid"], position=last["position"])
    return len(events)


def _save(tx: Transaction, delivery: Delivery, outcome: Outcome) -> bool:
    retry_in_s = None if is_success(outcome) else delay_after(delivery.attempts + 1)
    status = "succeeded" if is_success(outcome) else "failed" if retry_in_s is None else "pending"
    tx.execute(statements.LOCK, endpoint_id=delivery.endpoint_id)
    is_ours = tx.execute(
        statements.SAVE,
        id=delivery.id,
        claim_number=delivery.claim_number,
        status=status,
        retry_in_s=retry_in_s,
        response_status=outcome.status if isinstance(outcome, Answer) else None,
        response_body=outcome.body if isinstance(outcome, Answer) else None,
        error=outcome.reason if isinstance(outcome, NoAnswer) else None,
    )
    if not is_ours:
        return False
    tx.execute(
        statements.SUCCEEDED if is_success(outcome) else statements.FAILED, endpoint_id=delivery.endpoint_id
    )  # fmt: skip
    if isinstance(outcome, Answer) and outcome.status == 410:
        _disable(tx, delivery.endpoint_id, GONE)
    if delivery.order_ledger_id:
        orders = [delivery.order_ledger_id]
        tx.execute(statements.SCHEDULE, endpoint_id=delivery.endpoint_id, order_ledger_ids=orders)
    return True


def _disable(tx: Transaction, endpoint_id: str, reason: str) -> None:
    disabled = tx.one(statements.DISABLE, endpoint_id=endpoint_id, reason=reason)
    if disabled:
        details = disabled | {"why": reason}
        operator_log.add(tx, f"webhooks@{socket.gethostname()}", "webhook_endpoint.disabled", details)
        log.error(
            "a webhook endpoint was disabled, because %s; its events are kept",
            reason,
            extra={"webhook_endpoint_id": endpoint_id, "client": disabled["client"]},
        )
