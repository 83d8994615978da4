"""Which calls of a saga become rows, on a real PostgreSQL. `responses` fakes the network."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
import requests
import responses

from common.calls.breaker import OPENS_AFTER
from common.calls.client import Nothing, ServiceClient, Yes
from common.database.database import Database, Row
from common.ledger import attempts
from common.schema import roles
from common.schema.accounts import address_of
from common.schema.roles import role_of
from domain.ids import order_id_for
from orchestrator import refund_statements, statements
from orchestrator.engine import Engine
from orchestrator.entries import REFUNDS, entry_of
from orchestrator.participants import Participant, Participants
from orchestrator.saga import RetryPolicy, Saga, after, turned_back
from orchestrator.store import Store
from tests.orchestrator.conftest import LEASE_S
from tests.other_session import other_session

ORDERS, INVENTORY, PAYMENTS = "http://orders", "http://inventory", "http://payments"
CREATE, RESERVE = f"{ORDERS}/orders", f"{INVENTORY}/inventory/reservations"
POLICY = RetryPolicy(jitter=0)
Make = Callable[[], str]
Change = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def network() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def participants() -> Participants:
    return Participants(*(Participant(ServiceClient(url[7:], url), pause_s=1) for url in (ORDERS, INVENTORY, PAYMENTS)))


@pytest.fixture
def run(store: Store, participants: Participants) -> Callable[..., Saga]:
    """Claim what is due and work on it."""

    def work(of: Store = store, asked: Participants = participants) -> Saga:
        (saga,) = of.claim(10)
        return Engine(asked.ask, of.save, of.release, POLICY).run(saga)

    return work


@pytest.fixture
def noted(database: Database) -> Callable[[str], list[Row]]:
    """The attempts of an order, oldest first."""

    def read(id_: str) -> list[Row]:
        found = attempts.of_order(database, id_)
        assert found.left_out == 0
        return [*found.newest, *found.first][::-1]

    return read


def refusal(code: str, message: str = "No.", **details: Any) -> dict[str, Any]:
    return {"error": code, "message": message, "details": details, "request_id": "r"}


def everybody_agrees(network: responses.RequestsMock, id_: str, authorization_id: str) -> None:
    """Each call of a sale and of its undo is answered with yes."""
    order = {"id": order_id_for(id_), "order_ledger_id": id_}
    here, payment = f"{ORDERS}/orders/{order['id']}", {"authorization_id": authorization_id}
    network.add("POST", CREATE, json={**order, "status": "CREATED"})
    network.add("POST", RESERVE, json={"order_id": order["id"]})
    capture = f"{PAYMENTS}/payments/capture/{authorization_id}"
    network.add("POST", capture, json={**payment, "status": "CAPTURED", "amount_cents": 700})
    network.add("PUT", f"{here}/confirm", json={**order, "status": "CONFIRMED"})
    network.add("POST", f"{PAYMENTS}/payments/void/{authorization_id}", json={"status": "VOIDED"})
    network.add("DELETE", f"{RESERVE}/{order['id']}", json={"order_id": order["id"]})
    network.add("PUT", f"{here}/cancel", json={**order, "status": "CANCELLED"})


@pytest.fixture
def agreed(network: responses.RequestsMock, authorized: Make, row: Callable[[str], Row]) -> str:
    """An order with which everybody agrees."""
    id_ = authorized()
    everybody_agrees(network, id_, row(id_)["payment_authorization_id"])
    return id_


@pytest.fixture
def statements_sent(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    sent: list[str] = []
    all_ = database.all

    def seen(sql: str, **params: Any) -> list[Row]:
        sent.append(sql)
        return all_(sql, **params)

    monkeypatch.setattr(database, "all", seen)
    return sent


def test_good_path_writes_none_with_the_plain_statement(
    run: Callable[..., Saga], agreed: str, noted: Callable[[str], list[Row]], statements_sent: list[str]
) -> None:
    assert run().status == "COMPLETED"
    assert statements_sent == [statements.CLAIM, *[statements.SAVE] * 4]
    assert "attempts" not in statements.SAVE + refund_statements.SAVE
    assert noted(agreed) == []


def test_refused_call_is_noted_once(
    run: Callable[..., Saga],
    agreed: str,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    statements_sent: list[str],
) -> None:
    network.replace("POST", RESERVE, status=409, json=refusal("insufficient_stock", "Sold out."))
    assert run().status == "FAILED"
    (attempt,) = noted(agreed)
    expected = {"step": "reserve_inventory", "attempt": 1, "kind": "refused", "http_status": 409, "refund_id": None}
    assert attempt.items() >= (expected | {"code": "insufficient_stock", "message": "Sold out."}).items()
    assert attempt["request_id"] == "r-1"
    plain, noting = statements.SAVE, statements.SAVE_WITH_ATTEMPTS
    assert statements_sent[1:-1] == [plain, noting, plain, plain, plain]


UNANSWERED = [
    ({"body": requests.ReadTimeout()}, None, "ReadTimeout", "orders: ReadTimeout"),
    ({"body": requests.ConnectionError()}, None, "ConnectionError", "orders: ConnectionError"),
    ({"body": requests.exceptions.SSLError()}, None, "SSLError", "orders: SSLError"),
    (
        {"status": 503, "json": refusal("service_unavailable", "The database is down.")},
        503, "service_unavailable", "orders: status 503: The database is down.",
    ),
    ({"status": 502, "body": "<html>"}, 502, "unreadable", "orders: unreadable answer with status 502"),
    ({"status": 200, "body": "{"}, 200, "unreadable", "orders: unreadable answer with status 200"),
    ({"status": 200, "json": {"id": "another"}}, 200, "unreadable", "orders: unreadable answer with status 200"),
    ({"status": 500, "json": {"error": 7, "message": None}}, 500, None, "orders: status 500"),
    ({"status": 503, "json": refusal("busy")}, 503, "busy", "orders: busy"),
    ({"status": 401, "json": refusal("unauthorized")}, 401, "not_allowed", "orders: status 401"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "status", "code", "message"), UNANSWERED)
def test_unanswered_call_is_noted(
    run: Callable[..., Saga],
    authorized: Make,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    answer: dict[str, Any],
    status: int | None,
    code: str | None,
    message: str,
) -> None:
    network.add("POST", CREATE, **answer)
    id_ = authorized()
    assert run().retry_in_s is not None
    (attempt,) = noted(id_)
    assert (attempt["step"], attempt["attempt"], attempt["kind"]) == ("create_order", 1, "unanswered")
    assert (attempt["http_status"], attempt["code"], attempt["message"]) == (status, code, message)


def test_each_attempt_is_noted_with_its_number_and_when_it_began(
    run: Callable[..., Saga],
    authorized: Make,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    change: Change,
    database: Database,
) -> None:
    network.add("POST", CREATE, body=requests.ReadTimeout())
    id_ = authorized()
    times = [database.one("SELECT now() AS at")]
    for _ in range(3):
        change(id_, "due_at = now()")
        run()
        times.append(database.one("SELECT now() AS at"))
    found = noted(id_)
    assert [attempt["attempt"] for attempt in found] == [1, 2, 3]
    for attempt, before, then in zip(found, times, times[1:], strict=False):
        assert before is not None
        assert then is not None
        assert before["at"] < attempt["began_at"] < then["at"]
        assert attempt["took_ms"] >= 0


def test_call_that_the_breaker_defers_is_not_noted(
    run: Callable[..., Saga],
    authorized: Make,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    change: Change,
) -> None:
    network.add("POST", CREATE, status=401, json=refusal("unauthorized"))
    id_ = authorized()
    for _ in range(OPENS_AFTER + 3):
        change(id_, "due_at = now()")
        run()
    assert len(noted(id_)) == OPENS_AFTER


def test_refusal_by_something_else_than_the_orders_service_is_unanswered(
    run: Callable[..., Saga], agreed: str, noted: Callable[[str], list[Row]], network: responses.RequestsMock
) -> None:
    network.replace(
        "PUT", f"{ORDERS}/orders/{order_id_for(agreed)}/confirm", status=404, json=refusal("not_found", order_id="x")
    )
    run()
    (attempt,) = noted(agreed)
    assert (attempt["kind"], attempt["http_status"], attempt["code"]) == ("unanswered", 404, "not_found")
    assert attempt["message"] == "orders: unknown path; check ORDERS_SERVICE_URL"


def test_undo_with_two_calls_notes_both_that_got_no_yes(
    run: Callable[..., Saga],
    agreed: str,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    row: Callable[[str], Row],
    change: Change,
) -> None:
    payment = row(agreed)["payment_authorization_id"]
    network.replace("POST", RESERVE, status=404, json=refusal("product_not_found"))
    void, refund = (f"{PAYMENTS}/payments/{verb}/{payment}" for verb in ("void", "refund"))
    network.replace("POST", void, status=409, json=refusal("already_captured"))
    network.add("POST", refund, status=503, json=refusal("gateway_error"))
    run()
    found = [(attempt["step"], attempt["attempt"], attempt["kind"], attempt["code"]) for attempt in noted(agreed)]
    assert found == [
        ("reserve_inventory", 1, "refused", "product_not_found"),
        ("void_payment", 1, "refused", "already_captured"),
        ("void_payment", 1, "unanswered", "gateway_error"),
    ]
    network.replace("POST", refund, json={"status": "REFUNDED"})
    change(agreed, "due_at = now()")
    assert run().status == "FAILED"
    assert [attempt["code"] for attempt in noted(agreed)[3:]] == ["already_captured"]


def unanswered(participants: Participants, saga: Saga) -> Saga:
    return after(saga, participants.ask(saga), POLICY)


def test_lost_claim_writes_none(
    store: Store,
    other_store: Store,
    participants: Participants,
    authorized: Make,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    change: Change,
) -> None:
    network.add("POST", CREATE, body=requests.ReadTimeout())
    id_ = authorized()
    (saga,) = store.claim(1)
    now = unanswered(participants, saga)
    assert now.attempts
    change(id_, "due_at = now(), claimed_until = now()")
    other_store.claim(1)
    assert store.save(saga, now) is None
    assert noted(id_) == []


def test_one_entry_of_a_group_has_attempts(
    store: Store,
    participants: Participants,
    authorized: Make,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    change: Change,
) -> None:
    """And a former owner in the same group writes none."""
    network.add("POST", CREATE, body=requests.ReadTimeout())
    taken_over = authorized()
    (zombie,) = store.claim(1)
    change(taken_over, "due_at = now(), claimed_until = now()")
    (owner,) = store.claim(1)
    good, bad = authorized(), authorized()
    sagas = {saga.id: saga for saga in store.claim(2)}
    pairs: list[tuple[Any, Any]] = [
        (zombie, unanswered(participants, zombie)),
        (owner, after(owner, Yes({}), POLICY)),
        (sagas[good], after(sagas[good], Yes({}), POLICY)),
        (sagas[bad], unanswered(participants, sagas[bad])),
    ]
    saved = store._save([entry_of(*pair) for pair in pairs])
    assert [each is not None for each in saved] == [False, True, True, True]
    assert [len(noted(id_)) for id_ in (taken_over, good, bad)] == [0, 0, 1]


def test_cancelled_order_does_not_note_its_last_call_again(
    store: Store,
    participants: Participants,
    authorized: Make,
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
) -> None:
    network.add("POST", CREATE, body=requests.ReadTimeout())
    id_ = authorized()
    (saga,) = store.claim(1)
    saved = store.save(saga, replace(unanswered(participants, saga), retry_in_s=None))
    assert saved is not None
    assert store.save(saved, turned_back(saved))
    assert len(noted(id_)) == 1


def test_text_has_no_secrets_and_is_short(
    run: Callable[..., Saga], authorized: Make, noted: Callable[[str], list[Row]], network: responses.RequestsMock
) -> None:
    message = "a@b.example sent payment_token=tok_visa with Bearer abc.def\x1b\n " + "x" * 600
    network.add("POST", CREATE, status=500, json={"error": "no\x1b a@b.example " + "y" * 200, "message": message})
    id_ = authorized()
    run()
    (attempt,) = noted(id_)
    assert len(attempt["message"]) == 500
    assert len(attempt["code"]) == 100
    for secret in ("a@b.example", "tok_visa", "abc.def", "\x1b", "\n"):
        assert secret not in attempt["message"] + attempt["code"]


@pytest.mark.parametrize(("number", "left_out"), [(1, 0), (3, 0), (4, 1)])
def test_first_attempts_are_kept_beside_the_newest(
    run: Callable[..., Saga],
    authorized: Make,
    database: Database,
    network: responses.RequestsMock,
    change: Change,
    number: int,
    left_out: int,
) -> None:
    network.add("POST", CREATE, body=requests.ReadTimeout())
    id_ = authorized()
    for _ in range(number):
        change(id_, "due_at = now()")
        run()
    found = attempts.of_order(database, id_, first=1, newest=2)
    assert [attempt["attempt"] for attempt in found.first] == [1]
    assert [attempt["attempt"] for attempt in found.newest] == [each for each in (number, number - 1) if each > 1]
    assert found.left_out == left_out


COMPLETED = """
SET session_replication_role = replica;
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, payment_authorization_id, refund_reserved_cents)
VALUES (%(id)s, 'shop', 'done', 'f', %(id)s, '', 90, 'USD', 'r', 'COMPLETED', 'auth_9', 90);
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id)
VALUES (%(refund)s, %(id)s, 'k', 90, true, 'other', 'r-2');
INSERT INTO refund_items VALUES (%(refund)s, %(product)s, 1)
"""


@pytest.fixture
def refund(url: str) -> dict[str, str]:
    """A refund that is due: its id, and that of its order."""
    ids = {name: str(uuid.uuid4()) for name in ("id", "refund", "product")}
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(COMPLETED, ids)
    return ids


def test_each_step_of_a_refund_notes_its_calls(
    run: Callable[..., Saga],
    database: Database,
    refund: dict[str, str],
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
) -> None:
    store = Store(database, "me", LEASE_S, REFUNDS)
    money = f"{PAYMENTS}/payments/refund/auth_9"
    network.add("POST", money, body=requests.ReadTimeout())
    run(store)
    network.replace("POST", money, json={"status": "REFUNDED", "authorization_id": "auth_9", "amount_cents": 90})
    stock = f"{INVENTORY}/inventory/products/{refund['product']}/stock"
    network.add("POST", stock, status=404, json=refusal("product_not_found"))
    database.all("UPDATE refunds SET due_at = now()")
    run(store)
    found = noted(refund["id"])
    assert [(attempt["step"], attempt["attempt"], attempt["kind"]) for attempt in found] == [
        ("refund_payment", 1, "unanswered"),
        ("restock", 1, "refused"),
    ]
    assert {(attempt["refund_id"], attempt["request_id"]) for attempt in found} == {(refund["refund"], "r-2")}


def test_refund_that_is_not_refused_uses_the_plain_statement(
    run: Callable[..., Saga],
    database: Database,
    refund: dict[str, str],
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
    statements_sent: list[str],
) -> None:
    yes = {"status": "REFUNDED", "authorization_id": "auth_9", "amount_cents": 90}
    network.add("POST", f"{PAYMENTS}/payments/refund/auth_9", json=yes)
    product = refund["product"]
    restocked = {"product_id": product, "added_quantity": 1}
    network.add("POST", f"{INVENTORY}/inventory/products/{product}/stock", json=restocked)
    assert run(Store(database, "me", LEASE_S, REFUNDS)).status == "SUCCEEDED"
    assert statements_sent == [refund_statements.CLAIM, *[refund_statements.SAVE] * 3]
    assert noted(refund["id"]) == []


def test_lost_claim_of_a_refund_writes_none(
    database: Database,
    participants: Participants,
    refund: dict[str, str],
    noted: Callable[[str], list[Row]],
    network: responses.RequestsMock,
) -> None:
    network.add("POST", f"{PAYMENTS}/payments/refund/auth_9", body=requests.ReadTimeout())
    store = Store(database, "me", LEASE_S, REFUNDS)
    (saga,) = store.claim(1)
    now = unanswered(participants, saga)
    database.all("UPDATE refunds SET claim_number = claim_number + 1")
    assert store.save(saga, now) is None
    assert noted(refund["id"]) == []
    assert now.attempts


def test_what_is_noted_does_not_tell_answers_apart() -> None:
    assert Nothing("x", status=503, code="a", message="b") == Nothing("x")
    assert repr(Nothing("x", status=503)) == "Nothing(reason='x')"


@pytest.fixture
def own_store(url: str) -> Iterator[Store]:
    """With the rights of an orchestrator only."""
    with closing(Database(address_of(url, role_of("orchestrator")), name="test", size=2)) as database:
        yield Store(database, "me", LEASE_S)


@pytest.fixture
def no_attempt_is_saved(url: str) -> Iterator[None]:
    """The orchestrator lost its right to note attempts."""
    role = role_of("orchestrator")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"REVOKE ALL ON attempts FROM {role}")
        try:
            yield
        finally:
            columns = roles.RIGHTS["orchestrator"]["attempts"]
            cursor.execute(f"GRANT {columns} ON attempts TO {role}")


@pytest.mark.usefixtures("no_attempt_is_saved")
def test_order_goes_on_when_its_attempts_cannot_be_noted(
    run: Callable[..., Saga],
    agreed: str,
    own_store: Store,
    row: Callable[[str], Row],
    change: Change,
    network: responses.RequestsMock,
    noted: Callable[[str], list[Row]],
) -> None:
    network.replace("POST", RESERVE, status=500, json=refusal("internal_error"))
    run(own_store)
    waiting = row(agreed)
    assert (waiting["retry_count"], waiting["needs_attention_at"], waiting["claimed_by"]) == (1, None, None)
    network.replace("POST", RESERVE, json={"order_id": order_id_for(agreed)})
    change(agreed, "due_at = now()")
    assert run(own_store).status == "COMPLETED"
    assert (row(agreed)["attention_reason"], noted(agreed)) == (None, [])


def test_order_goes_on_when_the_attempts_stay_locked(
    run: Callable[..., Saga],
    agreed: str,
    row: Callable[[str], Row],
    url: str,
    network: responses.RequestsMock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Store, "_save_alone", Store._save_alone.__wrapped__)  # type: ignore[attr-defined]
    network.replace("POST", RESERVE, status=500, json=refusal("internal_error"))
    with other_session(url) as cursor:
        cursor.execute("LOCK TABLE attempts")
        run()
    assert (row(agreed)["retry_count"], row(agreed)["claimed_by"]) == (1, None)
