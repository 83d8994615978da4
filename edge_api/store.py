"""All SQL of the Edge API. Each statement is its own transaction."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg2

from common.api.errors import ApiError
from common.api.idempotency import StoredResponse
from common.database.database import Database, Row, Transaction
from common.database.errors import DatabaseUnavailable
from common.process import moments
from common.tracing import tracer
from domain.ids import new_order_ledger_id
from domain.states import CHANNEL
from edge_api import representation
from edge_api.listing import page_of_orders
from edge_api.notifier import Notifier
from edge_api.release_queue import ReleaseQueue

HOST = socket.gethostname()

# The columns that the Edge API needs of an entry.
_ENTRY = """id, client, client_request_id, fingerprint, status, claim_number, user_id, total_amount_cents, currency,
  response_status, response_body, COALESCE(claimed_until >= now(), false) AS is_claimed"""

# T1: the entry and its lines with frozen prices, unless the client has used the key before. No row: it has.
INSERT_ENTRY = f"""
WITH entry AS (
  INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, reference, metadata,
    total_amount_cents, currency, request_id, trace_parent, status, claimed_by, claimed_until, due_at, claim_number)
  SELECT %(id)s::uuid, %(client)s, %(key)s, %(fingerprint)s, %(user_id)s::uuid, %(email)s, %(reference)s,
    %(metadata)s::jsonb, %(total)s, %(currency)s, %(request_id)s, %(trace_parent)s, 'AWAITING_AUTHORIZATION',
    %(claimant)s,
    now() + %(lease_s)s * interval '1 second',
    now() + GREATEST(%(lease_s)s::float, %(abandoned_after_s)s) * interval '1 second', 1
  WHERE NOT order_key_is_refused(%(client)s, %(key)s)
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

# What a client's key was used for: an entry, or a request that was refused before it became one.
FIND = f"""
SELECT {_ENTRY} FROM order_ledger WHERE client = %(client)s AND client_request_id = %(key)s
UNION ALL
SELECT NULL, client, client_request_id, fingerprint, NULL, NULL, NULL, NULL, NULL, response_status, response_body,
  false
FROM refused_requests WHERE client = %(client)s AND client_request_id = %(key)s
LIMIT 1
"""

# Declined payments are limited, so that nobody can find out here which stolen cards are valid. A decline is a row for
# the key and one for the address. Once the nth latest is an hour old, where n is the limit, there is room for
# another. Null: there is room. Orders that are processed at the same moment do not count one another: together they
# can exceed the limit, by no more than the number of orders that the processes handle at once.
_NTH_DECLINE = """
(SELECT at FROM declines WHERE subject = %({subject})s AND at > now() - interval '1 hour'
  ORDER BY at DESC OFFSET %(max_declines)s::int - 1 LIMIT 1)
"""
_LOCKED_FOR_S = f"""
extract(epoch FROM GREATEST({_NTH_DECLINE.format(subject="key_subject")},
  {_NTH_DECLINE.format(subject="address_subject")}) + interval '1 hour' - now())::float
"""

# As FIND, and for how long no order may be placed. There is always a row; that of a free key has no fingerprint.
LOOK = f"""
SELECT used.*, CASE WHEN used.fingerprint IS NULL THEN {_LOCKED_FOR_S} END AS locked_for_s
FROM (VALUES (true)) AS always LEFT JOIN LATERAL ({FIND}) AS used ON true
"""

# The refusal of a request that gets no entry. No row: the key has an entry or a refusal already.
INSERT_REFUSED = """
INSERT INTO refused_requests (client, client_request_id, fingerprint, response_status, response_body)
SELECT %(client)s, %(key)s, %(fingerprint)s, %(status)s, %(body)s WHERE NOT order_key_has_entry(%(client)s, %(key)s)
ON CONFLICT DO NOTHING RETURNING client
"""

# Continue an entry that no request processes any more: its request gave up, or its lease expired.
TAKE_OVER = f"""
UPDATE order_ledger SET claim_number = claim_number + 1, claimed_by = %(claimant)s,
  claimed_until = now() + %(lease_s)s * interval '1 second',
  due_at = now() + GREATEST(%(lease_s)s::float, %(abandoned_after_s)s) * interval '1 second', updated_at = now()
WHERE id = %(id)s AND status = 'AWAITING_AUTHORIZATION' AND failure_code IS NULL AND cancel_requested_at IS NULL
  AND (claimed_until IS NULL OR claimed_until < now())
RETURNING {_ENTRY}
"""

# The payment service did not answer: the client's next request may continue at once, or the sweeper closes the entry.
LET_GO = """
UPDATE order_ledger SET claimed_by = NULL, claimed_until = NULL,
  due_at = now() + CASE WHEN cancel_requested_at IS NULL THEN %(abandoned_after_s)s ELSE 0 END * interval '1 second',
  updated_at = now()
WHERE id = %(id)s AND claim_number = %(claim_number)s AND status = 'AWAITING_AUTHORIZATION'
"""

