"""Webhook endpoints of clients, and what was delivered to them. The process `webhooks` delivers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from common.api.errors import ValidationFailed
from common.database.database import Database, Row, Transaction
from common.webhooks.secrets import new_id, new_secret
from edge_api import webhook_statements as statements
from edge_api.cursor import page_of
from edge_api.webhook_errors import DeliveryNotFound, EndpointNotFound, TooManyEndpoints, TooManyRotations

MAX_ENDPOINTS = 50
MAX_SECRETS = 10  # each adds a signature to every delivery
RESEND_BATCH, MAX_RESENT = 1_000, 20_000  # for one transaction, and for one request
FIRST_ID = "00000000-0000-0000-0000-000000000000"
OWNER = "its owner"  # who disables an endpoint, as its client sees it


@dataclass(frozen=True)
class Endpoints:
    """The endpoints of all clients."""

    database: Database
    only_https: bool

    def create(self, client: str, new: Row) -> Row:
        """Make an endpoint. :returns: it, with its secret"""
        self._check_url(new)
        secret = new_secret()

        def work(tx: Transaction) -> Row | None:
            made = tx.one(
                statements.ADD_ENDPOINT,
                **{"id": new_id("we_"), "client": client, "description": None, **new},
                max_endpoints=MAX_ENDPOINTS,
            )
            if made:
                tx.execute(statements.ADD_SECRET, id=made["id"], number=1, secret=secret)
            return made

        if (made := self.database.transact(work)) is None:
            raise TooManyEndpoints(limit=MAX_ENDPOINTS)
        return {**made, "secret": secret}

    def all(self, client: str) -> list[Row]:
        return self.database.all(statements.ENDPOINTS, client=client)

    def get(self, client: str, id_: str) -> Row:
        """:raises EndpointNotFound: no such endpoint, or another client's"""
        found = self.database.one(statements.ENDPOINT, client=client, id=id_)
        if found is None:
            raise EndpointNotFound()
        return found

    def change(self, client: str, id_: str, changes: Row) -> Row:
        """Change some fields. An endpoint that is enabled gets all events since it was disabled."""
        self._check_url(changes)
        return self.database.transact(lambda tx: change_endpoint(tx, client, id_, changes))

    def delete(self, client: str, id_: str) -> None:
        """Delete an endpoint and its secrets. Nothing is delivered to it any more."""

        def work(tx: Transaction) -> None:
            _lock(tx, client, id_)
            tx.execute(statements.DELETE_SECRETS, id=id_)
            tx.execute(statements.DELETE_ENDPOINT, id=id_)

        self.database.transact(work)

    def rotate_secret(self, client: str, id_: str) -> Row:
        """Make a new secret. The former one signs as well for 24 hours. :returns: the endpoint, with its new secret"""
        secret = new_secret()

        def work(tx: Transaction) -> Row:
            endpoint = _lock(tx, client, id_)
            tx.execute(statements.DELETE_EXPIRED_SECRETS, id=id_)
            known = tx.one(statements.SECRETS, id=id_) or {}
            if known["count"] >= MAX_SECRETS:
                refusal = TooManyRotations()
                refusal.retry_after = max(1, math.ceil(known["first_ends_in_s"]))
                raise refusal
            tx.execute(statements.END_SECRET, id=id_)
            tx.execute(statements.ADD_SECRET, id=id_, number=known["last"] + 1, secret=secret)
            return endpoint

        return {**self.database.transact(work), "secret": secret}

    def test(self, client: str, id_: str) -> Row:
        """Deliver a test event. :returns: the delivery"""
        return self.database.transact(lambda tx: add_test(tx, client, id_))

    def deliveries(self, client: str, id_: str, query: Row) -> Row:
        """One page of the endpoint's deliveries, newest first."""
        self.get(client, id_)
        limit, after = query["limit"], query.get("cursor")
        position = {"created_at": after.created_at, "after": after.id} if after else {}
        statement = statements.page_of_deliveries(query.get("status"), is_after=after is not None)
        found = self.database.all(statement, id=id_, limit=limit + 1, **position)
        page, next_cursor = page_of(found, limit)
        return {"deliveries": page, "next_cursor": next_cursor}

    def resend(self, client: str, id_: str, delivery_id: str) -> Row:
        """Deliver once more, from the first attempt. One that is in flight is left alone.

        :raises DeliveryNotFound: no such endpoint, or no such delivery of it
        """
        return self.database.transact(lambda tx: resend_delivery(tx, client, id_, delivery_id))

    def resend_since(self, client: str, id_: str, since: datetime, only_failed: bool) -> Row:
        """Deliver once more what was to be delivered since a time, oldest first.

        :returns: how many, and from when to continue if there are more than one request may resend
        """
        self.get(client, id_)
        statement = statements.FAILED_SINCE if only_failed else statements.ALL_SINCE
        now = self.database.one(statements.NOW) or {}
        place: dict[str, Any] = {"created_at": since, "after": FIRST_ID, "until": now["now"]}
        resent = 0
        while resent < MAX_RESENT:
            batch = self.database.transact(lambda tx, at=place: _resend_batch(tx, client, id_, statement, at))  # type: ignore[misc]
            resent += batch.resent
            if batch.last is None:
                return {"resent": resent, "next_since": None}
            place = {**place, "created_at": batch.last["created_at"], "after": batch.last["id"]}
        return {"resent": resent, "next_since": place["created_at"]}

    def _check_url(self, body: Row) -> None:
        if self.only_https and not body.get("url", "https:").startswith("https:"):
            raise ValidationFailed(url=["Must begin with https:// where APP_ENV is production."])


