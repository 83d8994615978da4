"""A repeat with the same key and body gets the first answer, byte for byte, and has no further effect."""

from __future__ import annotations

import pytest


def books(payments):
    """Return all rows of the gateway's tables as text."""
    tables = ("payment_authorizations", "payment_refunds", "payment_idempotency_keys")
    return [payments.sql(f"SELECT t::text AS row FROM {table} t ORDER BY 1") for table in tables]


CALLS = {
    "authorize": (lambda payments: None, lambda payments, _, **more: payments.authorize("k", **more)),
    "decline": (lambda payments: None, lambda payments, _: payments.authorize("k", token="decline_expired")),
    "capture": (lambda payments: payments.authorized(), lambda payments, id_: payments.capture(id_, "k")),
    "refused capture": (
        lambda payments: payments.authorized(token="fail_capture"),
        lambda payments, id_: payments.capture(id_, "k"),
    ),
    "void": (lambda payments: payments.authorized(), lambda payments, id_: payments.void(id_, "k")),
    "tombstone": (lambda payments: None, lambda payments, _: payments.void_by_key("late", "k")),
    "void by key": (lambda payments: payments.authorized("a"), lambda payments, _: payments.void_by_key("a", "k")),
    "refund": (lambda payments: payments.captured(), lambda payments, id_: payments.refund(id_, "k", amount_cents=400)),
}


@pytest.mark.parametrize("name", CALLS)
def test_repeat_is_replayed(payments, name):
    prepare, call = CALLS[name]
    authorization_id = prepare(payments)
    first = call(payments, authorization_id)
    assert first.status_code == (402 if name in ("decline", "refused capture") else 200)
    assert "Idempotency-Replayed" not in first.headers
    after_first = books(payments)
    for _ in range(2):
        again = call(payments, authorization_id)
        assert (again.status_code, again.data) == (first.status_code, first.data)
        assert (again.headers["Idempotency-Replayed"], again.mimetype) == ("true", "application/json")
    assert books(payments) == after_first


def test_replay_is_the_first_answer_despite_later_changes(payments):
    authorization_id = payments.authorized("a")
    first = payments.capture(authorization_id, "c")
    payments.refund(authorization_id)
    assert payments.capture(authorization_id, "c").data == first.data
    assert payments.authorize("a").json["status"] == "AUTHORIZED"


@pytest.mark.parametrize(
    "change",
    [
        {"amount_cents": 1001},
        {"currency": "EUR"},
        {"user_id": "7b9d2c2e-1111-4222-8333-123456789abd"},
        {"payment_token": "tok_mastercard"},
    ],
)
def test_authorize_key_with_another_body_is_refused(payments, change):
    payments.authorize("k")
    before = books(payments)
    response = payments.post("authorize", **{**payments.authorize_body("k"), **change})
    assert (response.status_code, response.json["error"]) == (422, "idempotency_key_reused")
    assert books(payments) == before


@pytest.mark.parametrize("call", ["capture", "refund"])
def test_key_with_another_amount_is_refused(payments, call):
    authorization_id = payments.captured() if call == "refund" else payments.authorized()
    payments.post(f"{call}/{authorization_id}", idempotency_key="k", amount_cents=10)
    before = books(payments)
    for body in ({"amount_cents": 11}, {}):
        response = payments.post(f"{call}/{authorization_id}", idempotency_key="k", **body)
        assert (response.status_code, response.json["error"]) == (422, "idempotency_key_reused")
    assert books(payments) == before


@pytest.mark.parametrize("call", ["capture", "void", "refund"])
def test_key_for_another_authorization_is_refused(payments, call):
    prepare = payments.captured if call == "refund" else payments.authorized
    first, second = prepare(), prepare()
    assert payments.post(f"{call}/{first}", idempotency_key="k").status_code == 200
    before = books(payments)
    assert payments.post(f"{call}/{second}", idempotency_key="k").json["error"] == "idempotency_key_reused"
    assert books(payments) == before


def test_void_by_key_with_the_same_key_for_another_authorization(payments):
    payments.void_by_key("a", "k")
    assert payments.void_by_key("b", "k").status_code == 422
    assert payments.authorize("b").status_code == 200


def test_each_operation_has_its_own_keys(payments):
    """An orchestrator may derive one key from the ledger id and use it for every step."""
    authorization_id = payments.authorized("k")
    assert payments.capture(authorization_id, "k").status_code == 200
    assert payments.void(authorization_id, "k").json["error"] == "already_captured"
    assert payments.refund(authorization_id, "k").status_code == 200
    other = payments.authorized("other")
    assert payments.void_by_key("other", "k").status_code == 200
    assert payments.void(other, "k").status_code == 200


def test_temporary_refusal_leaves_the_key_free(payments):
    authorization_id = payments.authorized()
    assert payments.refund(authorization_id, "r").status_code == 409
    payments.capture(authorization_id)
    assert payments.refund(authorization_id, "r").status_code == 200


def test_refused_void_stays_refused(payments):
    authorization_id = payments.captured()
    answers = [payments.void(authorization_id, "v") for _ in range(2)]
    assert [answer.json["error"] for answer in answers] == ["already_captured"] * 2
    assert payments.count("payment_idempotency_keys") == 2  # authorize and capture
