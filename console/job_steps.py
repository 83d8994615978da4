"""The steps of a job: collect a page of orders, or act on one. Each is one transaction with its result.

So a worker that is killed leaves nothing half done, and a step that was committed is not done again. A worker that has
lost its claim changes nothing: the first statement of a step proves the claim and locks the job.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any, NamedTuple

from common.api.errors import ApiError
from common.database.database import Database, Row, Transaction
from common.database.errors import RowsLocked, TransientDatabaseError
from console import job_statements as statements
from console import listing, verbs
from console.errors import Locked, NoLongerFits
from console.job_filters import PERSONAL
from console.job_schemas import JobFilter
from console.job_states import DONE, FILLING, RESULT_DONE, RESULT_REFUSED, STOPPED
from console.jobs import LAST_ID, record
from console.verbs import Subject
from edge_api.cursor import Position

LEASE_S = 15.0  # several times as long as any one step may take: statement_timeout is 2 s
FILL_PAGE = 500
MAX_ORDERS = 100_000  # of one job: half an hour at the highest rate
log = logging.getLogger(__name__)


class Claim(NamedTuple):
    job_id: str
    number: int


class Step(Enum):
    """What a step has done."""

    COLLECTED, ACTED, ENDED, LOST = range(4)


class Unexpected(ApiError):
    """An unexpected error occurred. It is in the log of the console."""


def claim(database: Database, worker: str) -> Claim | None:
    """Take the oldest job that nobody works on. None: there is none."""
    found = database.one(statements.CLAIM, worker=worker, lease_s=LEASE_S)
    return Claim(found["id"], found["claim_number"]) if found else None


def let_go(database: Database, held: Claim) -> None:
    """Let another worker continue at once."""
    database.all(statements.LET_GO, id=held.job_id, claim_number=held.number)


def rate_of(database: Database, held: Claim) -> int:
    """Orders a second."""
    found = database.one(statements.GET, id=held.job_id)
    return int(found["rate_per_s"]) if found else 1


def step(database: Database, held: Claim) -> Step:
    """Do the next step. :raises TransientDatabaseError: nothing is known to be done; it may be tried again"""
    has_job = False

    def work(tx: Transaction) -> Step:
        nonlocal has_job
        has_job = False
        job = _hold(tx, held)
        has_job = True
        return _step(tx, job, None)

    try:
        return database.transact(work)
    except RowsLocked:
        if not has_job:  # it is the job's own row, and not the order, that is locked
            raise
        return database.transact(lambda tx: _step(tx, _hold(tx, held), Locked()))
    except TransientDatabaseError:
        raise
    except Exception:  # an error in one order must not stop the job
        log.exception("a step of the job %s failed", held.job_id)
        return database.transact(lambda tx: _step(tx, _hold(tx, held), Unexpected()))


def fail(database: Database, held: Claim) -> None:
    """End a job that cannot continue."""

    def work(tx: Transaction) -> None:
        if job := _hold(tx, held):
            _end(tx, job, STOPPED, "failed")

    database.transact(work)


def _step(tx: Transaction, job: Row | None, refusal: ApiError | None) -> Step:
    """:param refusal: why the next order is left alone; None: act on it"""
    if job is None:
        return Step.LOST
    if not job["is_allowed"]:
        return _end(tx, job, STOPPED, "key")
    if job["state"] == FILLING:
        return _end(tx, job, STOPPED, "failed") if isinstance(refusal, Unexpected) else _collect(tx, job)
    if job["next_number"] > job["total"]:
        return _end(tx, job, DONE)
    return _act(tx, job, refusal)


def _hold(tx: Transaction, held: Claim) -> Row | None:
    return tx.one(statements.HOLD, id=held.job_id, claim_number=held.number, lease_s=LEASE_S)


def _end(tx: Transaction, job: Row, state: str, reason: str | None = None) -> Step:
    (sums,) = tx.all(statements.END, id=job["id"], state=state, stop_reason=reason)
    told = {"stop_reason": reason} if reason else {}
    record(tx, job["author"], "end", job["id"], **sums, **told)
    return Step.ENDED


def _collect(tx: Transaction, job: Row) -> Step:
    """Add a page of orders, the newest first. Orders that came after the job are not among them."""
    last = Position(job["after_created_at"] or job["created_at"], job["after_id"] or LAST_ID)
    size = min(FILL_PAGE, MAX_ORDERS - job["total"])
    query = {**_filter(job), "cursor": last}
    statement, parameters = listing.page_of_orders(_clients(tx), query)
    found = tx.all(statement, **parameters | {"limit": size}) if size else []
    if found:
        ids = [row["order_ledger_id"] for row in found]
        tx.execute(statements.ADD_ITEMS, id=job["id"], total=job["total"], order_ledger_ids=ids)
        tx.execute(
            statements.COLLECTED,
            id=job["id"],
            added=len(found),
            after_created_at=found[-1]["created_at"],
            after_id=ids[-1],
        )
    if len(found) < FILL_PAGE:
        tx.execute(statements.BEGIN, id=job["id"])
    return Step.COLLECTED


def _clients(tx: Transaction) -> list[str]:
    return [row["client"] for row in tx.all(listing.CLIENTS, max_clients=listing.MAX_CLIENTS)]


def _act(tx: Transaction, job: Row, refusal: ApiError | None) -> Step:
    item = tx.one(statements.ITEM, id=job["id"], number=job["next_number"])
    try:
        if refusal is not None:
            raise refusal
        if item is None:  # it was deleted with its order
            raise NoLongerFits()
        _do(tx, job, item["order_ledger_id"])
    except ApiError as error:
        refusal = error
    result = {"result": RESULT_REFUSED if refusal else RESULT_DONE, "code": None, "message": None}
    if refusal:
        result |= {"code": refusal.code, "message": refusal.message}
    tx.execute(statements.END_ITEM, id=job["id"], number=job["next_number"], **result)
    tx.execute(statements.COUNT_ITEM, id=job["id"], done=0 if refusal else 1)
    return Step.ACTED


def _do(tx: Transaction, job: Row, order_ledger_id: str) -> None:
    """Act on one order, if it still fits: one that has gone on meanwhile is left alone.

    :raises ApiError: before anything is written
    """
    statement, parameters = listing.fits(_filter(job))
    found = tx.one(statement, **parameters, id=order_ledger_id)
    if found is None:
        raise NoLongerFits()
    subject = Subject(found["client"], order_ledger_id)
    if job["action"] == "cancel":
        wish = {"reason": job["reason"], "note": job["note"]}
        verbs.cancel(tx, job["author"], subject, wish, job_id=job["id"])
    else:
        verbs.retry(tx, job["author"], subject, job["reason"], job_id=job["id"])


def _filter(job: Row) -> dict[str, Any]:
    """The filter. Its personal data is not kept once the orders are collected, and cannot have changed."""
    is_kept = job["state"] == FILLING
    kept = {name: value for name, value in job["filter"].items() if is_kept or name not in PERSONAL}
    loaded: dict[str, Any] = JobFilter().load(kept)
    return loaded
