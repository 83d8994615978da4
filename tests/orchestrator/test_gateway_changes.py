"""What the gateway changes by itself, in the ledger. On a real PostgreSQL."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import responses

from common.calls.client import ServiceClient
from common.database.database import Database, Row
from domain.refunds import payment_key
from orchestrator.gateway_changes import FAILED_MESSAGE, GatewayChanges

URL = "http://payments.test"
NOTHING = {"failed_refunds": [], "decided_refunds": [], "ending_holds": [], "has_more": False}
INSERT_REFUND = """
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id)
VALUES (%(id)s, %(order)s, %(id)s, 300, false, 'other', 'r')
"""


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def changes(database: Database, woken: threading.Event) -> GatewayChanges:
    return GatewayChanges(ServiceClient("payments", URL), database, woken.set, threading.Event(), every_s=60)


@pytest.fixture
def told() -> Any:
    """`told(failed_refunds=[…])`: what the payments service answers."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:

        def tell(status: int = 200, **more: Any) -> responses.BaseResponse:
            return mock.upsert(responses.POST, f"{URL}/payments/changes", json={**NOTHING, **more}, status=status)

        tell.sent = lambda: [call.request.body for call in mock.calls]  # type: ignore[attr-defined]
        yield tell


@pytest.fixture
def refund(database: Database, authorized: Callable[[], str]) -> Callable[..., str]:
    """Make a refund of a completed order, in this state. :returns: its id"""

    def make(*walk: str) -> str:
        id_, order = str(uuid.uuid4()), authorized()
        for status in ("ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED"):
            database.one(
                "UPDATE order_ledger SET status = %(status)s, order_id = id,"
                " due_at = CASE WHEN %(status)s <> 'COMPLETED' THEN due_at END WHERE id = %(id)s RETURNING id",
                id=order, status=status,
            )  # fmt: skip
        database.one(INSERT_REFUND + "RETURNING id", id=id_, order=order)
        for status in walk:
            database.one(
                "UPDATE refunds SET status = %(status)s,"
                " due_at = CASE WHEN %(status)s <> 'SUCCEEDED' THEN due_at END WHERE id = %(id)s RETURNING id",
                id=id_, status=status,
            )  # fmt: skip
        return id_

    return make


def failed(id_: str) -> dict[str, Any]:
    return {"failed_refunds": [{"refund_id": "re_1", "idempotency_key": payment_key(id_)}]}


def refund_row(database: Database, id_: str) -> Row:
    row = database.one(
        "SELECT refunds.*, refunded_cents FROM refunds JOIN order_ledger l ON l.id = order_ledger_id"
        " WHERE refunds.id = %(id)s",
        id=id_,
    )
    assert row
    return row


def test_refund_that_has_succeeded_fails_and_needs_attention(
    database: Database, changes: GatewayChanges, told: Any, refund: Callable[..., str]
) -> None:
    id_ = refund("PAYMENT_REFUNDED", "SUCCEEDED")
    assert refund_row(database, id_)["refunded_cents"] == 300
    told(**failed(id_))
    changes.run_once()
    row = refund_row(database, id_)
    assert (row["status"], row["failure_code"], row["refunded_cents"]) == ("FAILED", "refund_failed_later", 0)
    assert "has failed it later" in row["attention_reason"]


def test_failure_is_noted_with_the_next_call_also_when_it_is_told_again(
    changes: GatewayChanges, told: Any, refund: Callable[..., str]
) -> None:
    told(**failed(refund("PAYMENT_REFUNDED", "SUCCEEDED")))
    for _ in range(3):
        changes.run_once()
    told()
    changes.run_once()
    changes.run_once()
    noted = [b'{"noted":["re_1"]}', b'{"noted":[]}']
    assert [body.replace(b" ", b"") for body in told.sent()] == [noted[1], noted[0], noted[0], noted[0], noted[1]]


def test_failure_waits_until_the_refund_has_succeeded(
    database: Database, changes: GatewayChanges, told: Any, refund: Callable[..., str]
) -> None:
    id_ = refund("PAYMENT_REFUNDED")
    told(**failed(id_))
    changes.run_once()
    assert refund_row(database, id_)["status"] == "PAYMENT_REFUNDED"
    database.one("UPDATE refunds SET status = 'SUCCEEDED', due_at = NULL WHERE id = %(id)s RETURNING id", id=id_)
    changes.run_once()
    assert refund_row(database, id_)["status"] == "FAILED"
    assert b"re_1" not in told.sent()[1], "it is not noted before"


def test_undone_order_whose_refund_fails_needs_attention_once(
    database: Database, changes: GatewayChanges, told: Any, authorized: Callable[[], str], row: Callable[[str], Row]
) -> None:
    order = authorized()
    told(**failed(order))
    for assignment in (
        "status = 'ORDER_CREATED', order_id = id", "status = 'COMPENSATING', compensating_from = 'ORDER_CREATED'"
    ):  # fmt: skip
        database.one(f"UPDATE order_ledger SET {assignment} WHERE id = %(id)s RETURNING id", id=order)
    changes.run_once()
    assert row(order)["attention_reason"] is None, "it is still being undone"
    database.one(
        "UPDATE order_ledger SET status = 'FAILED', due_at = NULL, failure_code = 'x', failure_message = 'why',"
        " undone = '{void_payment,release_inventory,cancel_order}' WHERE id = %(id)s RETURNING id",
        id=order,
    )
    for _ in range(2):
        changes.run_once()
    assert row(order)["attention_reason"] == FAILED_MESSAGE
    assert [b"re_1" in body for body in told.sent()] == [False, False, True]


