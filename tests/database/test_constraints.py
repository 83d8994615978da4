"""Every constraint of every table, violated once on purpose. The last test fails if a new one has no case here."""

import psycopg2
import pytest

from domain.money import MAX_CENTS
from tests.database.catalog import VERSION_TABLE
from tests.database.valid_rows import BEFORE, ID, NOW, OTHER_ID, VALID

TOO_MUCH = MAX_CENTS + 1
NO_TRACE_PARENTS = [
    "",
    f"01-{'1' * 32}-{'2' * 16}-01",
    f"00-{'0' * 32}-{'2' * 16}-01",
    f"00-{'1' * 32}-{'0' * 16}-01",
    f"00-{'1' * 32}-{'2' * 16}-01-",
]
CHECKS = {
    "products": {
        "price_cents": [{"price_cents": 0}, {"price_cents": TOO_MUCH}],
        "stock_quantity": [{"stock_quantity": -1}],
    },
    "product_versions": {
        "number": [{"number": 0}],
        "price_cents": [{"price_cents": 0}, {"price_cents": TOO_MUCH}],
    },
    "inventory_adjustments": {"quantity": [{"quantity": 0}], "reason": [{"reason": "stolen"}]},
    "order_reservations": {
        "status": [{"status": "LOST"}],
        "fingerprint": [{"fingerprint": None}],
        "released_at": [{"released_at": NOW}, {"status": "RELEASED"}],
    },
    "inventory_reservations": {"quantity": [{"quantity": 0}]},
    "inventory_idempotency_keys": {"answer": [{"status": 200}, {"body": "{}"}]},
    "orders": {
        "status": [{"status": "LOST"}],
        "total_amount_cents": [{"total_amount_cents": 0}, {"total_amount_cents": TOO_MUCH}],
        "content": [{"user_id": None}, {"status": "CANCELLED", "currency": None}],
    },
    "order_items": {
        "quantity": [{"quantity": 0}, {"quantity": 101}],
        "unit_price_cents": [{"unit_price_cents": 0}, {"unit_price_cents": TOO_MUCH}],
    },
    "payment_authorizations": {
        "status": [{"status": "LOST", "capture_id": None, "captured_amount_cents": None, "captured_at": None}],
        "amount": [{"amount_cents": TOO_MUCH}, {"amount_cents": -1, "captured_amount_cents": -1}],
        "tombstone": [
            {"user_id": None},
            {"user_id": None, "currency": None, "amount_cents": None},
            {"user_id": None, "status": "VOIDED", "voided_at": NOW, "capture_id": None}
            | {"captured_amount_cents": None, "captured_at": None},
        ],
        "declined": [{"decline_code": "card_expired"}],
        "captured": [{"capture_id": None}, {"captured_at": None}, {"status": "AUTHORIZED"}],
        "captured_amount": [{"captured_amount_cents": 0}, {"captured_amount_cents": 1000}],
        "refuses_capture": [{"refuses_capture": True}],
        "refunded_amount": [{"refunded_amount_cents": -1}],
        "pending_refund": [
            {"pending_refund_cents": -1},
            {"pending_refund_cents": 1000},
            {"refunded_amount_cents": 1000},
            {"refunded_amount_cents": 1, "pending_refund_cents": 999},
        ],
        "refuses_refund": [
            {"refuses_refund": True, "refunded_amount_cents": 1},
            {"refuses_refund": True, "pending_refund_cents": 1},
        ],
        "refunded": [{"refunded_amount_cents": 999}, {"status": "REFUNDED", "refunded_amount_cents": 998}],
        "voided": [{"voided_at": NOW}],
        "void_reason": [{"void_reason": "order failed"}],
    },
    "payment_refunds": {
        "amount": [{"amount_cents": 0}],
        "status": [{"status": "LOST"}],
        "settled_at": [{"status": "PENDING", "settled_at": NOW}],
        "failed_at": [{"status": "FAILED"}, {"failed_at": NOW}],
    },
    "gateway_holds": {
        "asked": [
            {"amount_cents": None},
            {"amount_cents": None, "currency": None, "fingerprint": None, "closed_at": NOW},
            {"amount_cents": None, "currency": None, "fingerprint": None, "gateway_id": None},
        ]
    },
    "gateway_refunds": {"amount": [{"amount_cents": 0}]},
    "payment_idempotency_keys": {"answer": [{"status": 200}, {"body": "{}"}]},
    "order_ledger": {
        "status": [{"status": "LOST", "payment_authorization_id": "auth_1"}],
        "total_amount_cents": [{"total_amount_cents": 0}, {"total_amount_cents": TOO_MUCH}],
        "refunded_cents": [{"refunded_cents": -1}],
        "refund_reserved_cents": [
            {"status": "COMPLETED", "payment_authorization_id": "auth_1", "due_at": None} | amounts
            for amounts in (
                {"refund_reserved_cents": 1000},
                {"refund_reserved_cents": -1},
                {"refund_reserved_cents": 1, "refunded_cents": 2},
                {"refund_reserved_cents": 999, "refunded_cents": 1000},
            )
        ],
        "refund_reserved_is_completed": [{"refund_reserved_cents": 1}],
        "trace_parent": [{"trace_parent": each} for each in NO_TRACE_PARENTS],
        "due_until_terminal": [{"due_at": None}, {"status": "COMPLETED", "payment_authorization_id": "auth_1"}],
        "attention": [{"needs_attention_at": NOW}, {"attention_reason": "why"}],
        "claim": [{"claimed_by": "worker"}, {"claimed_until": NOW}],
        "response": [{"response_status": 202}, {"response_body": "{}"}],
        "authorized_has_authorization": [{"status": "AUTHORIZED"}],
        "compensating_from": [{"status": "COMPENSATING", "payment_authorization_id": "auth_1"}],
        "cancellation": [{"cancel_reason": "other"}, {"cancel_note": "a"}, {"cancel_requested_at": NOW}],
        "failure_has_reason": [{"status": "AUTHORIZATION_FAILED", "due_at": None}],
        "failed_is_undone": [
            {"status": "FAILED", "due_at": None, "payment_authorization_id": "auth_1", "failure_code": "x"}
            | {"compensating_from": turned_back_from, "undone": undone}
            for turned_back_from, undone in [
                (None, []),
                ("AUTHORIZED", ["void_payment"]),
                ("ORDER_CREATED", ["void_payment", "cancel_order"]),
            ]
        ],
    },
    "attempts": {"kind": [{"kind": "deferred"}], "message": [{"message": "x" * 501}]},
    "order_ledger_items": {
        "quantity": [{"quantity": 0}, {"quantity": 101}],
        "refunded_quantity": [{"refunded_quantity": -1}, {"refunded_quantity": 2}],
        "unit_price_cents": [{"unit_price_cents": 0}, {"unit_price_cents": TOO_MUCH}],
    },
    "refunds": {
        "status": [{"status": "LOST"}],
        "amount_cents": [{"amount_cents": 0}, {"amount_cents": TOO_MUCH}],
        "reason": [{"reason": "because"}],
        "trace_parent": [{"trace_parent": each} for each in NO_TRACE_PARENTS],
        "due_until_terminal": [{"due_at": None}, {"status": "SUCCEEDED"}],
        "claim": [{"claimed_by": "worker"}, {"claimed_until": NOW}],
        "attention": [{"needs_attention_at": NOW}, {"attention_reason": "why"}],
        "failure": [
            {"status": "FAILED", "due_at": None},
            {"failure_code": "x", "failure_message": "why"},
            {"failure_message": "why"},
            {"status": "FAILED", "due_at": None, "failure_code": "x"},
        ],
        "restock": [{"status": "RESTOCKED"}, {"status": "PAYMENT_REFUNDED", "restocked": "{" + ID + "}"}],
        "money_comes_first": [
            {"restock": True, "restocked": "{" + ID + "}"},
            {"restock": True, "restocked": "{" + ID + "}", "status": "FAILED", "due_at": None}
            | {"failure_code": "x", "failure_message": "why"},
        ],
        "not_restocked": [
            {"status": "PAYMENT_REFUNDED", "not_restocked": "{" + ID + "}"},
            {"restock": True, "not_restocked": "{" + ID + "}"},
            {"restock": True, "status": "PAYMENT_REFUNDED"}
            | {"restocked": "{" + ID + "}", "not_restocked": "{" + ID + "}"},
        ],
    },
    "refund_items": {"quantity": [{"quantity": 0}, {"quantity": 101}]},
    "edge_idempotency_keys": {"answer": [{"status": 200}, {"body": "{}"}]},
    "outbox": {
        "status": [{"status": "LOST", "processed_at": NOW}],
        "processed_at": [{"processed_at": NOW}, {"status": "PROCESSED"}, {"status": "FAILED"}],
    },
    "events": {
        "sequence": [{"sequence": 0}],
        "type": [{"type": "order.lost", "refund_id": None}],
        "refund_id": [{"refund_id": None}, {"type": "order.completed"}],
    },
    "deleted_events": {"type": [{"type": "order.lost"}]},
    "webhook_endpoints": {
        "status": [{"status": "paused", "disabled_at": None}],
        "disabled": [
            {"status": "disabled"},
            {"status": "disabled", "disabled_at": NOW},
            {"disabled_at": NOW, "disabled_reason": "why"},
        ],
        "event_types": [{"event_types": "{}"}],
        "warnings": [{"warnings": 1}, {"warnings": -1, "failing_since": NOW}],
    },
    "webhook_secrets": {"number": [{"number": 0}], "secret": [{"secret": "whsec_short"}]},
    "webhook_deliveries": {
        "status": [{"status": "lost", "due_at": None, "ended_at": NOW}],
        "pending": [{"due_at": None}, {"ended_at": NOW}, {"status": "failed", "ended_at": NOW}],
        "claim": [
            {"claimed_by": "me"},
            {"claimed_until": NOW},
            {"claimed_by": "me", "claimed_until": NOW, "status": "failed", "due_at": None, "ended_at": NOW},
        ],
        "event": [{"message_id": "evt_2"}, {"order_ledger_id": None}, {"sequence": None}],
        "attempts": [{"attempts": -1}],
        "response_body": [{"response_body": "x" * 1025}],
    },
    "operator_alerts": {
        "count": [{"count": 0}, {"told_count": 0}],
        "event": [{"event": "told"}],
        "ended": [{"event": "ended"}, {"ended_at": NOW}],
        "message": [{"event": None}, {"message_id": None}, {"due_at": None}],
        "attempts": [{"attempts": -1}],
    },
    "rate_limits": {"tokens": [{"tokens": -0.1}]},
    "client_keys": {"secret_sha256": [{"secret_sha256": "\\x00"}]},
    "request_rates": {"tokens": [{"tokens": -0.1}]},
    "operator_log": {
        "size": [{"actor": "a" * 1025}, {"action": "a" * 101}, {"details": '{"a": "' + "b" * 65536 + '"}'}],
    },
    "deleted_reservations": {"quantity": [{"quantity": 0}]},
    "order_minutes": {"durations": [{"durations": "{1,2}"}]},
    "order_totals": {"durations": [{"durations": "{1,2}"}], "is_only": [{"is_only": False}]},
    "audit_runs": {"took_ms": [{"took_ms": -1}], "healthy": [{"healthy": False}, {"rows_found": 1}]},
    "operator_keys": {"role": [{"role": "root"}], "secret_sha256": [{"secret_sha256": "\\x00"}]},
    "operator_sessions": {"role": [{"role": "root"}], "token_sha256": [{"token_sha256": "\\x00"}]},
    "order_notes": {"text": [{"text": ""}, {"text": "x" * 2001}]},
    "dealt_with": {"reason": [{"reason": ""}, {"reason": "x" * 501}]},
    "bulk_jobs": {
        "action": [{"action": "refund"}],
        "state": [{"state": "lost"}],
        "stop_reason": [{"state": "stopped", "stop_reason": "why", "ended_at": NOW}],
        "stopped": [{"state": "stopped", "ended_at": NOW}, {"stop_reason": "key"}],
        "ended": [{"ended_at": NOW}, {"state": "done"}],
        "rate": [{"rate_per_s": 0}, {"rate_per_s": 51}],
        "reason": [{"reason": ""}, {"reason": "x" * 501}],
        "note": [{"note": ""}, {"note": "x" * 501}],
        "sums": [{"done": 1}, {"refused": 1}, {"next_number": 2, "done": 1}],
    },
    "bulk_job_items": {
        "result": [{"result": "lost", "ended_at": NOW}],
        "ended": [{"result": "done"}, {"ended_at": NOW}],
        "refusal": [
            {"result": "refused", "ended_at": NOW},
            {"result": "refused", "ended_at": NOW, "code": "x"},
            {"result": "done", "ended_at": NOW, "code": "x", "message": "why"},
            {"message": "why"},
        ],
    },
}
CHECK_CASES = [
    (table, f"ck_{table}_{name}", changes)
    for table, checks in CHECKS.items()
    for name, cases in checks.items()
    for changes in cases
]
# table, constraint, changes to a second row so that only the constrained columns equal the first row's
UNIQUE_CASES = [
    ("operator_log", "pk_operator_log", {"id": ID}),
    ("products", "pk_products", {"sku": "sku-2"}),
    ("products", "uq_products_sku", {"id": OTHER_ID}),
    ("product_versions", "pk_product_versions", {"price_cents": 1}),
    ("inventory_adjustments", "pk_inventory_adjustments", {}),
    ("order_reservations", "pk_order_reservations", {"fingerprint": "1" * 64}),
    ("inventory_reservations", "pk_inventory_reservations", {"product_id": OTHER_ID}),
    ("inventory_reservations", "uq_inventory_reservations_order_id_product_id", {"id": OTHER_ID}),
    ("edge_idempotency_keys", "pk_edge_idempotency_keys", {"fingerprint": "1" * 64}),
    ("inventory_idempotency_keys", "pk_inventory_idempotency_keys", {"fingerprint": "1" * 64}),
    ("orders", "pk_orders", {"order_ledger_id": OTHER_ID}),
    ("orders", "uq_orders_order_ledger_id", {"id": OTHER_ID}),
    ("order_items", "pk_order_items", {"product_id": OTHER_ID}),
    ("order_items", "uq_order_items_order_id_product_id", {"position": 2}),
    ("payment_authorizations", "pk_payment_authorizations", {"idempotency_key": "k2", "capture_id": "cap_2"}),
    ("payment_authorizations", "uq_payment_authorizations_idempotency_key", {"id": "auth_2", "capture_id": "cap_2"}),
    ("payment_authorizations", "uq_payment_authorizations_capture_id", {"id": "auth_2", "idempotency_key": "k2"}),
    ("payment_refunds", "pk_payment_refunds", {"idempotency_key": "k2"}),
    ("payment_refunds", "uq_payment_refunds_idempotency_key", {"id": "re_2"}),
    ("gateway_holds", "pk_gateway_holds", {"authorization_id": "auth_2", "gateway_id": "pi_2"}),
    ("gateway_holds", "uq_gateway_holds_authorization_id", {"authorization_key": "k2", "gateway_id": "pi_2"}),
    ("gateway_holds", "uq_gateway_holds_gateway_id", {"authorization_key": "k2", "authorization_id": "auth_2"}),
    ("gateway_refunds", "pk_gateway_refunds", {"idempotency_key": "k2", "gateway_id": "re_g2"}),
    ("gateway_refunds", "uq_gateway_refunds_idempotency_key", {"id": "re_2", "gateway_id": "re_g2"}),
    ("gateway_refunds", "uq_gateway_refunds_gateway_id", {"id": "re_2", "idempotency_key": "k2"}),
    ("payment_idempotency_keys", "pk_payment_idempotency_keys", {"fingerprint": "1" * 64}),
    ("order_ledger", "pk_order_ledger", {"client_request_id": "k2"}),
    ("order_ledger", "uq_order_ledger_client_client_request_id", {"id": OTHER_ID}),
    ("order_ledger_items", "pk_order_ledger_items", {"product_id": OTHER_ID}),
    ("order_ledger_items", "uq_order_ledger_items_order_ledger_id_product_id", {"position": 2}),
    ("order_ledger_history", "pk_order_ledger_history", {"to_status": "ORDER_CREATED"}),
    ("attempts", "pk_attempts", {"attempt": 2}),
    ("process_heartbeats", "pk_process_heartbeats", {"pid": 2}),
    ("webhook_endpoints", "pk_webhook_endpoints", {"url": "https://other.example"}),
    ("webhook_secrets", "pk_webhook_secrets", {"valid_until": NOW}),
    ("webhook_deliveries", "pk_webhook_deliveries", {"event_id": None, "order_ledger_id": None, "sequence": None}),
    ("webhook_deliveries", "uq_webhook_deliveries_event_id_endpoint_id", {"id": OTHER_ID}),
    ("operator_alerts", "pk_operator_alerts", {"message_id": "alert_2"}),
    ("operator_alerts", "uq_operator_alerts_message_id", {"subject": "orchestrator"}),
    ("outbox", "pk_outbox", {"payload": "[]"}),
    ("events", "pk_events", {"order_ledger_id": OTHER_ID, "refund_id": OTHER_ID}),
    ("events", "uq_events_order_ledger_id_sequence", {"id": "evt_2", "refund_id": OTHER_ID}),
    ("deleted_events", "pk_deleted_events", {"position": 8}),
    ("refunds", "pk_refunds", {"idempotency_key": "k2"}),
    ("refund_items", "pk_refund_items", {}),
    ("set_aside_refunds", "pk_set_aside_refunds", {"reason": "another"}),
    ("edge_idempotency_keys", "pk_edge_idempotency_keys", {"fingerprint": "1" * 64}),
    ("set_aside_entries", "pk_set_aside_entries", {"reason": "another"}),
    ("refused_requests", "pk_refused_requests", {"fingerprint": "1" * 64}),
    ("rate_limits", "pk_rate_limits", {"tokens": 2}),
    ("request_rates", "pk_request_rates", {"tokens": 2}),
    ("client_keys", "pk_client_keys", {"client": "till"}),
    ("declines", "pk_declines", {}),
    ("operator_keys", "pk_operator_keys", {"name": "bob"}),
    ("operator_sessions", "pk_operator_sessions", {"name": "bob"}),
    ("order_notes", "pk_order_notes", {"text": "another"}),
    ("dealt_with", "pk_dealt_with", {"reason": "another"}),
    ("bulk_jobs", "pk_bulk_jobs", {"key": "k2"}),
    ("bulk_job_items", "pk_bulk_job_items", {"order_ledger_id": OTHER_ID}),
    ("pending_erasures", "pk_pending_erasures", {"requested_at": NOW}),
    ("deleted_reservations", "pk_deleted_reservations", {"quantity": 2}),
    ("order_minutes", "pk_order_minutes", {"accepted": 2}),
    ("order_totals", "pk_order_totals", {"accepted": 2}),
    ("audit_runs", "pk_audit_runs", {"took_ms": 6}),
]
FOREIGN_KEY_CASES = [
    ("inventory_adjustments", "fk_inventory_adjustments_product_id_products", {"product_id": OTHER_ID}),
    ("inventory_reservations", "fk_inventory_reservations_order_id_order_reservations", {"order_id": OTHER_ID}),
    ("inventory_reservations", "fk_inventory_reservations_product_id_products", {"product_id": OTHER_ID}),
    ("order_items", "fk_order_items_order_id_orders", {"order_id": OTHER_ID}),
    (
        "payment_refunds",
        "fk_payment_refunds_authorization_id_payment_authorizations",
        {"authorization_id": "auth_2"},
    ),
    ("order_ledger_items", "fk_order_ledger_items_order_ledger_id_order_ledger", {"order_ledger_id": OTHER_ID}),
    ("order_ledger_history", "fk_order_ledger_history_order_ledger_id_order_ledger", {"order_ledger_id": OTHER_ID}),
    ("webhook_secrets", "fk_webhook_secrets_endpoint_id_webhook_endpoints", {"endpoint_id": "we_2"}),
    ("webhook_deliveries", "fk_webhook_deliveries_endpoint_id_webhook_endpoints", {"endpoint_id": "we_2"}),
    (
        "webhook_deliveries",
        "fk_webhook_deliveries_event_id_events",
        {"event_id": "evt_2", "message_id": "evt_2"},
    ),
    ("refunds", "fk_refunds_order_ledger_id_order_ledger", {"order_ledger_id": OTHER_ID}),
    ("refund_items", "fk_refund_items_refund_id_refunds", {"refund_id": OTHER_ID}),
    ("bulk_job_items", "fk_bulk_job_items_job_id_bulk_jobs", {"job_id": OTHER_ID}),
    ("outbox", "fk_outbox_order_ledger_id_order_ledger", {"order_ledger_id": OTHER_ID}),
]