def change_endpoint(tx: Transaction, client: str, id_: str, changes: Row, *, disabled_by: str = OWNER) -> Row:
    """Change some fields of an endpoint, in the caller's transaction. :raises EndpointNotFound:"""
    current = _lock(tx, client, id_)
    same = ("id", "url", "event_types", "description", "status")
    wanted = {name: current[name] for name in same} | changes
    return tx.one(statements.CHANGE_ENDPOINT, **wanted, disabled_by=f"disabled by {disabled_by}") or {}


def add_test(tx: Transaction, client: str, id_: str) -> Row:
    """Deliver a test event, from the caller's transaction on. :raises EndpointNotFound:"""
    _lock(tx, client, id_)
    return tx.one(statements.ADD_TEST, id=id_, message_id=new_id("evt_")) or {}


def resend_delivery(tx: Transaction, client: str, id_: str, delivery_id: str) -> Row:
    """Deliver once more, from the caller's transaction on. :raises DeliveryNotFound:"""
    if tx.one(statements.LOCK_ENDPOINT, client=client, id=id_) is None:
        raise DeliveryNotFound()
    names = {"id": id_, "delivery_id": delivery_id}
    found = tx.one(statements.DELIVERY, **names)
    if found is None:
        raise DeliveryNotFound()
    if tx.execute(statements.RESEND, **names) and found["order_ledger_id"]:
        _schedule(tx, id_, [found["order_ledger_id"]])
    return tx.one(statements.DELIVERY, **names) or {}


def _lock(tx: Transaction, client: str, id_: str) -> Row:
    endpoint = tx.one(statements.LOCK_ENDPOINT, client=client, id=id_)
    if endpoint is None:
        raise EndpointNotFound()
    return endpoint


class _Batch(NamedTuple):
    resent: int
    last: Row | None
    """The place where the next batch begins. None: there is no next one."""


def _resend_batch(tx: Transaction, client: str, id_: str, statement: str, place: Row) -> _Batch:
    _lock(tx, client, id_)
    found = tx.all(statement, id=id_, limit=RESEND_BATCH, **place)
    rows = tx.all(statements.RESEND_EACH, ids=[row["id"] for row in found]) if found else []
    _schedule(tx, id_, sorted({row["order_ledger_id"] for row in rows}))
    return _Batch(len(rows), found[-1] if len(found) == RESEND_BATCH else None)


def _schedule(tx: Transaction, id_: str, orders: list[str]) -> None:
    if orders:
        tx.execute(statements.SCHEDULE, endpoint_id=id_, order_ledger_ids=orders)
