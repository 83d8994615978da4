"""Webhook endpoints of all clients, for operators. What is done to one is done as its client could do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.api.fields import rfc3339
from common.database.database import Database, Row, Transaction
from console import endpoint_statements as statements
from console.writes import Done, Write, around, within
from edge_api import webhooks
from edge_api.webhook_errors import DeliveryNotFound, EndpointNotFound
from edge_api.webhook_statements import DELIVERY
from edge_api.webhooks import Endpoints

# Of one client, and in trouble → the first page, and a later one.
PAGES = {
    (False, False): (statements.PAGE, statements.PAGE_AFTER),
    (False, True): (statements.IN_TROUBLE, statements.IN_TROUBLE_AFTER),
    (True, False): (statements.OF_CLIENT, statements.OF_CLIENT_AFTER),
    (True, True): (statements.OF_CLIENT_IN_TROUBLE, statements.OF_CLIENT_IN_TROUBLE_AFTER),
}
OPERATOR = "an operator"  # what the client reads as the reason


@dataclass(frozen=True)
class Change:
    """Who changes which endpoint, with which key and why."""

    operator: str
    key: str
    endpoint: Row

    def write(self, action: str, **noted: Any) -> Write:
        about = {"webhook_endpoint_id": self.endpoint["id"], "client": self.endpoint["client"]}
        return Write(self.operator, self.key, f"webhooks.{action}", {**about, **noted})


def page(database: Database, query: Mapping[str, Any]) -> Row:
    """One page of endpoints, by client, and the id after which the next one begins: null at the end.

    :param query: `limit`, `client`, `in_trouble` and `cursor`
    """
    limit = query["limit"]
    names = {"limit": limit + 1} | ({"client": query["client"]} if "client" in query else {})
    first, later = PAGES["client" in query, query.get("in_trouble", False)]
    found = database.all(later, **names, after=query["cursor"]) if "cursor" in query else database.all(first, **names)
    next_cursor = found[limit - 1]["id"] if len(found) > limit else None
    return {"webhook_endpoints": found[:limit], "next_cursor": next_cursor}


def read(database: Database, id_: str) -> Row:
    """:raises EndpointNotFound: no such endpoint, or a deleted one"""
    found = database.one(statements.ENDPOINT, id=id_)
    if found is None:
        raise EndpointNotFound()
    return found


def delivery(database: Database, id_: str, delivery_id: str) -> Row:
    """:raises DeliveryNotFound: no such delivery to this endpoint"""
    found = database.one(DELIVERY, id=id_, delivery_id=delivery_id)
    if found is None:
        raise DeliveryNotFound()
    return found


def set_status(database: Database, change: Change, status: str, reason: str) -> Done:
    """Enable an endpoint, which then gets all events since it was disabled, or disable it."""
    client, id_ = change.endpoint["client"], change.endpoint["id"]
    write = change.write("enable" if status == "enabled" else "disable", reason=reason)

    def work(tx: Transaction) -> Row:
        webhooks.change_endpoint(tx, client, id_, {"status": status}, disabled_by=OPERATOR)
        return {"status": status}

    return within(database, write, work)


def send_test(database: Database, change: Change) -> Done:
    """Deliver a test event to an endpoint. :returns: the ids of the delivery and of the event"""
    client, id_ = change.endpoint["client"], change.endpoint["id"]
    return within(database, change.write("test"), lambda tx: _ids(webhooks.add_test(tx, client, id_)))


def resend(database: Database, change: Change, delivery_id: str) -> Done:
    """Deliver once more, from the first attempt. :returns: as `send_test` :raises DeliveryNotFound:"""
    client, id_ = change.endpoint["client"], change.endpoint["id"]
    write = change.write("resend", delivery_id=delivery_id)
    return within(database, write, lambda tx: _ids(webhooks.resend_delivery(tx, client, id_, delivery_id)))


def resend_since(endpoints: Endpoints, change: Change, since: datetime, *, only_failed: bool) -> Done:
    """Deliver once more what failed since a time, or all of it, in batches.

    :raises NotKnown: an earlier request with this key did not come to its end; a part of it may have been done
    """
    client, id_ = change.endpoint["client"], change.endpoint["id"]
    write = change.write("resend_since", since=rfc3339(since), only_failed=only_failed)
    return around(
        endpoints.database,
        write,
        lambda: endpoints.resend_since(client, id_, since, only_failed),
        may_repeat=False,
    )


def _ids(delivery: Row) -> Row:
    """What is kept with the key: not what the receiver answered, which may be about a person."""
    return {"id": delivery["id"], "event_id": delivery["event_id"]}
