"""One valid row of each table, in the order of their foreign keys."""

ID = "11111111-1111-4111-8111-111111111111"
OTHER_ID = "22222222-2222-4222-8222-222222222222"
NOW = "2026-01-02T03:04:05Z"
DIGEST = "0" * 64
SECRET = "whsec_" + "A" * 43 + "="

# A refund needs a completed order.
BEFORE = {
    "refunds": "SET session_replication_role = replica;"
    " UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL, payment_authorization_id = 'auth_1';"
    " SET session_replication_role = origin"
}

VALID = {
    "products": {"id": ID, "sku": "sku-1", "name": "Widget", "price_cents": 999, "stock_quantity": 5},
    "product_versions": {"product_id": ID, "number": 1, "name": "Widget", "price_cents": 999, "is_active": True},
    "inventory_adjustments": {"id": ID, "product_id": ID, "quantity": -5, "reason": "correction"},
    "order_reservations": {"order_id": ID, "status": "RESERVED", "fingerprint": DIGEST},
    "inventory_reservations": {"id": ID, "order_id": ID, "product_id": ID, "quantity": 1},
    "inventory_idempotency_keys": {"scope": "stock", "key": "k1", "fingerprint": DIGEST},
    "orders": {
        "id": ID,
        "order_ledger_id": ID,
        "user_id": ID,
        "status": "CREATED",
        "total_amount_cents": 999,
        "currency": "USD",
        "fingerprint": DIGEST,
    },
    "order_items": {"order_id": ID, "position": 1, "product_id": ID, "quantity": 1, "unit_price_cents": 999},
    "payment_authorizations": {
        "id": "auth_1",
        "idempotency_key": "k1",
        "user_id": ID,
        "amount_cents": 999,
        "currency": "USD",
        "status": "CAPTURED",
        "capture_id": "cap_1",
        "captured_amount_cents": 999,
        "captured_at": NOW,
    },
    "payment_refunds": {"id": "re_1", "authorization_id": "auth_1", "idempotency_key": "k1", "amount_cents": 1},
    "gateway_holds": {
        "authorization_key": "k1",
        "authorization_id": "auth_1",
        "gateway": "stripe",
        "gateway_id": "pi_1",
        "amount_cents": 999,
        "currency": "USD",
        "fingerprint": DIGEST,
    },
    "gateway_refunds": {
        "id": "re_1",
        "authorization_id": "auth_1",
        "idempotency_key": "k1",
        "fingerprint": DIGEST,
        "amount_cents": 1,
        "gateway_id": "re_g1",
    },
    "payment_idempotency_keys": {"scope": "capture", "key": "k1", "fingerprint": DIGEST},
    "order_ledger": {
        "id": ID,
        "client": "shop",
        "client_request_id": "k1",
        "fingerprint": DIGEST,
        "user_id": ID,
        "email": "a@b.example",
        "total_amount_cents": 999,
        "currency": "USD",
        "request_id": "r1",
        "status": "AWAITING_AUTHORIZATION",
        "due_at": NOW,
    },
    "order_ledger_items": {
        "order_ledger_id": ID,
        "position": 1,
        "product_id": ID,
        "quantity": 1,
        "unit_price_cents": 999,
    },
    "order_ledger_history": {"order_ledger_id": ID, "id": 2, "to_status": "AUTHORIZED", "claim_number": 1},
    "outbox": {"order_ledger_id": ID, "event_type": "order.authorized", "payload": "{}"},
    "events": {
        "id": "evt_000000000000000000000001",
        "client": "shop",
        "order_ledger_id": ID,
        "sequence": 1,
        "type": "refund.succeeded",
        "status": "COMPLETED",
        "refund_id": ID,
    },
    "deleted_events": {"client": "shop", "type": "order.completed", "xid": "7", "position": 7},
    "webhook_endpoints": {
        "id": "we_1",
        "client": "shop",
        "url": "https://shop.example/hook",
        "event_types": "{*}",
        "cursor_xid": "1",
    },
    "webhook_secrets": {"endpoint_id": "we_1", "number": 1, "secret": SECRET},
    "webhook_deliveries": {
        "id": ID,
        "endpoint_id": "we_1",
        "event_id": "evt_000000000000000000000001",
        "message_id": "evt_000000000000000000000001",
        "type": "refund.succeeded",
        "order_ledger_id": ID,
        "sequence": 1,
        "due_at": NOW,
    },
    "refunds": {
        "id": ID,
        "order_ledger_id": ID,
        "idempotency_key": "k1",
        "amount_cents": 999,
        "restock": False,
        "reason": "other",
        "request_id": "r1",
    },
    "refund_items": {"refund_id": ID, "product_id": ID, "quantity": 1},
    "set_aside_refunds": {"refund_id": ID, "reason": "why", "retry_at": NOW},
    "edge_idempotency_keys": {"client": "shop", "key": "k1", "fingerprint": DIGEST},
    "set_aside_entries": {"order_ledger_id": ID, "reason": "why", "retry_at": NOW},
    "refused_requests": {
        "client": "shop",
        "client_request_id": "k1",
        "fingerprint": DIGEST,
        "response_status": 422,
        "response_body": "{}",
    },
    "pending_erasures": {"order_ledger_id": ID},
    "deleted_reservations": {"product_id": ID, "quantity": 1},
    "rate_limits": {"client": "shop", "tokens": 1},
    "request_rates": {"subject": "key:k", "tokens": 1},
    "declines": {"subject": "key:k", "at": NOW},
    "client_keys": {"id": "k1", "client": "shop", "secret_sha256": "\\x" + DIGEST, "scopes": "{orders:read}"},
    "operator_log": {"id": ID, "actor": "ada@host", "action": "attention.retry"},
}
