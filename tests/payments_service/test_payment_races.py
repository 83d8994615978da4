"""Simultaneous calls."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial

import psycopg2
import pytest

ROUNDS = 30


def outcomes(responses):
    """Count the answers by status or refusal."""
    return Counter(each.json.get("error", each.status_code) for each in responses)


@pytest.mark.parametrize(("token", "status"), [("tok_visa", 200), ("decline_expired", 402)])
def test_simultaneous_repeats_of_one_key_have_one_effect(payments, at_once, token, status):
    responses = at_once(*[partial(payments.authorize, "k", token=token)] * 10)
    assert [each.status_code for each in responses] == [status] * 10
    assert len({each.data for each in responses}) == 1
    assert sum("Idempotency-Replayed" not in each.headers for each in responses) == 1
    assert payments.count("payment_authorizations") == 1


def test_one_of_two_simultaneous_bodies_with_one_key_is_accepted(payments, at_once):
    calls = [lambda amount=amount: payments.authorize("k", amount=amount) for amount in (100, 200) * 4]
    assert outcomes(at_once(*calls)) == {200: 4, "idempotency_key_reused": 4}
    assert payments.count("payment_authorizations") == 1


def test_one_of_simultaneous_captures_succeeds(payments, at_once):
    for _ in range(5):
        authorization_id = payments.authorized()
        responses = at_once(*[partial(payments.capture, authorization_id)] * 6)
        assert outcomes(responses) == {200: 1, "already_captured": 5}
        capture_ids = {each.json.get("capture_id") or each.json["details"]["capture_id"] for each in responses}
        assert capture_ids == {payments.show(authorization_id).json["capture_id"]}


def test_simultaneous_voids_get_the_same_answer(payments, at_once):
    authorization_id = payments.authorized("a")
    calls = [partial(payments.void, authorization_id), partial(payments.void_by_key, "a")] * 4
    responses = at_once(*calls)
    assert outcomes(responses) == {200: 8}
    assert len({each.data for each in responses}) == 1


@pytest.mark.parametrize("by_key", [False, True])
def test_simultaneous_capture_and_void_have_one_winner(payments, at_once, by_key):
    for number in range(ROUNDS):
        key = f"round-{number}"
        authorization_id = payments.authorized(key)
        void = partial(payments.void_by_key, key) if by_key else partial(payments.void, authorization_id)
        captured, voided = at_once(partial(payments.capture, authorization_id), void)
        shown = payments.show(authorization_id).json
        if captured.status_code == 200:
            assert (voided.status_code, voided.json["error"]) == (409, "already_captured")
            assert voided.json["details"]["capture_id"] == shown["capture_id"] == captured.json["capture_id"]
            assert shown["status"] == "CAPTURED"
        else:
            assert (captured.json["error"], voided.status_code) == ("already_voided", 200)
            assert shown["status"] == "VOIDED"


def test_simultaneous_authorize_and_void_by_key_leave_no_hold(payments, at_once):
    for number in range(ROUNDS):
        key = f"round-{number}"
        authorized, voided = at_once(partial(payments.authorize, key), partial(payments.void_by_key, key))
        assert voided.status_code == 200
        if authorized.status_code == 200:
            assert voided.json["authorization_id"] == authorized.json["authorization_id"]
        else:
            assert (authorized.json["error"], voided.json["authorization_id"]) == ("already_voided", None)
    assert payments.sql("SELECT status, count(*) AS n FROM payment_authorizations GROUP BY 1") == [
        {"status": "VOIDED", "n": ROUNDS}
    ]


AUTHORIZATION = """
    INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status)
    VALUES ('auth_AAAAAAAAAAAAAAAAAAAAAAAA', 'k', '7b9d2c2e-1111-4222-8333-123456789abc', 500, 'USD', 'AUTHORIZED')"""
TOMBSTONE = """
    INSERT INTO payment_authorizations (id, idempotency_key, status, voided_at)
    VALUES ('auth_AAAAAAAAAAAAAAAAAAAAAAAA', 'k', 'VOIDED', now())"""


def behind(payments, statement, call, then="SELECT 1"):
    """Return the answer of `call`, which waits for a transaction that runs `statement` and `then`, and commits."""
    answers = []
    connection = psycopg2.connect(payments.url)
    try:
        connection.cursor().execute(statement)
        thread = threading.Thread(target=lambda: answers.append(call()))
        thread.start()
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'payments_service' AND wait_event_type = 'Lock'"
        )
        while thread.is_alive() and not payments.sql(waiting):
            pass
        connection.cursor().execute(then)
        connection.commit()
        thread.join()
    finally:
        connection.close()
    return answers[0]


def test_void_by_key_waits_for_the_authorize_that_is_being_saved(payments):
    voided = behind(payments, AUTHORIZATION, partial(payments.void_by_key, "k"))
    assert (voided.status_code, voided.json["authorization_id"]) == (200, "auth_" + "A" * 24)
    assert payments.show("auth_" + "A" * 24).json["status"] == "VOIDED"


def test_authorize_waits_for_the_void_by_key_that_is_being_saved(payments):
    authorized = behind(payments, TOMBSTONE, partial(payments.authorize, "k"))
    assert (authorized.status_code, authorized.json["error"]) == (409, "already_voided")
    assert payments.count("payment_authorizations") == 1


def test_movement_that_waited_has_the_time_of_its_execution(payments):
    authorization_id = payments.authorized()
    lock = "SELECT 1 FROM payment_authorizations FOR UPDATE"
    capture = """UPDATE payment_authorizations SET status = 'CAPTURED', capture_id = 'cap_x',
        captured_amount_cents = amount_cents, captured_at = clock_timestamp()"""
    refunded = behind(payments, lock, partial(payments.refund, authorization_id), then=capture)
    assert refunded.status_code == 200
    assert refunded.json["refunded_at"] > payments.show(authorization_id).json["captured_at"]


def test_simultaneous_repeats_of_one_refund_refund_once(payments, at_once):
    authorization_id = payments.captured(amount=1000)
    responses = at_once(*[partial(payments.refund, authorization_id, "r", amount_cents=400)] * 8)
    assert outcomes(responses) == {200: 8}
    assert len({each.data for each in responses}) == 1
    assert payments.show(authorization_id).json["refunded_amount_cents"] == 400


def test_simultaneous_refunds_never_exceed_the_capture(payments, at_once):
    for _ in range(5):
        authorization_id = payments.captured(amount=1000)
        responses = at_once(*[partial(payments.refund, authorization_id, amount_cents=300)] * 8)
        assert outcomes(responses) == {200: 3, "validation_error": 5}
        shown = payments.show(authorization_id).json
        assert shown["refunded_amount_cents"] == 900
        assert sum(each["amount_cents"] for each in shown["movements"] if each["type"] == "refund") == 900


def test_one_of_simultaneous_full_refunds_succeeds(payments, at_once):
    for _ in range(5):
        authorization_id = payments.captured()
        responses = at_once(*[partial(payments.refund, authorization_id)] * 6)
        assert outcomes(responses) == {200: 1, "invalid_status_transition": 5}
