"""Do the books agree? Each query finds what must not be, once every order is in a terminal state; no rows: healthy."""

from __future__ import annotations

from typing import Any

import psycopg2

VIOLATIONS = {
    "an order that is not in a terminal state": """
        SELECT id, status, status_detail, retry_count FROM order_ledger WHERE due_at IS NOT NULL""",
    "stock is not adjustments minus live reservations": """
        SELECT p.id, p.stock_quantity FROM products p WHERE p.stock_quantity <>
          (SELECT COALESCE(sum(a.quantity), 0) FROM inventory_adjustments a WHERE a.product_id = p.id)
          - (SELECT COALESCE(sum(r.quantity), 0) FROM inventory_reservations r
             WHERE r.product_id = p.id AND r.released_at IS NULL)""",
    "COMPLETED without its confirmed order": """
        SELECT l.id FROM order_ledger l LEFT JOIN orders o ON o.order_ledger_id = l.id
        WHERE l.status = 'COMPLETED' AND (o.status IS DISTINCT FROM 'CONFIRMED'
          OR o.total_amount_cents <> l.total_amount_cents OR o.id <> l.order_id)""",
    "COMPLETED without exactly its payment": """
        SELECT l.id FROM order_ledger l LEFT JOIN payment_authorizations a ON a.id = l.payment_authorization_id
        WHERE l.status = 'COMPLETED' AND (a.status IS DISTINCT FROM 'CAPTURED'
          OR a.captured_amount_cents IS DISTINCT FROM l.total_amount_cents OR a.refunded_amount_cents <> 0)""",
    "COMPLETED without exactly its reservations": """
        SELECT l.id FROM order_ledger l WHERE l.status = 'COMPLETED' AND EXISTS (
          SELECT product_id, quantity FROM order_ledger_items i WHERE i.order_ledger_id = l.id
          EXCEPT SELECT product_id, quantity FROM inventory_reservations r
            WHERE r.order_id = l.order_id AND r.released_at IS NULL)""",
    "FAILED with money kept": """
        SELECT l.id, a.status FROM order_ledger l JOIN payment_authorizations a
          ON a.id = l.payment_authorization_id OR a.idempotency_key = 'authorize:' || l.id
        WHERE l.status IN ('FAILED', 'AUTHORIZATION_FAILED')
          AND (a.status = 'AUTHORIZED' OR COALESCE(a.captured_amount_cents, 0) <> a.refunded_amount_cents)""",
    "FAILED with stock kept": """
        SELECT l.id FROM order_ledger l JOIN inventory_reservations r ON r.order_id = l.order_id
        WHERE l.status IN ('FAILED', 'AUTHORIZATION_FAILED') AND r.released_at IS NULL""",
    "FAILED with a live order": """
        SELECT l.id FROM order_ledger l JOIN orders o ON o.order_ledger_id = l.id
        WHERE l.status IN ('FAILED', 'AUTHORIZATION_FAILED') AND o.status <> 'CANCELLED'""",
    "an order, a hold or a reservation without its ledger entry": """
        SELECT id::text FROM orders o WHERE order_ledger_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM order_ledger l WHERE l.id = o.order_ledger_id)
        UNION ALL SELECT a.id FROM payment_authorizations a WHERE a.status IN ('AUTHORIZED', 'CAPTURED')
          AND NOT EXISTS (SELECT FROM order_ledger l WHERE l.payment_authorization_id = a.id)
        UNION ALL SELECT r.id::text FROM inventory_reservations r WHERE r.released_at IS NULL
          AND NOT EXISTS (SELECT FROM order_ledger l WHERE l.order_id = r.order_id)""",
    "not exactly one closed event for an order that was authorized": """
        SELECT l.id, count(e.id) FROM order_ledger l LEFT JOIN outbox e ON e.order_ledger_id = l.id
          AND e.status = CASE l.status WHEN 'COMPLETED' THEN 'PROCESSED' ELSE 'FAILED' END
        WHERE l.status IN ('COMPLETED', 'FAILED') GROUP BY l.id HAVING count(e.id) <> 1""",
    "a history with a gap": """
        SELECT id FROM (SELECT id, from_status, lag(to_status) OVER w AS before, claim_number,
          lag(claim_number) OVER w AS claim_before FROM order_ledger_history
          WINDOW w AS (PARTITION BY order_ledger_id ORDER BY id)) h
        WHERE from_status IS DISTINCT FROM before OR claim_number < claim_before""",
}


def violations(url: str) -> dict[str, list[Any]]:
    """What is wrong, by name; empty when the books agree."""
    found = {}
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for name, query in VIOLATIONS.items():
            cursor.execute(query)
            if rows := cursor.fetchall():
                found[name] = rows
    connection.close()
    return found
