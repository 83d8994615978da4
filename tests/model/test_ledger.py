"""The model of the ledger does what the real statements do: each one, in every state that they lead to.

The row of a state is kept. For each statement it is put back into the real PostgreSQL, the real store runs the
statement, and the row must then be the one that the model says. Two claim numbers are tried: the entry's, and the one
before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg2
import pytest

from common.api.idempotency import StoredResponse
from common.calls.client import Answer, No, Nothing, Yes
from common.database.database import Database
from domain.states import ABANDONED, Status
from edge_api.notifier import Notifier
from edge_api.store import NOBODY
from edge_api.store import Store as EdgeStore
from orchestrator.entries import entry_of, saga_of
from orchestrator.saga import after
from orchestrator.store import Store
from tests.model import ledger
from tests.model.ledger import POLICY, PRICE, PRODUCT, USER, Entry, Outcome, row_of

LEASE_S = 3600  # no lease ends by itself during the test
MAX_CLAIMS = 2  # a later claim differs in its number only
RESPONSE = {status: StoredResponse.of(status, {}) for status in (202, 402, 409)}
ANSWERS: dict[str, Answer] = {
    "yes": Yes({}),
    "no": No("refused", "why"),
    "confirmed": No("invalid_status_transition", "why", {"current_status": "CONFIRMED"}),
    "nothing": Nothing("no response"),
}
READ = """
SELECT l.id, l.status, claim_number, COALESCE(claimed_until >= now(), false) AS is_leased,
  COALESCE(payment_authorization_id, '') AS payment, order_id IS NOT NULL AS has_order,
  LEAST(retry_count, %(most)s) AS retry_count, COALESCE(compensating_from, '') AS compensating_from, undone,
  COALESCE(failure_code, '') AS failure, COALESCE(response_status, 0) AS response, COALESCE(o.status, '') AS event
FROM order_ledger l LEFT JOIN outbox o ON o.order_ledger_id = l.id
"""
KEEP = """
SELECT (SELECT to_jsonb(l) FROM order_ledger l)::text AS entry, (SELECT to_jsonb(o) FROM outbox o)::text AS event
"""
PUT_BACK = """
SET session_replication_role = replica;
DELETE FROM outbox; DELETE FROM order_ledger_history; DELETE FROM order_ledger;
INSERT INTO order_ledger SELECT * FROM jsonb_populate_record(NULL::order_ledger, %(entry)s);
INSERT INTO outbox SELECT * FROM jsonb_populate_record(NULL::outbox, %(event)s) WHERE %(event)s IS NOT NULL;
"""
WAITED = "UPDATE order_ledger SET due_at = now() - interval '1 s' WHERE due_at IS NOT NULL"
LEASE_ENDS = "UPDATE order_ledger SET claimed_until = now() - interval '1 s' WHERE claimed_until >= now() RETURNING id"


class Row(NamedTuple):
    """The rows of an entry as PostgreSQL has them, in JSON."""

    entry: str
    event: str | None

    @property
    def is_claimed(self) -> bool:
        """Whether the last claim was not given back. Its lease may have ended."""
        return json.loads(self.entry)["claimed_by"] is not None


class Statement(NamedTuple):
    """A statement in the model and in PostgreSQL. Both say whether a row was changed."""

    name: str
    model: Callable[[Entry], Entry | None]
    real: Callable[[], Any]


class Real:
    """The real stores, on a ledger with one entry."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, name="test", size=2)
        self.edge = EdgeStore(self.database, LEASE_S, LEASE_S, Notifier(self.database, 0))
        self.orchestrator = Store(self.database, "me", LEASE_S)
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def close(self) -> None:
        self._connection.close()
        self.database.close()

    def insert(self) -> Entry:
        """T1."""
        lines = {"product_ids": [PRODUCT], "quantities": [1], "prices": [PRICE], "total": PRICE, "currency": "USD"}
        fixed = {"fingerprint": "f", "user_id": USER, "email": "a@b.example", "request_id": "r", **lines}
        assert self.edge.insert_entry("shop", "key", fixed)
        return self.read()

    def read(self) -> Entry:
        (row,) = self.database.all(READ, most=POLICY.max_attempts)
        return Entry(**{**row, "status": Status(row["status"]), "undone": tuple(row["undone"])})

    def keep(self) -> Row:
        (row,) = self.database.all(KEEP)
        return Row(row["entry"], row["event"])

    def put_back(self, row: Row) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(PUT_BACK, row._asdict())

    def execute(self, statement: str) -> bool:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.rowcount > 0

    def take_over(self, entry: Entry) -> Any:
        return self.edge.take_over(row_of(entry))

    def let_go(self, entry: Entry, seen: Entry) -> bool:
        """The real one does not say whether it has changed a row."""
        self.edge.let_go(row_of(seen))
        return self.read().claim_number == seen.claim_number and entry.status == Status.AWAITING_AUTHORIZATION

    def claim(self, entry: Entry) -> Any:
        if not entry.is_leased:
            self.execute(WAITED)
        return self.orchestrator.claim(1)

    def save(self, seen: Entry, answer: Answer) -> bool:
        was = saga_of(row_of(seen))
        return self.orchestrator.save(was, after(was, answer, POLICY)) is not None


