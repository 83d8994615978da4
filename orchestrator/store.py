"""All SQL of the orchestrator, each statement named and a transaction by itself. Every write to claimed work is fenced:

it names the claim number and the status that the writer believes in. No row changed: somebody else has the entry.
Only the database's clock is asked what is due.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from common.database.database import Database, Row
from domain.ids import order_id_for
from domain.states import ABANDONED, Status
from orchestrator.group_commit import GroupCommit
from orchestrator.saga import Saga

log = logging.getLogger(__name__)

MAX_UNPRODUCTIVE_CLAIMS = 5
SET_ASIDE_S = 300  # an entry that kills whoever claims it may do so every five minutes, and is shown meanwhile

# Claim what is due: new entries, due retries, entries whose worker's lease ran out, requests nobody came back for.
CLAIM = """
WITH due AS (
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison
  FROM order_ledger WHERE due_at <= now() ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE order_ledger SET claimed_by = %(claimant)s, claim_number = claim_number + 1, next_retry_at = NULL,
    claimed_until = now() + %(lease_s)s * interval '1 second',
    due_at = now() + interval '1 second'
      * GREATEST(%(lease_s)s::float, CASE WHEN due.is_poison THEN %(set_aside_s)s::float END),
    unproductive_claims = unproductive_claims + 1,
    needs_attention_at = CASE WHEN due.is_poison THEN COALESCE(needs_attention_at, now()) ELSE needs_attention_at END,
    attention_reason = CASE WHEN due.is_poison
      THEN COALESCE(attention_reason, 'claimed ' || unproductive_claims || ' times in a row without an outcome')
      ELSE attention_reason END,
    failure_code = CASE WHEN status = 'AWAITING_AUTHORIZATION' THEN %(abandoned)s ELSE failure_code END,
    failure_message = CASE WHEN status = 'AWAITING_AUTHORIZATION' THEN %(abandoned_message)s ELSE failure_message END
  FROM due WHERE order_ledger.id = due.id
  RETURNING order_ledger.id, claim_number, request_id, user_id, currency, total_amount_cents,
    payment_authorization_id, status, compensating_from, undone, failure_code, failure_message, retry_count,
    attention_reason, unproductive_claims, created_at
)
SELECT claimed.*, (
  SELECT json_agg(json_build_object('product_id', i.product_id, 'quantity', i.quantity,
    'unit_price_cents', i.unit_price_cents) ORDER BY i.position)
  FROM order_ledger_items i WHERE i.order_ledger_id = claimed.id) AS items,
  CASE WHEN status = 'COMPENSATING' THEN (
    SELECT extract(epoch FROM now() - max(h.at))::float
    FROM order_ledger_history h WHERE h.order_ledger_id = claimed.id)
  ELSE 0 END AS undoing_s
FROM claimed ORDER BY created_at
"""

# Seconds until the next entry is due; no row: none is.
NEXT_DUE = """
SELECT GREATEST(extract(epoch FROM due_at - now()), 0)::float AS seconds
FROM order_ledger WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1
"""

# Write down what became of entries in hand. Each is fenced: it has the claim number and the status that its writer
# believes in, or is left alone. An entry that goes on keeps its claim, and its lease is renewed where a call could
# outlast it; one that waits is due again later, for anyone; one that has ended is due no more, and takes its outbox
# event with it. By the statement's own transaction all of that, or nothing, is durable.
SAVE = """
WITH given AS (
  SELECT * FROM json_to_recordset(%(entries)s) AS given (id uuid, claim_number integer, was text, status text,
    detail text, order_id uuid, retry_count integer, compensating_from text, undone text[], failure_code text,
    failure_message text, attention text, wait_s double precision, is_over boolean)
), saved AS (
  UPDATE order_ledger AS entry SET status = given.status, status_detail = given.detail, order_id = given.order_id,
    retry_count = given.retry_count, compensating_from = given.compensating_from, undone = given.undone,
    failure_code = given.failure_code, failure_message = given.failure_message, unproductive_claims = 0,
    attention_reason = given.attention,
    needs_attention_at = CASE WHEN given.attention IS NOT NULL THEN COALESCE(entry.needs_attention_at, now()) END,
    updated_at = now(),
    next_retry_at = now() + wait_s * interval '1 second',
    claimed_by = CASE WHEN NOT is_over AND wait_s IS NULL THEN claimed_by END,
    claimed_until = CASE WHEN is_over OR wait_s IS NOT NULL THEN NULL
      WHEN claimed_until < now() + %(renew_below_s)s * interval '1 second'
      THEN now() + %(lease_s)s * interval '1 second' ELSE claimed_until END,
    due_at = CASE WHEN is_over THEN NULL WHEN wait_s IS NOT NULL THEN now() + wait_s * interval '1 second'
      WHEN claimed_until < now() + %(renew_below_s)s * interval '1 second'
      THEN GREATEST(due_at, now() + %(lease_s)s * interval '1 second') ELSE due_at END
  FROM given WHERE entry.id = given.id AND entry.claim_number = given.claim_number AND entry.status = given.was
  RETURNING entry.id, entry.claim_number, entry.status, is_over
), event AS (
  UPDATE outbox SET status = CASE saved.status WHEN 'COMPLETED' THEN 'PROCESSED' ELSE 'FAILED' END,
    processed_at = now()
  FROM saved WHERE saved.is_over AND outbox.order_ledger_id = saved.id
)
SELECT id, claim_number FROM saved
"""

# At shutdown: an entry that was claimed and not begun is due at once, and the claim is not held against it.
RELEASE = """
UPDATE order_ledger SET claimed_by = NULL, claimed_until = NULL, due_at = now(),
  unproductive_claims = GREATEST(unproductive_claims - 1, 0)
