"""The database enforces the ledger's state machine and writes its history."""

from itertools import product

import psycopg2
import pytest

from domain.states import LEGAL_MOVES, Status
from tests.database.valid_rows import ID, NOW, VALID

ALL_UNDONE = ["void_payment", "release_inventory", "cancel_order"]
BEFORE_AUTHORIZATION = (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_FAILED)
TURNED_BACK = (Status.COMPENSATING, Status.FAILED)
GUARD = "order_ledger_legal_move"
OPEN = [status for status in Status if not status.is_terminal]


def columns(status):
    """Return columns that satisfy the CHECKs in this state, so that only the guard can refuse the entry."""
    return {
        "status": status,
        "due_at": None if status.is_terminal else NOW,
        "payment_authorization_id": None if status in BEFORE_AUTHORIZATION else "auth_1",
        "failure_code": None if status == Status.COMPLETED else "insufficient_stock",
        "compensating_from": Status.PAYMENT_CAPTURED if status in TURNED_BACK else None,
        "undone": ALL_UNDONE if status == Status.FAILED else [],
    }


@pytest.fixture
def ledger(sql):
    """Insert an entry in any state, without guard and history."""

    def put(status, **changes):
        sql("SET session_replication_role = replica")  # disables triggers
        sql.insert("order_ledger", VALID["order_ledger"] | columns(status) | {"claim_number": 7} | changes)
        sql("SET session_replication_role = origin")

    return put


@pytest.fixture
def change(sql):
    def update(**changes):
        assignments = ", ".join(f"{column} = %({column})s" for column in changes)
        return sql(f"UPDATE order_ledger SET {assignments} WHERE id = %(key)s RETURNING id", key=ID, **changes)

    return update


@pytest.fixture
def history(sql):
    return lambda: sql("SELECT from_status, to_status, detail, claim_number FROM order_ledger_history ORDER BY id")


@pytest.fixture
def refusal(change, sql, history):
    """Return the constraint that refuses a change, or None. A refused change must have no effect."""

    def attempt(**changes):
        before = sql("SELECT * FROM order_ledger")
        try:
            change(**changes)
        except psycopg2.errors.CheckViolation as error:
            refused_by = error.diag.constraint_name
        else:
            return None
        assert sql("SELECT * FROM order_ledger") == before
        assert history() == []
        return refused_by

    return attempt


@pytest.mark.parametrize(("was", "to"), list(product(Status, Status)))
def test_move_is_legal_if_the_state_machine_has_it(ledger, refusal, history, was, to):
    ledger(was)
    target = columns(to)
    if was == to:  # a move from a state to itself means that one more undo is done
        target["undone"] = [*target["undone"], "one more"]
    elif to == Status.COMPENSATING:
        target["compensating_from"] = was
    elif was == Status.COMPENSATING:
        target["compensating_from"] = columns(was)["compensating_from"]
    is_legal = to in LEGAL_MOVES[was]
    assert refusal(**target, status_detail="why") == (None if is_legal else GUARD)
    assert history() == ([(was, to, "why", 7)] if is_legal else [])


@pytest.mark.parametrize("status", [status for status in Status if status != Status.AWAITING_AUTHORIZATION])
def test_entry_must_begin_in_the_initial_state(sql, history, status):
    with pytest.raises(psycopg2.errors.CheckViolation) as caught:
        sql.insert("order_ledger", VALID["order_ledger"] | columns(status))
    assert caught.value.diag.constraint_name == GUARD
    assert sql("SELECT * FROM order_ledger") == history() == []


def test_insert_writes_history(sql, history):
    sql.insert("order_ledger", VALID["order_ledger"] | {"status_detail": "from the shop", "claim_number": 1})
    assert history() == [(None, "AWAITING_AUTHORIZATION", "from the shop", 1)]


@pytest.mark.parametrize("turned_back_from", ["AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED"])
def test_only_a_captured_order_can_complete_from_compensating(ledger, refusal, turned_back_from):
    ledger(Status.COMPENSATING, compensating_from=turned_back_from)
    assert refusal(**columns(Status.COMPLETED) | {"compensating_from": turned_back_from}) == GUARD