@pytest.fixture
def real(url: str) -> Iterator[Real]:
    real = Real(url)
    yield real
    real.close()


def statements(real: Real, entry: Entry, is_claimed: bool) -> Iterator[Statement]:
    """Every statement that somebody may run now."""
    edge, former = real.edge, entry._replace(claim_number=entry.claim_number - 1)
    yield Statement("take over", ledger.take_over, lambda: real.take_over(entry))
    yield Statement("claim", ledger.claim, lambda: real.claim(entry))
    yield Statement("lease ends", ledger.lease_ends, lambda: real.execute(LEASE_ENDS))
    yield Statement(
        "answer abandoned",
        lambda row: ledger.answer_abandoned(row, 409),
        lambda: edge.answer_abandoned(row_of(entry), RESPONSE[409]),
    )
    is_the_edges = entry.failure != ABANDONED
    for seen in (entry, former) if is_the_edges else (former,):
        yield from edge_statements(real, entry, seen)
    for seen in (entry, former) if is_claimed else (former,):
        yield from saves(real, seen)


def edge_statements(real: Real, entry: Entry, seen: Entry) -> Iterator[Statement]:
    edge, row, whose = real.edge, row_of(seen), f"claim {seen.claim_number}"
    yield Statement(f"let go, {whose}", lambda now: ledger.let_go(now, seen), lambda: real.let_go(entry, seen))
    yield Statement(
        f"authorized, {whose}",
        lambda now: ledger.authorized(now, seen, "auth_1", 202),
        lambda: edge.authorized(row, "auth_1", RESPONSE[202]),
    )
    yield Statement(
        f"refused, {whose}",
        lambda now: ledger.refused(now, seen, "payment_declined", 402),
        lambda: edge.refused(row, "payment_declined", "why", RESPONSE[402], NOBODY),
    )


def saves(real: Real, seen: Entry) -> Iterator[Statement]:
    """Each outcome of an orchestrator that has seen the entry like this, or when it was AUTHORIZED."""
    if seen.status.is_terminal or (seen.status == Status.AWAITING_AUTHORIZATION and seen.failure != ABANDONED):
        return
    authorized = seen._replace(status=Status.AUTHORIZED, compensating_from="", undone=())
    for each in dict.fromkeys((seen, authorized)):
        for name, answer in ANSWERS.items():
            yield save(real, each, name, answer)


def save(real: Real, seen: Entry, name: str, answer: Answer) -> Statement:
    was = saga_of(row_of(seen))
    outcome = Outcome.of(entry_of(was, after(was, answer, POLICY)))
    return Statement(
        f"save {name} at {seen.status}, claim {seen.claim_number}",
        lambda entry: ledger.save(entry, seen, outcome),
        lambda: real.save(seen, answer),
    )


def test_every_statement_in_every_state_has_the_real_effect(real: Real) -> None:
    begin = real.insert()
    assert begin == ledger.insert(begin.id)
    waiting = [(begin, real.keep())]
    seen, compared = {(begin, True)}, 0
    while waiting:
        entry, row = waiting.pop()
        for statement in statements(real, entry, row.is_claimed):
            real.put_back(row)
            expected, is_changed = statement.model(entry), bool(statement.real())
            found = real.read()
            assert (is_changed, found) == (expected is not None, expected or entry), (statement.name, entry)
            compared += 1
            kept = real.keep()
            if (found, kept.is_claimed) not in seen and found.claim_number <= MAX_CLAIMS:
                seen.add((found, kept.is_claimed))
                waiting.append((found, kept))
    assert {entry.status for entry, _ in seen} == set(Status)
    assert compared > 1000
