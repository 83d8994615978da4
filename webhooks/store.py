"""Endpoints and deliveries as the process `webhooks` sees them: fan-out, claims, and saved outcomes."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterator, Mapping

import backoff

from common.api.fields import rfc3339
from common.database import entry_errors, operator_log
from common.database.database import Database, Row, Transaction
from common.database.errors import RowsLocked
from common.events.body import event_body
from common.json_text import encode
from common.webhooks.secrets import signature
from domain.events import EventType
from webhooks import statements
from webhooks.delivery import Answer, Delivery, NoAnswer, Outcome, is_success
from webhooks.schedule import DISABLE_AFTER_S, WARN_AFTER_S, delay_after
from webhooks.set_aside import SetAside

log = logging.getLogger(__name__)

TYPES = list(map(str, EventType))
BATCH = 500  # events for one endpoint in one transaction
LEASE_S = 60  # longer than one attempt (15 s), a slow resolver and the next one together
LOCK_WAIT_S = (
    20  # how long to retry the save of an outcome whose rows are locked, before its claim is left to the lease
)
LOOK_AHEAD = 100  # due deliveries among which a claim looks for some of different orders
GONE = "the receiver answered 410 Gone"
TOO_LONG = "no delivery succeeded for five days"
USER_AGENT = "Holdfast-Webhooks/1"


class Store:
    """Raises TransientDatabaseError when the database cannot be used now.

    When it refuses one delivery or endpoint only, that one is set aside, and the others go on.
    """

    def __init__(self, database: Database, claimant: str, in_flight: int) -> None:
        """:param in_flight: deliveries to one endpoint at once; one that fails has one"""
        self.database, self.claimant, self.in_flight = database, claimant, in_flight
        self._deliveries, self._endpoints = SetAside(), SetAside()

    def fan_out(self) -> int:
        """Make deliveries of new events, at most one batch for each endpoint. :returns: how many events were read"""
        behind = self.database.all(statements.BEHIND, types=TYPES, limit=1, set_aside=self._endpoints.ids())
        return sum(self._fan_out(row["id"]) for row in behind)

    def due(self) -> list[Row]:
        """The endpoints with due deliveries, the longest overdue first: `id`, `is_failing`."""
        return self.database.all(statements.DUE)

    def claim(self, endpoint_id: str, limit: int) -> list[Delivery]:
        """Claim at most `limit` due deliveries of one endpoint, unless another process is changing its queue.

        When they cannot be claimed together, each is claimed alone.
        """
        try:
            return self._claim_with(statements.CLAIM, endpoint_id, limit, set_aside=self._deliveries.ids())
        except Exception as error:
            if not entry_errors.may_be_one_entry(error):
                raise
            return self._claim_each(endpoint_id, limit)

    @backoff.on_exception(
        backoff.expo, RowsLocked, max_time=lambda: LOCK_WAIT_S, factor=0.1, max_value=1, logger=None
    )  # fmt: skip
    def save(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Save what became of an attempt. While rows are locked, try again: without it the receiver is asked again.

        :returns: False if the claim is lost
        """
        return self.database.transact(lambda tx: _save(tx, delivery, outcome))

    def set_aside(self, delivery_id: str, error: Exception) -> None:
        """Leave a delivery out for some minutes. If rows stay locked, it is only left to its lease."""
        _set_aside(self._deliveries, delivery_id, error, "a delivery", "webhook_delivery_id")

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

    def _fan_out(self, endpoint_id: str) -> int:
        try:
            return self.database.transact(lambda tx: _fan_out(tx, endpoint_id))
        except Exception as error:
            if not entry_errors.may_be_one_entry(error):
                raise
            _set_aside(self._endpoints, endpoint_id, error, "new events for an endpoint", "webhook_endpoint_id")
            return 0

    def _claim_each(self, endpoint_id: str, limit: int) -> list[Delivery]:
        claimed: list[Delivery] = []
        set_aside = self._deliveries.ids()
        due = self.database.all(
            statements.DUE_DELIVERIES, endpoint_id=endpoint_id, limit=LOOK_AHEAD, set_aside=set_aside
        )
        for row in due:
            if len(claimed) == limit:
                break
            try:
                claimed += self._claim_with(statements.CLAIM_ONE, endpoint_id, limit, id=row["id"])
            except Exception as error:
                if not entry_errors.may_be_one_entry(error):
                    raise
                self.set_aside(row["id"], error)
        return claimed

    def _claim_with(self, statement: str, endpoint_id: str, limit: int, **params: object) -> list[Delivery]:
        return self.database.transact(lambda tx: list(self._claim(tx, statement, endpoint_id, limit, params)))

    def _claim(
        self, tx: Transaction, statement: str, endpoint_id: str, limit: int, params: Mapping[str, object]
    ) -> Iterator[Delivery]:
        endpoint = tx.one(statements.LOCK_UNLESS_BUSY, endpoint_id=endpoint_id)
        if endpoint is None:
            return
        rows = tx.all(
            statement,
            endpoint_id=endpoint_id,
            claimant=self.claimant,
            lease_s=LEASE_S,
            limit=LOOK_AHEAD,
            in_flight=min(limit, 1 if endpoint["is_failing"] else self.in_flight),
            **params,
        )
        if not rows:
            return
        events = {row["id"]: row for row in tx.all(statements.EVENTS, ids=[row["message_id"] for row in rows])}
        address = tx.one(statements.ADDRESS, endpoint_id=endpoint_id) or {}
        for row in rows:
            yield _delivery(row, events.get(row["message_id"]), address, is_failing=endpoint["is_failing"])


def _set_aside(where: SetAside, id_: str, error: Exception, what: str, id_name: str) -> None:
    reason = entry_errors.reason(error)
    if entry_errors.is_delay(error):
        log.warning("%s must wait: %s", what, reason, extra={id_name: id_})
        return
    where.add(id_)
    log.error("%s cannot be processed, the others go on: %s", what, reason, exc_info=error, extra={id_name: id_})


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
