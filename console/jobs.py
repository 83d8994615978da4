"""Jobs as an operator makes, watches and stops them. `job_worker` does their work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from common.api.errors import IdempotencyKeyReused, Unauthorized, ValidationFailed
from common.api.idempotency import fingerprint_of
from common.database import operator_log
from common.database.database import Database, Row, Transaction
from common.process.logs import without_secrets
from console import job_statements as statements
from console import listing
from console.errors import JobHasEnded, MoreOrdersFit, NoSuchJob
from console.job_filters import NOT_KEPT, PERSONAL
from console.job_schemas import MAX_ITEMS
from console.operators import Operator
from edge_api.cursor import Position, page_of

MAX_COUNT = 10_000
PAGE = 50
HAVE_ENDED = "These orders have ended: none of them can be retried or cancelled."
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Sent(NamedTuple):
    """A request for a job: its key, and its filter as it was sent."""

    key: str
    filter: dict[str, Any]


def count(database: Database, query: Mapping[str, Any]) -> Row:
    """How many orders fit, up to MAX_COUNT, and their amounts. :param query: as `JobFilter` loads it"""
    statement, parameters = listing.count_of_orders(listing.clients_of(database), query)
    rows = database.all(statement, **parameters | {"limit": MAX_COUNT + 1})
    found = sum(row["orders"] for row in rows)
    return {"orders": min(found, MAX_COUNT), "is_more": found > MAX_COUNT, "amounts": rows}


def check_filter(query: Mapping[str, Any]) -> None:
    """A job on all orders is a mistake. :raises ValidationFailed:"""
    if all(value is False for value in query.values()):  # `needs_attention=false` leaves out no order
        raise ValidationFailed(filter=["Say which orders: give at least one filter."])


def have_ended(query: Mapping[str, Any]) -> bool:
    """Whether every order that fits has ended: nothing can be done with it."""
    return "status" in query and all(status.is_terminal for status in query["status"])


def check_some_are_open(query: Mapping[str, Any]) -> None:
    """:raises ValidationFailed: each order would be refused"""
    if have_ended(query):
        raise ValidationFailed(filter=[HAVE_ENDED])


def create(database: Database, operator: Operator, sent: Sent, wanted: Row) -> Row:
    """Record a job, once for each key of its author. :returns: the job

    :param wanted: as `NewJob` loads it
    :raises ValidationFailed: the filter is empty, or only orders that have ended fit it
    :raises MoreOrdersFit: more than the operator has seen
    :raises IdempotencyKeyReused: the key was used for another job
    :raises Unauthorized: an admin has ended the session meanwhile
    """
    check_filter(wanted["filter"])
    columns = {name: wanted.get(name) for name in ("action", "reason", "note", "rate_per_s")}
    columns["reason"] = without_secrets(wanted["reason"])  # the record can never be erased
    fingerprint = fingerprint_of({**columns, "filter": without_person(sent.filter)})
    known = database.one(statements.FIND_KEY, author=operator.name, key=sent.key)
    if known is None:
        check_some_are_open(wanted["filter"])
        _check_number(database, wanted)
        new = {**columns, "author": operator.name, "key": sent.key, "fingerprint": fingerprint}
        known = database.transact(lambda tx: _add(tx, operator, {**new, "filter": sent.filter}))
    if known["fingerprint"] != fingerprint:
        raise IdempotencyKeyReused()
    return known


def _add(tx: Transaction, operator: Operator, new: Row) -> Row:
    if operator.key_id is None and not tx.one(statements.HOLD_SESSION, name=operator.name):
        raise Unauthorized("Your session has ended. Sign in again.")
    text = json.dumps(new["filter"])
    made = tx.one(statements.ADD, **{**new, "filter": text, "operator_key_id": operator.key_id})
    if made is None:
        (known,) = tx.all(statements.FIND_KEY, author=new["author"], key=new["key"])
        return known
    told = {name: new[name] for name in ("action", "reason", "rate_per_s")}
    record(tx, operator.name, "create", made["job_id"], filter=without_person(new["filter"]), **told)
    return {**made, "fingerprint": new["fingerprint"]}


def _check_number(database: Database, wanted: Row) -> None:
    if "expected" not in wanted:
        return
    found = count(database, wanted["filter"])
    if found["is_more"] or found["orders"] > wanted["expected"]:
        raise MoreOrdersFit(orders=found["orders"], is_more=found["is_more"])


def stop(database: Database, operator: Operator, job_id: str) -> Row:
    """End a job before its next order. :raises NoSuchJob, JobHasEnded:"""

    def work(tx: Transaction) -> Row:
        stopped = tx.one(statements.STOP, id=job_id, actor=operator.name)
        if stopped is None:
            raise JobHasEnded() if tx.one(statements.GET, id=job_id) else NoSuchJob()
        record(tx, operator.name, "stop", job_id, done=stopped["done"], refused=stopped["refused"])
        return stopped

    return database.transact(work)


def get(database: Database, job_id: str) -> Row:
    """:raises NoSuchJob:"""
    found = database.one(statements.GET, id=job_id)
    if found is None:
        raise NoSuchJob()
    return found


def with_items(database: Database, job_id: str, query: Row) -> Row:
    """A job, and one page of its orders with their results. :raises NoSuchJob:"""
    job = get(database, job_id)
    statement = statements.REFUSED_ITEMS if "result" in query else statements.ITEMS
    found = database.all(statement, id=job_id, after=query["after"], limit=MAX_ITEMS + 1)
    shown = found[:MAX_ITEMS]
    return {**job, "items": shown, "next_after": shown[-1]["number"] if len(found) > MAX_ITEMS else None}


def page(database: Database, before: Position | None = None) -> Row:
    """One page of jobs, newest first, and the cursor of the next one: null at the end."""
    since, last_id = before or (None, LAST_ID)
    found = database.all(statements.NEWEST, before=since, before_id=last_id, limit=PAGE + 1)
    shown, next_cursor = page_of(found, PAGE, id_="job_id")
    return {"jobs": shown, "next_cursor": next_cursor}


def without_person(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filter without personal data."""
    return {name: NOT_KEPT if name in PERSONAL else value for name, value in filters.items()}


def record(tx: Transaction, actor: str, action: str, job_id: str, /, **details: Any) -> None:
    operator_log.add(tx, actor, f"job.{action}", {"job_id": job_id, **details})
