"""One completed order: its rows, and what its client was told."""

from __future__ import annotations

from typing import Any

from tests.database.valid_rows import DIGEST, ID, NOW

Lines = list[dict[str, Any]]
KEY, LATER = "chaos-1-000001", "chaos-1-000002"
ACCEPTED = {"call": "place", "key": KEY, "answer": 202, "order_ledger_id": ID, "total_amount_cents": 999}
COMPLETED = {"call": "look", "key": ID, "sent": 1.0, "at": 1.1, "answer": 200, "status": "COMPLETED"}
LATER_LOOK = COMPLETED | {"sent": 2.0, "at": 2.1}
CONCURRENT_LOOK = COMPLETED | {"sent": 1.05, "at": 1.15}

ENTRY = f"""
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, payment_authorization_id, order_id)
VALUES ('{{id}}', '{{client}}', '{{key}}', '{DIGEST}', '{ID}', 'a@b.example', 999, 'USD', 'r1', 'COMPLETED', 'auth_1',
  '{ID}');
"""
PAID = f"""
INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status, capture_id,
  captured_amount_cents, captured_at)
VALUES ('auth_{{n}}', 'k{{n}}', '{ID}', 999, 'USD', 'CAPTURED', 'cap_{{n}}', 999, '{NOW}');
"""
CONFIRMED = f"""
INSERT INTO orders (id, order_ledger_id, user_id, status, total_amount_cents, currency, fingerprint)
VALUES ('{{id}}', '{{id}}', '{ID}', 'CONFIRMED', 999, 'USD', '{DIGEST}');
"""
COMPLETED_ORDER = ENTRY.format(id=ID, client="shop", key=KEY) + PAID.format(n=1) + CONFIRMED.format(id=ID)
SENT = {
    "call": "begin",
    "key": KEY,
    "user_id": ID,
    "total_amount_cents": 999,
    "token": "tok_visa",
    "behaviour": "patient",
}
RIGHT = [SENT, ACCEPTED, COMPLETED, ACCEPTED | {"replayed": True}]
DECLINED = {"call": "place", "key": KEY, "answer": 402, "error": "payment_declined"}
