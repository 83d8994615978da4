"""The model of the refunds does what the real statements and triggers do: each one, in every state that they lead to.

One order is completed. A refund is asked for, and everything that an orchestrator may do with it is done. Meanwhile a
second one is asked for, which takes its share of what is left.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from common.api.idempotency import StoredResponse
from common.calls.client import Answer, No, Nothing, Yes
from domain.refunds import RefundStatus
from domain.states import Status
from edge_api import refunds as edge_refunds
from edge_api.errors import RefundExceedsRemaining
from edge_api.notifier import Notifier
from orchestrator.entries import REFUNDS
from orchestrator.refund_entries import refund_of
from orchestrator.refund_entries import row_of as save_row_of
from orchestrator.saga import Pending, after
from orchestrator.store import Store
from tests.model import refunds
from tests.model.design import TODAY
from tests.model.ledger import POLICY, Entry, row_of
from tests.model.real_ledger import LEASE_S, Real
from tests.model.refunds import Both, Refund, RefundOutcome, Wanted

MAX_CLAIMS = 2  # a later claim differs in its number only
WANTED = {
    "all": Wanted(is_restocked=True),
    "some": Wanted(amount=400),
    "a piece": Wanted(pieces=1, is_restocked=True),
    "more than that": Wanted(amount=701),
}
ANSWERS: dict[str, Answer | Pending] = {
    "yes": Yes({}),
    "no": No("refused", "why"),
    "nothing": Nothing("no response"),
    "pending": Pending("later"),
}
TABLES = ("order_ledger", "order_ledger_items", "outbox", "events", "refunds", "refund_items")
READ = """
SELECT r.id, amount_cents, COALESCE((SELECT sum(quantity)::int FROM refund_items WHERE refund_id = r.id), 0) AS pieces,
  restock, r.status, r.claim_number, COALESCE(r.claimed_until >= now(), false) AS is_leased,
  LEAST(r.retry_count, %(most)s) AS retry_count, restocked::text[] AS restocked,
  not_restocked::text[] AS not_restocked,
  COALESCE(r.failure_code, '') AS failure, l.payment_authorization_id AS payment
FROM refunds r JOIN order_ledger l ON l.id = r.order_ledger_id ORDER BY r.created_at, r.id
"""
ONLY_THE_FIRST_IS_DUE = """
UPDATE refunds SET due_at = CASE WHEN id = %(id)s AND claimed_until IS NULL OR claimed_until < now()
  THEN now() - interval '1 s' ELSE now() + interval '1 hour' END WHERE due_at IS NOT NULL