# T2: the new status, the event, the stored response and the notification, all or none.
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

# The payment was refused: the entry ends here, with the response that a repeated request gets. A decline is counted. An
# order that its client has cancelled meanwhile ends for that reason.
REFUSED = """
WITH entry AS (
  UPDATE order_ledger SET status = 'AUTHORIZATION_FAILED', status_detail = %(failure_code)s,
    failure_code = CASE WHEN cancel_requested_at IS NULL THEN %(failure_code)s ELSE 'cancelled' END,
    failure_message = CASE WHEN cancel_requested_at IS NULL THEN %(failure_message)s
      ELSE 'The order was cancelled.' END,
    response_status = %(status)s, response_body = %(body)s,
    claimed_by = NULL, claimed_until = NULL, due_at = NULL, updated_at = now()
  WHERE id = %(id)s AND claim_number = %(claim_number)s AND status = 'AWAITING_AUTHORIZATION'
  RETURNING id
), counted AS (
  INSERT INTO declines (subject, at) SELECT subject, clock_timestamp()
  FROM entry, unnest(%(subjects)s::text[]) AS subject ON CONFLICT DO NOTHING
)
SELECT id FROM entry
"""

# The response to every repeat of a request that the sweeper closed, stored by the first repeat.
ANSWER_ABANDONED = """
UPDATE order_ledger SET response_status = %(status)s, response_body = %(body)s
WHERE id = %(id)s AND status = 'AUTHORIZATION_FAILED' AND response_status IS NULL RETURNING id
"""

# Everything that GET shows, in one round trip. Another client's entry is not found.
GET_ORDER = f"""
SELECT {representation.COLUMNS},
  (SELECT COALESCE(json_agg(json_build_object('status', h.to_status, 'detail', h.detail,
      'at', to_char(h.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY h.id), '[]')
    FROM order_ledger_history h WHERE h.order_ledger_id = l.id) AS timeline
FROM order_ledger l WHERE l.id = %(id)s AND l.client = %(client)s
"""

# Which of these entries have ended.
TERMINAL = "SELECT id FROM order_ledger WHERE id = ANY(%(ids)s::uuid[]) AND due_at IS NULL"

# Token bucket: one token for each request, refilled as time passes. No row: the bucket is empty.
TAKE_TOKEN = """
INSERT INTO rate_limits AS bucket (client, tokens) VALUES (%(client)s, %(limit)s - 1)
ON CONFLICT (client) DO UPDATE SET refilled_at = now(),
  tokens = LEAST(%(limit)s, bucket.tokens + %(limit)s / 60.0 * extract(epoch FROM now() - bucket.refilled_at)) - 1
WHERE LEAST(%(limit)s, bucket.tokens + %(limit)s / 60.0 * extract(epoch FROM now() - bucket.refilled_at)) >= 1
RETURNING tokens
"""

# A token back into the bucket, for a request that was not served.
GIVE_TOKEN_BACK = """
UPDATE rate_limits SET tokens = LEAST(%(limit)s, tokens + 1) WHERE client = %(client)s
"""

# How many seconds authorized orders have waited to be processed. The tenth longest overdue one counts, so that a few
# entries that cannot be claimed do not stop all sales.
BACKLOG_AGE = """
SELECT extract(epoch FROM now() - due_at)::float AS seconds FROM order_ledger AS entry
WHERE due_at <= now() AND status <> 'AWAITING_AUTHORIZATION' AND NOT EXISTS (
  SELECT FROM set_aside_entries AS aside WHERE aside.order_ledger_id = entry.id AND aside.retry_at > now())
ORDER BY due_at OFFSET 9 LIMIT 1
"""


class Payers(NamedTuple):
    """Who a declined payment is counted for. Empty: nobody."""

    key: str = ""
    address: str = ""


NOBODY = Payers()


