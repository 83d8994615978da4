"""Input at the limits of what is valid. tests/faults covers invalid input."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("amount", [1, 999_999_999_999])
def test_smallest_and_largest_amount_are_accepted(payments, amount):
    authorization_id = payments.authorized(amount=amount)
    assert payments.capture(authorization_id).json["amount_cents"] == amount
    assert payments.refund(authorization_id).json["amount_cents"] == amount


@pytest.mark.parametrize("key", ["x", "x" * 255, " ~!", "tok_visa"])
def test_every_printable_key_is_accepted(payments, key):
    authorization_id = payments.authorized(key=key)
    assert payments.capture(authorization_id, key=key).status_code == 200
    assert payments.refund(authorization_id, key=key).status_code == 200