"""
LEASE_ENDS = "UPDATE refunds SET claimed_until = now() - interval '1 s' WHERE claimed_until >= now() RETURNING id"


class State(NamedTuple):
    entry: Entry
    refunds: tuple[Refund, ...] = ()


class Statement(NamedTuple):
    """A statement in the model and in PostgreSQL. Both say whether a row was changed."""

    name: str
    model: Callable[[State], State | None]
    real: Callable[[], Any]


class RealRefunds(Real):
    """The real stores, with one completed order."""

    def __init__(self, url: str) -> None:
        super().__init__(url, TABLES)
        self.refunds = Store(self.database, "me", LEASE_S, REFUNDS)

    def complete_an_order(self) -> None:
        entry = self.insert()
        self.edge.authorized(row_of(entry), "auth_1", StoredResponse.of(202, {}))
        (claimed,) = self.claim(self.read())
        while claimed and claimed.is_runnable:
            claimed = self.orchestrator.save(claimed, after(claimed, Yes({}), POLICY))

    def state(self) -> State:
        rows = self.database.all(READ, most=POLICY.max_attempts)
        return State(self.read(), tuple(_refund(number, row) for number, row in enumerate(rows)))

    def request(self, wanted: Wanted) -> bool:
        store, notifier = self.edge, Notifier(self.database, 0)
        edge: Any = SimpleNamespace(store=store, refund_notifier=notifier)
        id_ = self.read().id
        try:
            edge_refunds.request(edge, "shop", id_, str(uuid.uuid4()), wanted.body, wanted.body)
        except RefundExceedsRemaining:
            return False
        return True

    def claim_first(self) -> Any:
        self.database.all(ONLY_THE_FIRST_IS_DUE, id=self.first_id())
        return self.refunds.claim(1)

    def save_first(self, seen: Refund, answer: Answer | Pending) -> bool:
        was = refund_of(refunds.row_of(seen._replace(id=self.first_id())))
        return self.refunds.save(was, after(was, answer, POLICY)) is not None

    def first_id(self) -> str:
        id_: str = self.database.all(READ, most=0)[0]["id"]
        return id_


def _refund(number: int, row: dict[str, Any]) -> Refund:
    return Refund(
        refunds.refund_id(number), 0, row["amount_cents"], row["pieces"], row["restock"], row["payment"],
        RefundStatus(row["status"]), row["claim_number"], row["is_leased"], row["retry_count"],
        tuple(row["restocked"]), tuple(row["not_restocked"]), row["failure"],
    )  # fmt: skip


@pytest.fixture
def real(url: str) -> Iterator[RealRefunds]:
    real = RealRefunds(url)
    yield real
    real.close()


def statements(real: RealRefunds, state: State, is_claimed: bool) -> Iterator[Statement]:
    """Every statement that somebody may run now."""
    if len(state.refunds) < 2 and not any(each.retry_count for each in state.refunds):
        for name, wanted in WANTED.items():
            yield Statement(f"request {name}", _requested(wanted), partial(real.request, wanted))
    if not state.refunds:
        return
    first = state.refunds[0]
    yield Statement("claim", _first(refunds.claim), real.claim_first)
    yield Statement("lease ends", _first(refunds.lease_ends), lambda: real.execute(LEASE_ENDS))
    former = first._replace(claim_number=first.claim_number - 1)
    requested = first._replace(status=RefundStatus.REQUESTED, restocked=(), not_restocked=())
    # The fence knows nothing of other refunds, so former claims are tried with one refund only.
    formers = (former,) if len(state.refunds) == 1 else ()
    for seen in dict.fromkeys((first, requested, *formers)) if is_claimed else formers:
        yield from saves(real, seen)


def _requested(wanted: Wanted) -> Callable[[State], State | None]:
    def requested(state: State) -> State | None:
        written = TODAY.wanted(state.entry, wanted, len(state.refunds))
        return State(written.entry, (*state.refunds, written.refund)) if isinstance(written, Both) else None

    return requested


def _first(change: Callable[[Refund], Refund | None]) -> Callable[[State], State | None]:
    def changed(state: State) -> State | None:
        first = change(state.refunds[0])
        return first and state._replace(refunds=(first, *state.refunds[1:]))

    return changed


def saves(real: RealRefunds, seen: Refund) -> Iterator[Statement]:
    if seen.status.is_terminal:
        return
    was = refund_of(refunds.row_of(seen))
    for name, answer in ANSWERS.items():
        outcome = RefundOutcome.of(save_row_of(was, after(was, answer, POLICY)))
        is_possible = was.next_action != "note" or name == "yes"
        if is_possible:
            yield Statement(
                f"save {name} at {seen.status}, claim {seen.claim_number}",
                _saved(seen, outcome),
                partial(real.save_first, seen, answer),
            )


def _saved(seen: Refund, outcome: RefundOutcome) -> Callable[[State], State | None]:
    def saved(state: State) -> State | None:
        both = refunds.save(Both(state.entry, state.refunds[0]), seen, outcome)
        return both and State(both.entry, (both.refund, *state.refunds[1:]))

    return saved


def test_every_statement_in_every_state_has_the_real_effect(real: RealRefunds) -> None:
    real.complete_an_order()
    begin = real.state()
    assert (begin.entry.status, begin.refunds) == (Status.COMPLETED, ())
    waiting, seen, compared = [(begin, real.keep())], {(begin, False)}, 0
    while waiting:
        state, row = waiting.pop()
        for statement in statements(real, state, row.is_claimed):
            real.put_back(row)
            expected, is_changed = statement.model(state), bool(statement.real())
            found = real.state()
            assert (is_changed, found) == (expected is not None, expected or state), (statement.name, state)
            compared += 1
            kept = real.keep()
            is_new = (found, kept.is_claimed) not in seen
            if is_new and all(each.claim_number <= MAX_CLAIMS for each in found.refunds):
                seen.add((found, kept.is_claimed))
                waiting.append((found, kept))
    assert {state.refunds[0].status for state, _ in seen if state.refunds} == set(RefundStatus)
    assert {tuple(event.type for event in state.entry.events[2:]) for state, _ in seen} == {
        (),
        ("refund.succeeded",),
        ("refund.failed",),
    }
    assert compared > 300