@dataclass(frozen=True)
class Store:
    """The ledger as the Edge API sees it. Every change of a claimed entry names its claim number."""

    database: Database
    lease_s: float
    abandoned_after_s: float
    notifier: Notifier
    release_queue: ReleaseQueue = field(default_factory=ReleaseQueue, repr=False)

    def insert_entry(self, client: str, key: str, entry: dict[str, Any]) -> Row | None:
        """T1. None: the key has been used."""
        moments.reached("edge.before_t1")
        id_ = new_order_ledger_id()
        try:
            columns = {"reference": None, "metadata": None, "trace_parent": tracer.trace_parent(), **entry}
            row = self.database.one(INSERT_ENTRY, client=client, key=key, id=id_, **columns, **self._claim())
        except DatabaseUnavailable:
            self.let_go_later({"id": id_, "claim_number": 1})  # it may have been committed
            raise
        moments.reached("edge.after_t1")
        return row

    def find(self, client: str, key: str) -> Row | None:
        """None: the key is free. A row without an `id` is a refusal that was stored without an entry."""
        return self.database.one(FIND, client=client, key=key)

    def look(self, client: str, key: str, payers: Payers, max_declines: int) -> Row:
        """Like `find`, with `locked_for_s`: for how long no order may be placed. None: one may.

        The row of a free key has no `fingerprint`.
        """
        (row,) = self.database.all(
            LOOK, client=client, key=key, key_subject=payers.key, address_subject=payers.address,
            max_declines=max_declines or 1,
        )  # fmt: skip
        return row

    def insert_refused(self, client: str, key: str, fingerprint: str, response: StoredResponse) -> bool:
        """False: the key has an entry or another refusal."""
        return self.database.one(
            INSERT_REFUSED,
            client=client, key=key, fingerprint=fingerprint, status=response.status, body=response.body,
        ) is not None  # fmt: skip

    def take_over(self, entry: Row) -> Row | None:
        """None: another request is processing it, or its status has changed."""
        try:
            return self.database.one(TAKE_OVER, id=entry["id"], **self._claim())
        except DatabaseUnavailable:
            self.let_go_later(entry | {"claim_number": entry["claim_number"] + 1})  # it may have been committed
            raise

    def let_go(self, entry: Row) -> None:
        self.database.one(
            LET_GO, id=entry["id"], claim_number=entry["claim_number"], abandoned_after_s=self.abandoned_after_s
        )

    def let_go_later(self, entry: Row) -> None:
        """Release the claim as soon as the database answers."""
        self.release_queue.add(lambda: self.let_go(entry))

    @contextmanager
    def released_on_error(self, entry: Row) -> Iterator[None]:
        """Release the claim if the request fails, so that the next one with its key can continue."""
        try:
            yield
        except ApiError:
            raise
        except Exception:  # re-raised; the claim is released in the background
            self.let_go_later(entry)
            raise

    def authorized(self, entry: Row, authorization_id: str, response: StoredResponse) -> bool:
        """T2. False: the claim is lost."""
        notify = self.notifier.is_due()
        try:
            is_ours = self._t2(entry, authorization_id, response, notify=notify)
        except psycopg2.errors.ProgramLimitExceeded:
            if not notify:
                raise
            self.notifier.queue_is_full()
            notify = False
            is_ours = self._t2(entry, authorization_id, response, notify=False)
        moments.reached("edge.after_t2")
        if not notify:
            self.notifier.later()
        return is_ours

    def _t2(self, entry: Row, authorization_id: str, response: StoredResponse, *, notify: bool) -> bool:
        def t2(tx: Transaction) -> Row | None:
            row = tx.one(AUTHORIZED, authorization_id=authorization_id, notify=notify, **_fenced(entry, response))
            moments.reached("edge.in_t2")
            return row

        return self.database.statement(t2) is not None

    def refused(
        self,
        entry: Row,
        failure_code: str,
        failure_message: str,
        response: StoredResponse,
        payers: Payers,
    ) -> bool:
        """False: the claim is lost."""
        row = self.database.one(
            REFUSED,
            failure_code=failure_code,
            failure_message=failure_message,
            subjects=[each for each in payers if each],
            **_fenced(entry, response),
        )
        return row is not None

    def answer_abandoned(self, entry: Row, response: StoredResponse) -> bool:
        """False: another repeat has just stored its response."""
        row = self.database.one(ANSWER_ABANDONED, id=entry["id"], status=response.status, body=response.body)
        return row is not None

    def get(self, client: str, order_ledger_id: str) -> Row | None:
        return self.database.one(GET_ORDER, client=client, id=order_ledger_id)

    def page(self, client: str, filters: dict[str, Any], limit: int) -> list[Row]:
        """At most `limit` of the client's orders, newest first."""
        statement, parameters = page_of_orders(client, filters, limit)
        return self.database.all(statement, **parameters)

    def terminal(self, order_ledger_ids: Collection[str]) -> list[str]:
        """Return the entries that are in a terminal state."""
        return [row["id"] for row in self.database.all(TERMINAL, ids=list(order_ledger_ids))]

    def take_token(self, client: str, limit: int) -> bool:
        return self.database.one(TAKE_TOKEN, client=client, limit=limit) is not None

    def give_token_back(self, client: str, limit: int) -> None:
        self.database.one(GIVE_TOKEN_BACK, client=client, limit=limit)

    def backlog_age_s(self) -> float:
        row = self.database.one(BACKLOG_AGE)
        return row["seconds"] if row else 0.0

    def _claim(self) -> dict[str, Any]:
        return {"claimant": claimant(), "lease_s": self.lease_s, "abandoned_after_s": self.abandoned_after_s}


def _fenced(entry: Row, response: StoredResponse) -> dict[str, Any]:
    return {
        "id": entry["id"],
        "claim_number": entry["claim_number"],
        "status": response.status,
        "body": response.body,
    }


def claimant() -> str:
    """Return this process's name. It may have been forked after this module was loaded."""
    return f"edge:{HOST}:{os.getpid()}"
