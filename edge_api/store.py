"""Every statement of the Edge API on the ledger. Each is one transaction by itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from common.api.idempotency import Answer
from common.database.database import Database, Row, Transaction
from common.process import moments
from domain.ids import new_order_ledger_id
from domain.states import CHANNEL
from edge_api.notifier import Notifier

CLAIMANT = f"edge:{socket.gethostname()}:{os.getpid()}"

# What the Edge API has to know of an entry.
_ENTRY = """id, client, client_request_id, fingerprint, status, claim_number, user_id, total_amount_cents, currency,
  response_status, response_body"""

# T1: the entry and its lines with frozen prices, unless the client has used the key before.
INSERT_ENTRY = f"""
WITH entry AS (
  INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
    request_id, status, claimed_by, claimed_until, due_at, claim_number)
  VALUES (%(id)s, %(client)s, %(key)s, %(fingerprint)s, %(user_id)s, %(email)s, %(total)s, %(currency)s,
    %(request_id)s, 'AWAITING_AUTHORIZATION', %(claimant)s, now() + %(lease_s)s * interval '1 second',
    now() + GREATEST(%(lease_s)s::float, %(abandoned_after_s)s) * interval '1 second', 1)
  ON CONFLICT (client, client_request_id) DO NOTHING
  RETURNING {_ENTRY}
), lines AS (
  INSERT INTO order_ledger_items (order_ledger_id, position, product_id, quantity, unit_price_cents)
  SELECT entry.id, line.position, line.product_id, line.quantity, line.unit_price_cents
  FROM entry, unnest(%(product_ids)s::uuid[], %(quantities)s::int[], %(prices)s::bigint[])
    WITH ORDINALITY AS line (product_id, quantity, unit_price_cents, position)
)
SELECT * FROM entry
"""

# What a client's key stands for: an entry, or the stored answer to a request that was refused before it became one.
FIND = f"""
SELECT {_ENTRY} FROM order_ledger WHERE client = %(client)s AND client_request_id = %(key)s
UNION ALL
SELECT NULL, client, client_request_id, fingerprint, NULL, NULL, NULL, NULL, NULL, response_status, response_body
FROM refused_requests WHERE client = %(client)s AND client_request_id = %(key)s
LIMIT 1
"""

INSERT_REFUSED = """
INSERT INTO refused_requests (client, client_request_id, fingerprint, response_status, response_body)
VALUES (%(client)s, %(key)s, %(fingerprint)s, %(status)s, %(body)s) ON CONFLICT DO NOTHING
"""

# Go on with an entry that nobody works on any more: its request gave up, or has taken longer than any request can.
TAKE_OVER = f"""
UPDATE order_ledger SET claim_number = claim_number + 1, claimed_by = %(claimant)s,
  claimed_until = now() + %(lease_s)s * interval '1 second',
  due_at = now() + GREATEST(%(lease_s)s::float, %(abandoned_after_s)s) * interval '1 second', updated_at = now()
WHERE id = %(id)s AND status = 'AWAITING_AUTHORIZATION' AND failure_code IS NULL
  AND (claimed_until IS NULL OR claimed_until < now())
RETURNING {_ENTRY}
"""

# The payment service gave no answer: let the client's next request go on at once, or the sweeper close the entry.
LET_GO = """
UPDATE order_ledger SET claimed_by = NULL, claimed_until = NULL,
  due_at = now() + %(abandoned_after_s)s * interval '1 second', updated_at = now()
WHERE id = %(id)s AND claim_number = %(claim_number)s AND status = 'AWAITING_AUTHORIZATION'
"""

# T2: authorized, the event, the stored answer and the notification, all or none.
AUTHORIZED = f"""
WITH entry AS (
  UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = %(authorization_id)s,
    response_status = %(status)s, response_body = %(body)s,
    claimed_by = NULL, claimed_until = NULL, due_at = now(), updated_at = now()
  WHERE id = %(id)s AND claim_number = %(claim_number)s AND status = 'AWAITING_AUTHORIZATION'
  RETURNING id
), event AS (
  INSERT INTO outbox (order_ledger_id, event_type, payload)
  SELECT id, 'order.authorized', jsonb_build_object('version', 1, 'order_ledger_id', id) FROM entry
)
SELECT id, (SELECT pg_notify('{CHANNEL}', '') WHERE %(notify)s) FROM entry
"""

# The gateway said no: the entry ends here, with the answer that a repeated request gets.
DECLINED = """
UPDATE order_ledger SET status = 'AUTHORIZATION_FAILED', status_detail = %(failure_code)s,
  failure_code = %(failure_code)s, failure_message = %(failure_message)s,
  response_status = %(status)s, response_body = %(body)s,
  claimed_by = NULL, claimed_until = NULL, due_at = NULL, updated_at = now()
