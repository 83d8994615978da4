"""Endpoints and deliveries as the process `webhooks` sees them: fan-out, claims, and saved outcomes."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass

from common.api.fields import rfc3339
from common.database import entry_errors, operator_log
from common.database.database import Database, Row, Transaction
from common.events.body import event_body
from common.json_text import encode
from common.webhooks.secrets import signature
from domain.events import EventType
from webhooks import statements
from webhooks.delivery import Answer, Delivery, Done, Outcome, is_success
from webhooks.schedule import DISABLE_AFTER_S, WARN_AFTER_S, delay_after
from webhooks.set_aside import SetAside

log = logging.getLogger(__name__)

TYPES = list(map(str, EventType))
BATCH = 500  # events for one endpoint in one transaction
LOOK_AHEAD = 32  # due deliveries among which a claim looks for some of different orders
GONE = "the receiver answered 410 Gone"
TOO_LONG = "no delivery succeeded for five days"
USER_AGENT = "Holdfast-Webhooks/1"
OUTCOME_COLUMNS = ("ids", "claim_numbers", "statuses", "retries_in_s", "response_statuses", "response_bodies", "errors")


@dataclass(frozen=True)
class Turn:
    """What one transaction did for an endpoint: the ids of the saved deliveries, and those that were claimed."""

    saved: Set[str] = frozenset()
    claimed: Sequence[Delivery] = ()


class Store:
    """Raises TransientDatabaseError when the database cannot be used now."""

    def __init__(self, database: Database, claimant: str, in_flight: int, lease_s: float) -> None:
        """
        :param in_flight: deliveries to one endpoint at once; one that fails, and a new one, have one
        :param lease_s: after it, a delivery whose process has died is claimed again
        """
        self.database, self.claimant, self.in_flight, self.lease_s = database, claimant, in_flight, lease_s
        self._deliveries, self._endpoints = SetAside(), SetAside()

    def fan_out(self) -> int:
        """Make deliveries of new events, at most one batch for each endpoint. :returns: how many events were read"""
        behind = self.database.all(statements.BEHIND, types=TYPES, limit=1, set_aside=self._endpoints.ids())
        return sum(self._fan_out(row["id"]) for row in behind)

    def due(self) -> list[Row]:
        """The endpoints with due deliveries, the longest overdue first: `id`."""
        return self.database.all(statements.DUE)

    def claim(self, endpoint_id: str, limit: int, limit_if_failing: int | None = None) -> Sequence[Delivery]:
        """Claim due deliveries of one endpoint, unless another process is changing its queue. See `turn`."""
        try:
            turn = self.turn(endpoint_id, [], limit, limit_if_failing)
        except Exception as error:  # re-raised unless one entry may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            return self._claim_each(endpoint_id, limit, limit_if_failing)
        return turn.claimed if turn else []

    def set_aside(self, delivery_id: str, error: Exception) -> None:
        """Leave a delivery out for some minutes. If rows stay locked, it is only left to its lease."""
        _set_aside(self._deliveries, delivery_id, error, "a delivery", "webhook_delivery_id")

    def save(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Save what became of one attempt. :returns: False if the claim is lost"""
        turn = self.turn(delivery.endpoint_id, [(delivery, outcome)], 0, lock=statements.LOCK)
        return turn is not None and delivery.id in turn.saved

    def turn(
        self,
        endpoint_id: str,
        done: Sequence[Done],
        limit: int,
        limit_if_failing: int | None = None,
        lock: str = statements.LOCK_UNLESS_BUSY,
        only: str | None = None,
    ) -> Turn | None:
        """Save outcomes of one endpoint, and claim its next due deliveries, in one transaction.

        :param limit: claim at most so many
        :param limit_if_failing: the limit where the endpoint has failed since its last success, or has had none
        :param lock: how to lock the endpoint's queue
        :param only: claim this delivery, or none
        :returns: None while another process is changing the endpoint's queue; nothing was done
        """
        limits = limit, limit if limit_if_failing is None else limit_if_failing

        def work(tx: Transaction) -> Turn | None:
            endpoint = tx.one(lock, endpoint_id=endpoint_id)
            return self._save_and_claim(tx, endpoint, done, *limits, only) if endpoint else None

        return self.database.transact(work)

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
        except Exception as error:  # re-raised unless one entry may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            _set_aside(self._endpoints, endpoint_id, error, "new events for an endpoint", "webhook_endpoint_id")
            return 0

    def _claim_each(self, endpoint_id: str, limit: int, limit_if_failing: int | None) -> list[Delivery]:
        claimed: list[Delivery] = []
        due = self.database.all(
            statements.DUE_DELIVERIES, endpoint_id=endpoint_id, limit=LOOK_AHEAD, set_aside=self._deliveries.ids()
        )
        for row in due:
            if len(claimed) == limit:
                break
            try:
                turn = self.turn(endpoint_id, [], limit, limit_if_failing, only=row["id"])
                claimed += turn.claimed if turn else []
            except Exception as error:  # re-raised unless one entry may be the cause
                if not entry_errors.may_be_one_entry(error):
                    raise
                self.set_aside(row["id"], error)
        return claimed

    def _save_and_claim(
        self, tx: Transaction, endpoint: Row, done: Sequence[Done], limit: int, limit_if_failing: int, only: str | None
    ) -> Turn:
        ids = _save(tx, endpoint["id"], done) if done else set()
        saved = [each for each in done if each[0].id in ids]
        is_failing = _note_successes(tx, endpoint, [outcome for _, outcome in saved])
        is_gone = any(_is_gone(outcome) and delivery.url == endpoint["url"] for delivery, outcome in saved)
        if is_gone:
            _disable(tx, endpoint["id"], GONE)
        in_flight = min(limit_if_failing, 1) if is_failing else min(limit, self.in_flight)
        is_open = endpoint["is_open"] and not is_gone
        claimed = list(self._claim(tx, endpoint, in_flight, is_failing, only)) if is_open and in_flight > 0 else []
        return Turn(ids, claimed)

    def _claim(
        self, tx: Transaction, endpoint: Row, in_flight: int, is_failing: bool, only: str | None
    ) -> Iterator[Delivery]:
        which = {"id": only} if only else {"set_aside": self._deliveries.ids()}
        rows = tx.all(
            statements.CLAIM_ONE if only else statements.CLAIM,
            **which,
            endpoint_id=endpoint["id"],
            claimant=self.claimant,
            lease_s=self.lease_s,
            limit=LOOK_AHEAD,
            in_flight=in_flight,
        )
        ids = [row["event_id"] for row in rows if row["event_id"]]
        events = {row["id"]: row for row in tx.all(statements.EVENTS, ids=ids)} if ids else {}
        for row in rows:
            yield _delivery(row, events.get(row["event_id"]), endpoint, is_failing=is_failing)