WHERE id = %(id)s AND claim_number = %(claim_number)s AND status = %(was)s RETURNING id
"""


class Store:
    """The ledger as the orchestrator sees it. Raises DatabaseUnavailable; what was in hand is left to its lease."""

    def __init__(self, database: Database, claimant: str, lease_s: float) -> None:
        self.database, self.claimant, self.lease_s = database, claimant, lease_s
        self._save = GroupCommit(self._save_all)

    def claim(self, limit: int) -> list[Saga]:
        """Take up at most `limit` entries that are due, the longest overdue first."""
        rows = self.database.all(
            CLAIM,
            limit=limit,
            claimant=self.claimant,
            lease_s=self.lease_s,
            max_claims=MAX_UNPRODUCTIVE_CLAIMS,
            set_aside_s=SET_ASIDE_S,
            abandoned=ABANDONED,
            abandoned_message="The request was not finished in time and is closed; nothing is held.",
        )
        for row in rows:
            if row["unproductive_claims"] > MAX_UNPRODUCTIVE_CLAIMS:
                log.error("needs attention: %s", row["attention_reason"], extra={"order_ledger_id": row["id"]})
        return [saga for row in rows if (saga := _readable(row))]

    def next_due_in(self) -> float | None:
        """Seconds until the next entry is due, as the database's clock has it; None: no entry is open."""
        row = self.database.one(NEXT_DUE)
        return None if row is None else float(row["seconds"])

    def save(self, was: Saga, now: Saga) -> bool:
        """Write down what the saga has become. False: it is not ours any more, stop."""
        return self._save(_entry(was, now))

    def _save_all(self, entries: Sequence[Row]) -> list[bool]:
        saved = self.database.all(
            SAVE,
            entries=json.dumps(entries),
            lease_s=self.lease_s,
            renew_below_s=self.lease_s * 0.75,  # two calls of 10 s at most each (void, then refund) fit in what is left
        )
        # Not by its id alone: an entry is given twice where its owner of before comes back beside that of now.
        ours = {(row["id"], row["claim_number"]) for row in saved}
        return [(entry["id"], entry["claim_number"]) in ours for entry in entries]

    def release(self, saga: Saga) -> None:
        """Give an entry back that we will not go on with."""
        self.database.one(RELEASE, id=saga.id, claim_number=saga.claim_number, was=saga.status)


def _readable(row: Row) -> Saga | None:
    """One entry that makes no sense must not stop the others: it is left to its lease, and set aside in the end."""
    try:
        return _saga(row)
    except (TypeError, ValueError):
        log.exception("cannot read this order", extra={"order_ledger_id": row["id"]})
        return None


def _saga(row: Row) -> Saga:
    failure = (row["failure_code"], row["failure_message"]) if row["failure_code"] else None
    return Saga(
        id=row["id"],
        claim_number=row["claim_number"],
        request_id=row["request_id"],
        user_id=row["user_id"],
        order_id=order_id_for(row["id"]),
        currency=row["currency"],
        total_amount_cents=row["total_amount_cents"],
        payment_authorization_id=row["payment_authorization_id"],
        items=tuple(row["items"]),
        status=Status(row["status"]),
        compensating_from=Status(row["compensating_from"]) if row["compensating_from"] else None,
        undone=tuple(row["undone"]),
        failure=failure,
        retry_count=row["retry_count"],
        attention=row["attention_reason"],
        undoing_s=row["undoing_s"] or 0,
    )


def _entry(was: Saga, now: Saga) -> Row:
    code, message = now.failure or (None, None)
    has_order = now.status not in (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_FAILED, Status.AUTHORIZED)
    return {
        "id": was.id,
        "claim_number": was.claim_number,
        "was": was.status,
        "status": now.status,
        "detail": now.detail,
        "order_id": now.order_id if has_order else None,
        "retry_count": now.retry_count,
        "compensating_from": now.compensating_from,
        "undone": list(now.undone),
        "failure_code": code,
        "failure_message": message,
        "attention": now.attention,
        "wait_s": now.wait_s,
        "is_over": now.status.is_terminal,
    }
