"""Disturb the database: hold a lock on a product, poison a ledger entry."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2

from tests.chaos.fleet import Journal
from tests.system.stack import PROJECT

RETRY_S = 0.2  # after an error, mostly because the database restarts
RETRIES = 30  # of the operator's command, which takes about 0.5 s
LOCK = "SELECT id FROM products WHERE sku = %s FOR UPDATE"
# A poisoned entry refuses every write of an orchestrator.
POISON = """
CREATE TABLE chaos_poison (order_ledger_id uuid PRIMARY KEY);
CREATE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public
AS $$ BEGIN
  IF session_user = 'holdfast_orchestrator' AND EXISTS (SELECT FROM chaos_poison WHERE order_ledger_id = NEW.id) THEN
    RAISE EXCEPTION 'this entry is poisoned';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chaos_poison BEFORE UPDATE ON order_ledger FOR EACH ROW EXECUTE FUNCTION chaos_refuse();
"""
POISON_ONE = """
INSERT INTO chaos_poison
SELECT id FROM order_ledger WHERE due_at IS NOT NULL AND status <> 'AWAITING_AUTHORIZATION'
  AND id NOT IN (SELECT order_ledger_id FROM audit_attention)
ORDER BY created_at DESC LIMIT 1 FOR UPDATE SKIP LOCKED
RETURNING order_ledger_id::text
"""
CURE = "WITH gone AS (DELETE FROM chaos_poison WHERE order_ledger_id = %s) SELECT true"
# Also what an operator has dealt with, which leaves the view.
ATTENTION = """(
  SELECT order_ledger_id, refund_id, attention_reason, due_at FROM audit_attention
  UNION SELECT id, NULL, attention_reason, due_at FROM order_ledger WHERE needs_attention_at IS NOT NULL
  UNION SELECT order_ledger_id, id, attention_reason, due_at FROM refunds WHERE needs_attention_at IS NOT NULL
) AS attention"""
IS_MARKED = f"SELECT EXISTS (SELECT FROM {ATTENTION} WHERE order_ledger_id = %s)::text"


# A sale whose payment was captured cannot be undone with a card that refuses every refund, until its bank gives in.
ALLOW_REFUNDS = """
WITH held AS (
  SELECT id, payment_authorization_id FROM order_ledger
  WHERE status = 'COMPENSATING' AND attention_reason LIKE 'void_payment was refused: refund_declined%'
), allowed AS (
  UPDATE payment_authorizations SET refuses_refund = false
  WHERE refuses_refund AND id IN (SELECT payment_authorization_id FROM held)
), forgotten AS (
  DELETE FROM payment_idempotency_keys AS refused USING held
  WHERE refused.scope = 'refund' AND refused.status = 402 AND refused.key = 'refund:' || held.id
)
SELECT COALESCE(string_agg(gateway_id, ' '), '')
FROM held JOIN gateway_holds ON authorization_id = payment_authorization_id
"""
# Nor does a machine that is too busy for its leases finish an order: it is set aside without being poisoned. A poisoned
# one is not retried while its lease runs, which may be longer than the cure tries.
NEEDS_OPERATOR = f"""
SELECT COALESCE(refund_id, order_ledger_id)::text FROM {ATTENTION}
WHERE (attention_reason LIKE 'claimed % times in a row without an outcome'
  OR attention_reason LIKE '%this entry is poisoned'
  OR attention_reason LIKE 'void_payment was refused: refund_declined%') AND due_at > now() + interval '5 seconds'
LIMIT 1
"""


class DatabaseFaults:
    """`over`: set when the disturbances end. Every method survives a restart of the database.

    `allow_refunds`: called with a gateway's id of a payment whose bank gives in.
    """

    def __init__(self, url: str, journal: Journal, over: threading.Event, allow_refunds: Callable[[str], None]) -> None:
        self._url, self._journal, self._over, self._allow_refunds = url, journal, over, allow_refunds
        self.unmarked: list[str] = []
        """Entries that were poisoned for their full time but never marked."""
        with self._cursor() as cursor:
            cursor.execute(POISON)

    def lock_product(self, sku: str, seconds: float) -> None:
        """Hold the lock that a reservation of this product needs."""
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0 and not self._over.wait(RETRY_S):
            with suppress(psycopg2.Error), self._cursor() as cursor:
                cursor.execute(LOCK, (sku,))
                self._journal.write("lock", sku, seconds=left_s)
                self._over.wait(left_s)

    def poison(self, seconds: float) -> None:
        """Poison an entry that is being processed; cure it when it is marked, or when the time is up."""
        id_ = self._until_found(POISON_ONE)
        if id_ is None:
            return
        self._journal.write("poison", id_)
        deadline = time.monotonic() + seconds
        while not (is_marked := self._first(IS_MARKED, id_) == "true") and time.monotonic() < deadline:
            if self._over.wait(RETRY_S):
                break
        else:
            self._journal.write("marked" if is_marked else "unmarked", id_)
            if not is_marked:
                self.unmarked.append(id_)
        self._cure(id_)

    def _cure(self, id_: str) -> None:
        """Remove the cause and make the entry due, as an operator would."""
        while self._first(CURE, id_) is None:
            time.sleep(RETRY_S)
        for _ in range(RETRIES):
            if self._first(IS_MARKED, id_) == "false" or self._is_retried(id_):
                break
            time.sleep(RETRY_S)
        self._journal.write("cure", id_)

    def operate(self) -> None:
        """Do what an operator would after an outage for an order that does not end by itself."""
        for gateway_id in (self._first(ALLOW_REFUNDS) or "").split():
            self._allow_refunds(gateway_id)
        id_ = self._first(NEEDS_OPERATOR)
        if id_ and self._is_retried(id_):
            self._journal.write("retry", id_)

    def _is_retried(self, id_: str) -> bool:
        environ = {**os.environ, "DATABASE_URL": self._url}
        command = [sys.executable, "-m", "ops", "attention", "retry", id_]
        return subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, check=False).returncode == 0

    def _until_found(self, sql: str) -> str | None:
        while not (found := self._first(sql)):
            if self._over.wait(RETRY_S):
                return None
        return found

    def _first(self, sql: str, *values: Any) -> str | None:
        """Return the first value of the statement; None also while the database is down."""
        try:
            with self._cursor() as cursor:
                cursor.execute(sql, values or None)
                row = cursor.fetchone()
                return str(row[0]) if row else None
        except psycopg2.Error:
            return None

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """A cursor in its own transaction."""
        connection = psycopg2.connect(self._url, connect_timeout=2)
        with closing(connection), connection, connection.cursor() as cursor:
            yield cursor
