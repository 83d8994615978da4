"""Holdfast: `python -m orchestrator`, as in the Procfile, on ledger entries that wait for their first step."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from benchmarks.contenders.calls import AMOUNT_CENTS, ITEMS, USER_ID, authorization_id_for, request_id_for
from benchmarks.contenders.contender import InPostgres
from benchmarks.processes import python_of

# The rows that the Edge API writes before the saga starts (edge_api/store.py), for many orders at once.
AUTHORIZED_ENTRIES = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
    request_id, status, claim_number, due_at)
  SELECT id, 'bench', id, md5(id::text), %(user_id)s, 'a@b.example', %(amount)s, 'USD', request_id,
    'AWAITING_AUTHORIZATION', 1, now() + interval '60 s'
  FROM unnest(%(ids)s::uuid[], %(request_ids)s::text[]) AS saga (id, request_id);
INSERT INTO order_ledger_items (order_ledger_id, position, product_id, quantity, unit_price_cents)
  SELECT id, position, product_id, quantity, unit_price_cents
  FROM unnest(%(ids)s::uuid[]) AS id, unnest(%(product_ids)s::uuid[], %(quantities)s::int[], %(prices)s::bigint[])
    WITH ORDINALITY AS line (product_id, quantity, unit_price_cents, position);
UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = authorization_id, response_status = 202,
    response_body = '{}', due_at = now(), updated_at = now()
  FROM unnest(%(ids)s::uuid[], %(authorization_ids)s::text[]) AS saga (ledger_id, authorization_id)
  WHERE id = ledger_id;
INSERT INTO outbox (order_ledger_id, event_type, payload)
  SELECT id, 'order.authorized', jsonb_build_object('version', 1, 'order_ledger_id', id)
  FROM unnest(%(ids)s::uuid[]) AS id;
NOTIFY order_events
"""
OPEN = "SELECT EXISTS (SELECT FROM order_ledger WHERE due_at IS NOT NULL)"


class Holdfast(InPostgres):
    name = "Holdfast"
    migrated = True
    ready = "started with"
    # WORKER_THREADS. Tried: 8, 12, 16, 20 and 32. More threads make larger commit groups.
    threads: Mapping[int, int] = {1: 16, 2: 20}
    how = (
        "`python -m orchestrator`, default settings except WORKER_THREADS; each step's outcome is committed"
        " before the next step begins"
    )

    def command(self, processes: int) -> Sequence[str]:
        return [str(python_of(self.bench.checkout)), "-m", "orchestrator"]

    def environ(self, processes: int) -> Mapping[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "WORKER_THREADS": str(self.threads[processes]),
            "ORDERS_SERVICE_URL": self.stub.url,
            "INVENTORY_SERVICE_URL": self.stub.url,
            "PAYMENTS_SERVICE_URL": self.stub.url,
        }

    def put(self, sagas: int) -> None:
        ids = [str(uuid.uuid4()) for _ in range(sagas)]
        self.sql(
            AUTHORIZED_ENTRIES,
            ids=ids,
            request_ids=[request_id_for(id_) for id_ in ids],
            authorization_ids=[authorization_id_for(id_) for id_ in ids],
            user_id=USER_ID,
            amount=AMOUNT_CENTS,
            product_ids=[item["product_id"] for item in ITEMS],
            quantities=[item["quantity"] for item in ITEMS],
            prices=[item["unit_price_cents"] for item in ITEMS],
        )

    def is_done(self) -> bool:
        return not self.sql(OPEN)[0][0]