def test_undo_whose_refund_is_decided_is_due_now(
    database: Database, changes: GatewayChanges, told: Any, woken: threading.Event, authorized: Callable[[], str]
) -> None:
    order = authorized()
    for assignment in (
        "status = 'ORDER_CREATED', order_id = id", "status = 'COMPENSATING', compensating_from = 'ORDER_CREATED'"
    ):  # fmt: skip
        database.one(
            f"UPDATE order_ledger SET {assignment}, due_at = now() + interval '1 h' WHERE id = %(id)s RETURNING id",
            id=order,
        )
    told(decided_refunds=[payment_key(order)])
    changes.run_once()
    assert database.all("SELECT id FROM order_ledger WHERE due_at <= now()") == [{"id": order}]
    assert woken.is_set()


def test_refund_that_cannot_be_written_stops_no_other(
    database: Database, changes: GatewayChanges, told: Any, refund: Callable[..., str], caplog: Any
) -> None:
    bad, good = refund("PAYMENT_REFUNDED", "SUCCEEDED"), refund("PAYMENT_REFUNDED", "SUCCEEDED")
    database.one(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        f"CREATE TRIGGER refuse BEFORE UPDATE ON refunds FOR EACH ROW WHEN (OLD.id = '{bad}')"
        " EXECUTE FUNCTION refuse(); SELECT 1"
    )
    try:
        told(
            failed_refunds=[
                {"refund_id": name, "idempotency_key": payment_key(id_)}
                for name, id_ in (("re_b", bad), ("re_g", good))
            ]
        )
        changes.run_once()
        changes.run_once()
    finally:
        database.one("DROP FUNCTION refuse CASCADE; SELECT 1")
    assert refund_row(database, good)["status"] == "FAILED"
    assert b"re_g" in told.sent()[1]
    assert b"re_b" not in told.sent()[1]
    assert "cannot note" in caplog.text


@pytest.mark.parametrize(
    "key", ["refund:not-a-uuid", "something else", payment_key("4f1c6a52-8d35-4b06-9a53-3f4f0e6d2b11")]
)
def test_refund_that_is_not_ours_is_noted(changes: GatewayChanges, told: Any, key: str) -> None:
    told(failed_refunds=[{"refund_id": "re_1", "idempotency_key": key}])
    changes.run_once()
    changes.run_once()
    assert b"re_1" in told.sent()[1]


def test_decided_refund_is_due_now(
    database: Database, changes: GatewayChanges, told: Any, woken: threading.Event, refund: Callable[..., str]
) -> None:
    id_ = refund()
    database.one("UPDATE refunds SET due_at = now() + interval '1 hour' WHERE id = %(id)s RETURNING id", id=id_)
    told(decided_refunds=[payment_key(id_)])
    changes.run_once()
    assert database.all("SELECT id FROM refunds WHERE due_at <= now()") == [{"id": id_}]
    assert woken.is_set()


def test_refund_that_is_being_asked_for_is_left_to_its_claim(
    database: Database, changes: GatewayChanges, told: Any, woken: threading.Event, refund: Callable[..., str]
) -> None:
    id_ = refund()
    database.one(
        "UPDATE refunds SET due_at = now() + interval '30 s', claimed_by = 'x',"
        " claimed_until = now() + interval '30 s' WHERE id = %(id)s RETURNING id",
        id=id_,
    )
    told(decided_refunds=[payment_key(id_)])
    changes.run_once()
    assert not woken.is_set()


def test_order_whose_hold_ends_soon_needs_attention(
    changes: GatewayChanges, told: Any, authorized: Callable[[], str], row: Callable[[str], Row], caplog: Any
) -> None:
    id_ = authorized()
    authorization_id = row(id_)["payment_authorization_id"]
    told(ending_holds=[{"authorization_id": authorization_id, "capture_before": "2026-12-01T00:00:00Z"}])
    for _ in range(2):
        changes.run_once()
    assert row(id_)["attention_reason"] == "the gateway ends the hold of the payment at 2026-12-01T00:00:00Z"
    assert caplog.text.count("needs attention") == 1


@pytest.mark.parametrize("answer", [{"status": 503}, {"has_more": "yes"}, {"failed_refunds": [{}]}])
def test_answer_that_cannot_be_read_changes_nothing(changes: GatewayChanges, told: Any, answer: dict[str, Any]) -> None:
    told(**answer)
    assert changes.run_once() is False


def test_more_is_asked_for_at_once(database: Database, told: Any) -> None:
    stopping = threading.Event()
    asked = []

    class Answering(ServiceClient):
        def ask(self, *arguments: Any, **more: Any) -> Any:
            asked.append(1)
            told(has_more=len(asked) < 3)
            if len(asked) == 3:
                stopping.set()
            return super().ask(*arguments, **more)

    changes = GatewayChanges(Answering("payments", URL), database, lambda: None, stopping, every_s=0.001)
    changes.run()
    assert len(asked) == 3