WHERE id = %(id)s AND claim_number = %(claim_number)s AND status = 'AWAITING_AUTHORIZATION'
RETURNING id
"""

# The answer to a request that the sweeper has closed, from its first repetition on.
ANSWER_ABANDONED = """
UPDATE order_ledger SET response_status = %(status)s, response_body = %(body)s
WHERE id = %(id)s AND status = 'AUTHORIZATION_FAILED' AND response_status IS NULL RETURNING id
"""

# All that GET shows, in one round trip. Another client's entry is not found.
GET_ORDER = """
SELECT l.id AS order_ledger_id, l.client_request_id, l.status, l.user_id, l.email, l.total_amount_cents, l.currency,
  l.payment_authorization_id, l.order_id, l.retry_count, l.next_retry_at, l.needs_attention_at,
  l.created_at, l.updated_at,
  CASE WHEN l.failure_code IS NOT NULL
    THEN json_build_object('code', l.failure_code, 'message', l.failure_message) END AS failure,
  (SELECT json_agg(json_build_object('product_id', i.product_id, 'quantity', i.quantity,
      'unit_price_cents', i.unit_price_cents) ORDER BY i.position)
    FROM order_ledger_items i WHERE i.order_ledger_id = l.id) AS items,
  (SELECT json_agg(json_build_object('status', h.to_status, 'detail', h.detail,
      'at', to_char(h.at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY h.id)
    FROM order_ledger_history h WHERE h.order_ledger_id = l.id) AS timeline
FROM order_ledger l WHERE l.id = %(id)s AND l.client = %(client)s
"""

# Those of these entries that have ended.
TERMINAL = "SELECT id FROM order_ledger WHERE id = ANY(%(ids)s::uuid[]) AND due_at IS NULL"

# Token bucket: refilled by the time that passed, one token a request. No row: the bucket is empty.
TAKE_TOKEN = """
INSERT INTO rate_limits AS bucket (client, tokens) VALUES (%(client)s, %(limit)s - 1)
ON CONFLICT (client) DO UPDATE SET refilled_at = now(),
  tokens = LEAST(%(limit)s, bucket.tokens + %(limit)s / 60.0 * extract(epoch FROM now() - bucket.refilled_at)) - 1
WHERE LEAST(%(limit)s, bucket.tokens + %(limit)s / 60.0 * extract(epoch FROM now() - bucket.refilled_at)) >= 1
RETURNING tokens
"""


@dataclass(frozen=True)
class Store:
    """The ledger as the Edge API sees it. Every change of an entry in hand names its claim number."""

    database: Database
    lease_s: float
    abandoned_after_s: float
    notifier: Notifier

    def insert_entry(self, client: str, key: str, entry: dict[str, Any]) -> Row | None:
        """T1. None where the key is taken."""
        moments.reached("edge.before_t1")
        row = self.database.one(
            INSERT_ENTRY, client=client, key=key, id=new_order_ledger_id(), **entry, **self._claim()
        )  # fmt: skip
        moments.reached("edge.after_t1")
        return row

    def find(self, client: str, key: str) -> Row | None:
        """None where the key is free. A row without an `id` is an answer that was stored without an entry."""
        return self.database.one(FIND, client=client, key=key)

    def insert_refused(self, client: str, key: str, fingerprint: str, answer: Answer) -> None:
        self.database.one(
            INSERT_REFUSED, client=client, key=key, fingerprint=fingerprint, status=answer.status, body=answer.body
        )

    def take_over(self, entry: Row) -> Row | None:
        """None where somebody else works on it, or it has moved on."""
        return self.database.one(TAKE_OVER, id=entry["id"], **self._claim())

    def let_go(self, entry: Row) -> None:
        self.database.one(
            LET_GO, id=entry["id"], claim_number=entry["claim_number"], abandoned_after_s=self.abandoned_after_s
        )

    def authorized(self, entry: Row, authorization_id: str, answer: Answer) -> bool:
        """T2. False where the entry is not ours any more."""
        notify = self.notifier.is_due()

        def t2(tx: Transaction) -> Row | None:
            row = tx.one(AUTHORIZED, authorization_id=authorization_id, notify=notify, **_fenced(entry, answer))
            moments.reached("edge.in_t2")
            return row

        row = self.database.statement(t2)
        moments.reached("edge.after_t2")
        if not notify:
            self.notifier.later()
        return row is not None

    def declined(self, entry: Row, failure_code: str, failure_message: str, answer: Answer) -> bool:
        """False where the entry is not ours any more."""
        row = self.database.one(
            DECLINED, failure_code=failure_code, failure_message=failure_message, **_fenced(entry, answer)
        )
        return row is not None

    def answer_abandoned(self, entry: Row, answer: Answer) -> bool:
        """False where another repetition has just stored its answer."""
        row = self.database.one(ANSWER_ABANDONED, id=entry["id"], status=answer.status, body=answer.body)
        return row is not None

    def get(self, client: str, order_ledger_id: str) -> Row | None:
        return self.database.one(GET_ORDER, client=client, id=order_ledger_id)

    def terminal(self, order_ledger_ids: Collection[str]) -> list[str]:
        """Those of the entries that are in a terminal state."""
        return [row["id"] for row in self.database.all(TERMINAL, ids=list(order_ledger_ids))]

    def take_token(self, client: str, limit: int) -> bool:
        return self.database.one(TAKE_TOKEN, client=client, limit=limit) is not None

    def _claim(self) -> dict[str, Any]:
        return {"claimant": CLAIMANT, "lease_s": self.lease_s, "abandoned_after_s": self.abandoned_after_s}


def _fenced(entry: Row, answer: Answer) -> dict[str, Any]:
    return {
        "id": entry["id"],
        "claim_number": entry["claim_number"],
        "status": answer.status,
        "body": answer.body,
    }
