"""Any order of calls, repetitions and losses leads to a legal state and conserves the money."""

from __future__ import annotations

import uuid

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Draws of the unreliable service: request lost, answer lost, no failure.
LUCK = st.sampled_from([0.1, 0.4, 0.9, 0.9])
CALLS = st.tuples(
    st.sampled_from(["authorize", "capture", "void", "void_by_key", "refund"]),
    st.integers(0, 2),  # which payment
    st.integers(0, 2),  # which key: a used one makes a repeat
    st.sampled_from([None, 1, 400, 1000, 1001]),
    LUCK,
)
TOKENS = ("tok_visa", "tok_visa", "fail_capture")
MAY_ANSWER = {200, 400, 402, 404, 409, 422, 503}


class Run:
    """One sequence of calls for three payments, with keys that no other run uses."""

    def __init__(self, payments, chance):
        self.payments, self.chance, self.name = payments, chance, uuid.uuid4().hex
        self.first = {}  # (call, payment, key, amount) → the answer that must never change

    def do(self, call, payment, key, amount, draw):
        self.chance.draw = draw
        response = self.send(call, payment, f"{self.name}-{payment}-{key}", amount)
        assert response.status_code in MAY_ANSWER, response.text
        if response.status_code in (200, 402):
            request = (call, payment, key, amount)
            assert self.first.setdefault(request, response.data) == response.data

    def send(self, call, payment, key, amount):
        some = {} if amount is None else {"amount_cents": amount}
        if call == "authorize":
            return self.payments.authorize(self.name_of(payment), token=TOKENS[payment])
        if call == "void_by_key":
            return self.payments.void_by_key(self.name_of(payment), key)
        if call == "void":
            return self.payments.void(self.id_of(payment), key)
        return getattr(self.payments, call)(self.id_of(payment), key, **some)

    def name_of(self, payment):
        return f"{self.name}-{payment}"

    def id_of(self, payment):
        rows = self.payments.sql(
            "SELECT id FROM payment_authorizations WHERE idempotency_key = %s", self.name_of(payment)
        )
        return rows[0]["id"] if rows else "auth_" + "0" * 24

    def check(self, payment):
        shown = self.payments.show(self.id_of(payment)).json
        if "error" in shown:  # never authorized, or a tombstone
            return
        sums = {"authorize": 0, "capture": 0, "void": 0, "refund": 0}
        for movement in shown["movements"]:
            sums[movement["type"]] += movement["amount_cents"]
        captured, refunded = shown["captured_amount_cents"], shown["refunded_amount_cents"]
        assert (sums["authorize"], sums["capture"], sums["refund"]) == (shown["amount_cents"], captured, refunded)
        assert 0 <= refunded <= captured <= shown["amount_cents"]
        assert sums["void"] in (0, shown["amount_cents"])
        assert not (sums["void"] and captured)
        assert shown["status"] == self.expected_status(sums)
        times = [movement["at"] for movement in shown["movements"]]
        assert times == sorted(times)
        types = [movement["type"] for movement in shown["movements"]]
        assert types[:2].count("authorize") == 1
        assert types.count("capture") + types.count("void") <= 1

    @staticmethod
    def expected_status(sums):
        if sums["void"]:
            return "VOIDED"
        if not sums["capture"]:
            return "AUTHORIZED"
        return "REFUNDED" if sums["refund"] == sums["capture"] else "CAPTURED"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALLS, min_size=4, max_size=25))
def test_any_order_of_calls_ends_well(unreliable, chance, calls):
    run = Run(unreliable, chance)
    for call in calls:
        run.do(*call)
    for payment in range(len(TOKENS)):
        run.check(payment)
