"""The model of the ledger does what the real statements do: each one, in every state that they lead to.

The row of a state is kept. For each statement it is put back into the real PostgreSQL, the real store runs the
statement, and the row must then be the one that the model says. Two claim numbers are tried: the entry's, and the one
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from common.api.idempotency import StoredResponse
from common.calls.client import Answer, No, Nothing, Yes
from domain.states import ABANDONED, Status
from edge_api.store import NOBODY
from orchestrator.entries import entry_of, saga_of
from orchestrator.saga import after, turned_back
from tests.model import ledger
from tests.model.ledger import POLICY, Entry, Outcome, row_of
from tests.model.real_ledger import LEASE_ENDS, Real

MAX_CLAIMS = 2  # a later claim differs in its number only
RESPONSE = {status: StoredResponse.of(status, {}) for status in (202, 402, 409)}
ANSWERS: dict[str, Answer] = {
    "yes": Yes({}),
    "no": No("refused", "why"),
    "confirmed": No("invalid_status_transition", "why", {"current_status": "CONFIRMED"}),
    "nothing": Nothing("no response"),
}

ENDING = ("yes", "confirmed")
"""The answers that lead to an end. After a cancel no others are tried. Nothing is cancelled between two attempts."""


class Statement(NamedTuple):
    """A statement in the model and in PostgreSQL. Both say whether a row was changed."""

    name: str
    model: Callable[[Entry], Entry | None]
    real: Callable[[], Any]


@pytest.fixture
def real(url: str) -> Iterator[Real]:
    real = Real(url, ("order_ledger", "outbox", "events"))
    yield real
    real.close()


def statements(real: Real, entry: Entry, is_claimed: bool) -> Iterator[Statement]:
    """Every statement that somebody may run now."""
    edge, former = real.edge, entry._replace(claim_number=entry.claim_number - 1)
    yield Statement("take over", ledger.take_over, lambda: real.take_over(entry))
    yield Statement("claim", ledger.claim, lambda: real.claim(entry))
    yield Statement("lease ends", ledger.lease_ends, lambda: real.execute(LEASE_ENDS))
    if not entry.retry_count:
        yield Statement("cancel", ledger.cancel, lambda: real.cancel(entry))
    yield Statement(
        "answer abandoned",
        lambda row: ledger.answer_abandoned(row, 409),
        lambda: edge.answer_abandoned(row_of(entry), RESPONSE[409]),
    )
    is_the_edges = entry.failure != ABANDONED
    # The fence knows nothing of cancels, so former claims are not tried again after one.
    others = () if entry.is_cancelled else (former,)
    for seen in (entry, *others) if is_the_edges else others:
        yield from edge_statements(real, entry, seen)
    for seen in (entry, *others) if is_claimed else others:
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
    for each in (seen,) if seen.is_cancelled else dict.fromkeys((seen, authorized)):
        for name in ENDING if seen.is_cancelled else ANSWERS:
            yield save(real, each, name, ANSWERS[name])
        if saga_of(row_of(each)).must_turn_back:
            yield save(real, each, "turned back", None)


def save(real: Real, seen: Entry, name: str, answer: Answer | None) -> Statement:
    was = saga_of(row_of(seen))
    now = after(was, answer, POLICY) if answer else turned_back(was)
    outcome = Outcome.of(entry_of(was, now))
    return Statement(
        f"save {name} at {seen.status}, claim {seen.claim_number}",
        lambda entry: ledger.save(entry, seen, outcome),
        lambda: real.save(was, now),
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
    assert any(entry.is_cancelled and entry.status == Status.COMPLETED for entry, _ in seen)
    assert compared > 1000