def _set_aside(where: SetAside, id_: str, error: Exception, what: str, id_name: str) -> None:
    reason = entry_errors.reason(error)
    if entry_errors.is_delay(error):
        log.warning("%s must wait: %s", what, reason, extra={id_name: id_})
        return
    where.add(id_)
    log.error("%s cannot be processed, the others go on: %s", what, reason, exc_info=error, extra={id_name: id_})


def _delivery(row: Row, event: Row | None, endpoint: Row, *, is_failing: bool) -> Delivery:
    body = encode.readable(event_body(event) if event else _test_body(row)).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": row["message_id"],
        "webhook-timestamp": str(endpoint["timestamp"]),
        "webhook-signature": signature(endpoint["secrets"], row["message_id"], endpoint["timestamp"], body),
    }
    same = ("id", "endpoint_id", "message_id", "order_ledger_id", "claim_number", "attempts")
    return Delivery(
        **{name: row[name] for name in same},
        url=endpoint["url"],
        headers=headers,
        body=body,
        is_failing=is_failing,
        trace_parent=event["trace_parent"] if event else None,
    )


def _test_body(row: Row) -> Row:
    return {
        "type": row["type"],
        "timestamp": rfc3339(row["created_at"]),
        "data": {"webhook_endpoint_id": row["endpoint_id"]},
    }


def _fan_out(tx: Transaction, endpoint_id: str) -> int:
    endpoint = tx.one(statements.LOCK_UNLESS_BUSY, endpoint_id=endpoint_id)
    if endpoint is None or not endpoint["is_open"]:
        return 0
    events = tx.all(statements.NEXT_EVENTS, endpoint_id=endpoint_id, types=TYPES, limit=BATCH)
    if not events:
        return 0
    wanted = [event for event in events if {"*", event["type"]} & set(endpoint["event_types"])]
    if wanted:
        orders = [event["order_ledger_id"] for event in wanted]
        added = tx.all(
            statements.ADD,
            endpoint_id=endpoint_id,
            event_ids=[event["id"] for event in wanted],
            types=[event["type"] for event in wanted],
            order_ledger_ids=orders,
            sequences=[event["sequence"] for event in wanted],
        )
        if len(added) < len(wanted) or any(row["is_blocked"] for row in added):  # those that were there may have ended
            tx.execute(statements.SCHEDULE, endpoint_id=endpoint_id, order_ledger_ids=sorted(set(orders)))
    last = events[-1]
    tx.execute(statements.MOVE_CURSOR, endpoint_id=endpoint_id, xid=last["xid"], position=last["position"])
    return len(events)


def _save(tx: Transaction, endpoint_id: str, done: Sequence[Done]) -> set[str]:
    """:returns: the ids of those whose claim was not lost"""
    columns = zip(*(_outcome_columns(delivery, outcome) for delivery, outcome in done), strict=True)
    saved = {
        row["id"] for row in tx.all(statements.SAVE, **dict(zip(OUTCOME_COLUMNS, map(list, columns), strict=True)))
    }
    orders = {delivery.order_ledger_id for delivery, _ in done if delivery.order_ledger_id and delivery.id in saved}
    if orders:
        tx.execute(statements.SCHEDULE, endpoint_id=endpoint_id, order_ledger_ids=sorted(orders))
    return saved


def _outcome_columns(delivery: Delivery, outcome: Outcome) -> tuple[object, ...]:
    retry_in_s = None if is_success(outcome) else delay_after(delivery.attempts + 1)
    status = "succeeded" if is_success(outcome) else "failed" if retry_in_s is None else "pending"
    answer = (outcome.status, outcome.body, None) if isinstance(outcome, Answer) else (None, None, outcome.reason)
    return delivery.id, delivery.claim_number, status, retry_in_s, *answer


def _note_successes(tx: Transaction, endpoint: Row, outcomes: Sequence[Outcome]) -> bool:
    """Note on the endpoint whether its receiver works.

    :returns: whether it has failed since its last success, or has had none
    """
    is_failing, is_new = bool(endpoint["is_failing"]), bool(endpoint["is_new"])
    succeeded = [is_success(outcome) for outcome in outcomes]
    if any(succeeded):
        if is_failing or endpoint["is_success_old"]:
            tx.execute(statements.SUCCEEDED, endpoint_id=endpoint["id"])
        is_failing = is_new = False
    if succeeded and not succeeded[-1]:
        if not is_failing:
            tx.execute(statements.FAILED, endpoint_id=endpoint["id"])
        is_failing = True
    return is_failing or is_new


def _is_gone(outcome: Outcome) -> bool:
    return isinstance(outcome, Answer) and outcome.status == 410


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