@pytest.mark.parametrize("undone", [[each] for each in ALL_UNDONE])
def test_order_does_not_complete_after_an_undo(ledger, refusal, undone):
    ledger(Status.COMPENSATING, undone=undone)
    completed = columns(Status.COMPLETED) | {"compensating_from": Status.PAYMENT_CAPTURED, "undone": undone}
    assert refusal(**completed) == GUARD


@pytest.mark.parametrize("missing", ALL_UNDONE)
@pytest.mark.parametrize("turned_back_from", ["AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED"])
def test_failed_requires_every_undo(ledger, refusal, turned_back_from, missing):
    ledger(Status.COMPENSATING, compensating_from=turned_back_from)
    undone = [each for each in ALL_UNDONE if each != missing]
    failed = columns(Status.FAILED) | {"compensating_from": turned_back_from, "undone": undone}
    was_never_asked = (turned_back_from, missing) == ("AUTHORIZED", "release_inventory")
    assert refusal(**failed) == (None if was_never_asked else "ck_order_ledger_failed_is_undone")


@pytest.mark.parametrize("status", [status for status in Status if status.is_terminal])
def test_a_terminal_state_is_never_due_again(ledger, refusal, status):
    ledger(status)
    assert refusal(due_at=NOW) == "ck_order_ledger_due_until_terminal"


@pytest.mark.parametrize("status", Status)
def test_the_claim_number_never_falls(ledger, refusal, status):
    ledger(status)
    assert refusal(claim_number=6) == GUARD
    assert refusal(claim_number=8) is None


@pytest.mark.parametrize("was", OPEN)
def test_the_claim_number_does_not_fall_in_a_legal_move(ledger, refusal, was):
    ledger(was)
    to = min(LEGAL_MOVES[was])
    assert refusal(**columns(to) | {"undone": ALL_UNDONE, "claim_number": 6}) == GUARD


@pytest.mark.parametrize("status", OPEN)
def test_claiming_and_waiting_leave_no_history(ledger, change, history, status):
    ledger(status)
    lease = {"claimed_by": "worker", "claimed_until": NOW, "claim_number": 8}
    wait = {"retry_count": 3, "next_retry_at": NOW, "needs_attention_at": NOW, "attention_reason": "no answer"}
    assert change(**lease, **wait, status_detail="no answer")
    assert history() == []


def test_each_undo_is_one_row_of_history(ledger, change, history):
    ledger(Status.COMPENSATING)
    for number in (1, 2):
        change(undone=ALL_UNDONE[:number], status_detail=f"{number} done", claim_number=7 + number)
    change(**columns(Status.FAILED), status_detail="3 done")
    assert history() == [
        ("COMPENSATING", "COMPENSATING", "1 done", 8),
        ("COMPENSATING", "COMPENSATING", "2 done", 9),
        ("COMPENSATING", "FAILED", "3 done", 9),
    ]


def test_a_change_that_is_rolled_back_is_not_history(ledger, sql, history):
    ledger(Status.AUTHORIZED)
    sql("SAVEPOINT before")
    sql("UPDATE order_ledger SET status = 'ORDER_CREATED'")
    assert history() == [("AUTHORIZED", "ORDER_CREATED", None, 7)]
    sql("ROLLBACK TO before")
    assert history() == []


def test_compensating_from_is_the_status_before(ledger, refusal):
    ledger(Status.ORDER_CREATED)
    elsewhere = columns(Status.COMPENSATING) | {"compensating_from": Status.PAYMENT_CAPTURED}
    assert refusal(**elsewhere) == GUARD


def test_compensating_from_does_not_change(ledger, refusal):
    ledger(Status.COMPENSATING, undone=ALL_UNDONE)
    assert refusal(compensating_from="AUTHORIZED") == GUARD
    assert refusal(**columns(Status.FAILED) | {"compensating_from": "AUTHORIZED"}) == GUARD
    assert refusal(**columns(Status.FAILED)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"undone": []},
        {"undone": ["cancel_order", "x"]},
        {"undone": ["void_payment", "x"], "compensating_from": "AUTHORIZED"},
    ],
)
def test_undone_steps_stay_undone(ledger, refusal, changes):
    ledger(Status.COMPENSATING, compensating_from="ORDER_CREATED", undone=["void_payment"])
    assert refusal(**changes) == GUARD