@pytest.fixture
def refusal(sql):
    """Return the constraint that refuses a row, with all referenced rows present."""

    def insert(table, row, *, with_first_row):
        for name, valid in VALID.items():
            if name in BEFORE:
                sql(BEFORE[name])
            if name == table and not with_first_row:
                break
            sql.insert(name, valid)
        with pytest.raises(psycopg2.IntegrityError) as caught:
            sql.insert(table, row)
        return caught.value.diag

    return insert


def test_valid_rows_are_accepted(sql):
    for table, row in VALID.items():
        if table in BEFORE:
            sql(BEFORE[table])
        sql.insert(table, row)
    assert set(VALID) == {name for (name,) in sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")} - {
        VERSION_TABLE
    }


@pytest.mark.parametrize(("table", "constraint", "changes"), CHECK_CASES)
def test_check_refuses_a_row(refusal, table, constraint, changes):
    diag = refusal(table, VALID[table] | changes, with_first_row=False)
    assert (diag.sqlstate, diag.constraint_name) == ("23514", constraint)


@pytest.mark.parametrize(("table", "constraint", "changes"), UNIQUE_CASES)
def test_unique_key_refuses_a_second_row(refusal, table, constraint, changes):
    diag = refusal(table, VALID[table] | changes, with_first_row=True)
    assert (diag.sqlstate, diag.constraint_name) == ("23505", constraint)


@pytest.mark.parametrize(("table", "constraint", "changes"), FOREIGN_KEY_CASES)
def test_foreign_key_refuses_an_unknown_row(refusal, table, constraint, changes):
    diag = refusal(table, VALID[table] | changes, with_first_row=False)
    assert (diag.sqlstate, diag.constraint_name) == ("23503", constraint)


@pytest.mark.parametrize("table", VALID)
def test_required_column_refuses_null(sql, table):
    required = sql(
        "SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 AND attnotnull"
        " AND attidentity = ''",
        table=table,
    )
    sql("SET session_replication_role = replica")  # disables foreign keys, so that any row of the table will do
    for (column,) in required:
        with pytest.raises(psycopg2.errors.NotNullViolation) as caught:
            sql.insert(table, VALID[table] | {column: None})
        assert caught.value.diag.column_name == column


def test_every_constraint_has_a_case(sql):
    found = sql(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " AND contype NOT IN ('n', 't')"  # NOT NULL has its own test; a constraint trigger is not a constraint
    )
    cases = {(table, constraint) for table, constraint, _ in CHECK_CASES + UNIQUE_CASES + FOREIGN_KEY_CASES}
    assert {row for row in found if row[0] != VERSION_TABLE} == cases
