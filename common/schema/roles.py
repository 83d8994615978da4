"""The database roles of the processes, and the rights of each. `python -m ops roles` creates them.

The owner of the tables is another role: it migrates, and runs the commands of operators that change something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

AUDIT = "audit"
SESSIONS = "client_sessions()"
"""The function that shows `ops check`, and no process, the sessions of all roles without their statements."""
# Every role may check the schema's version and add to the record of operators. `at` and `database_role` have defaults
# that the writer cannot replace.
COMMON = {"holdfast_version": "SELECT", "operator_log": "INSERT (actor, action, details)"}
HEARTBEATS = {
    "process_heartbeats": "SELECT, INSERT, UPDATE (seen_at, is_listening, pools, open_breakers, loops), DELETE"
}

# What each process may do, as GRANT takes it. A table without an entry is out of reach. Nothing may be deleted
# but the counters of limits, former secrets, sessions of operators, old figures, and signs of life.
RIGHTS: dict[str, dict[str, str]] = {
    "edge_api": {
        "order_ledger": "SELECT, INSERT, UPDATE (status, status_detail, payment_authorization_id, failure_code,"
        " failure_message, response_status, response_body, due_at, claimed_by, claimed_until, claim_number,"
        " updated_at, cancel_requested_at, cancel_reason, cancel_note)",
        "order_ledger_items": "SELECT, INSERT",
        "order_ledger_history": "SELECT",  # written by a trigger, with the owner's rights
        "outbox": "INSERT",
        "events": "SELECT",  # as the history
        "deleted_events": "SELECT",
        "set_aside_entries": "SELECT",
        # Triggers write the order's sums, with the owner's rights.
        "refunds": "SELECT, INSERT (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, note,"
        " request_id, trace_parent)",
        "refund_items": "SELECT, INSERT",
        "edge_idempotency_keys": "SELECT, INSERT, UPDATE (status, body)",
        "refused_requests": "SELECT, INSERT",
        "rate_limits": "SELECT, INSERT, UPDATE (tokens, refilled_at)",
        "request_rates": "SELECT, INSERT, UPDATE (tokens, refilled_at), DELETE",
        "declines": "SELECT, INSERT, DELETE",
        "client_keys": "SELECT, UPDATE (last_used_at)",
        "webhook_endpoints": "SELECT, INSERT, UPDATE (url, event_types, description, status, disabled_at,"
        " disabled_reason, failing_since, warnings, updated_at, deleted_at)",
        # It makes secrets and shows them once, but cannot read them again.
        "webhook_secrets": "SELECT (endpoint_id, number, valid_until), INSERT, UPDATE (valid_until), DELETE",
        "webhook_deliveries": "SELECT, INSERT, UPDATE (status, due_at, attempts, first_attempt_at, ended_at)",
    },
    "orders_service": {
        "orders": "SELECT, INSERT, UPDATE (status, updated_at)",
        "order_items": "SELECT, INSERT",
    },
    "inventory_service": {
        "products": "SELECT, INSERT, UPDATE (stock_quantity)",
        "product_versions": "SELECT, INSERT",
        "inventory_adjustments": "SELECT, INSERT",
        "order_reservations": "SELECT, INSERT, UPDATE (status, released_at)",
        "inventory_reservations": "SELECT, INSERT, UPDATE (released_at)",
        "inventory_idempotency_keys": "SELECT, INSERT, UPDATE (status, body)",
    },
    "payments_service": {
        "payment_authorizations": "SELECT, INSERT, UPDATE (status, capture_id, captured_amount_cents, captured_at,"
        " void_reason, voided_at, refunded_amount_cents, pending_refund_cents)",
        "payment_refunds": "SELECT, INSERT, UPDATE (status, settled_at, failed_at)",
        "payment_idempotency_keys": "SELECT, INSERT, UPDATE (status, body)",
        "gateway_holds": "SELECT, INSERT, UPDATE (gateway_id, closed_at)",
        "gateway_refunds": "SELECT, INSERT, UPDATE (gateway_id, look_at, noted_at)",
    },
    "orchestrator": {
        # Neither the e-mail address nor the response to the client.
        "order_ledger": "SELECT (id, request_id, trace_parent, user_id, total_amount_cents, currency,"
        " payment_authorization_id, order_id, status, compensating_from, undone, failure_code, failure_message,"
        " due_at, claimed_by, claimed_until, claim_number, unproductive_claims, retry_count, next_retry_at,"
        " needs_attention_at, attention_reason, created_at, cancel_requested_at),"
        " UPDATE (status, status_detail, order_id, compensating_from, undone, failure_code, failure_message, due_at,"
        " claimed_by, claimed_until, claim_number, unproductive_claims, retry_count, next_retry_at,"
        " needs_attention_at, attention_reason, updated_at)",
        "order_ledger_items": "SELECT",
        "order_ledger_history": "SELECT",
        "outbox": "SELECT (order_ledger_id, status), UPDATE (status, processed_at)",
        "set_aside_entries": "SELECT, INSERT, UPDATE (reason, retry_at, since)",
        # Not the note, which may have personal data.
        "refunds": "SELECT (id, order_ledger_id, amount_cents, restock, request_id, trace_parent, status, restocked,"
        " not_restocked, failure_code, failure_message, due_at, claimed_by, claimed_until, claim_number,"
        " unproductive_claims, retry_count, next_retry_at, needs_attention_at, attention_reason, created_at,"
        " updated_at),"
        " UPDATE (status, status_detail, restocked, not_restocked, failure_code, failure_message, due_at, claimed_by,"
        " claimed_until, claim_number, unproductive_claims, retry_count, next_retry_at, needs_attention_at,"
        " attention_reason, updated_at)",
        "refund_items": "SELECT",
        "set_aside_refunds": "SELECT, INSERT, UPDATE (reason, retry_at, since)",
        # The sums by the minute, and the figures among the metrics.
        "events": "SELECT (id, xid, position, client, order_ledger_id, type, at)",
        "order_minutes": "SELECT, INSERT, UPDATE, DELETE",
        "order_totals": "SELECT, INSERT, UPDATE",
        "audit_runs": "SELECT, DELETE",
        "dealt_with": "SELECT (subject_id, at, retry_count)",
        "webhook_endpoints": "SELECT (id, client, status, deleted_at, cursor_xid, cursor_position)",
        "webhook_deliveries": "SELECT (endpoint_id, status, due_at)",
        # Rows are added, and neither changed nor read.
        "attempts": "INSERT (order_ledger_id, refund_id, step, attempt, began_at, took_ms, kind, http_status, code,"
        " message, request_id)",
        **HEARTBEATS,
    },
    "webhooks": {
        # Neither the e-mail address nor the user.
        "order_ledger": "SELECT (id, client_request_id, reference, metadata, total_amount_cents, currency, due_at,"
        " trace_parent)",
        "events": "SELECT",
        "webhook_endpoints": "SELECT, UPDATE (cursor_xid, cursor_position, last_success_at, failing_since, warnings,"
        " status, disabled_at, disabled_reason, updated_at)",
        "webhook_secrets": "SELECT",
        "webhook_deliveries": "SELECT, INSERT, UPDATE (status, due_at, attempts, first_attempt_at, last_attempt_at,"
        " ended_at, claimed_by, claimed_until, claim_number, response_status, response_body, error)",
        # What operators are told of, and not why: a reason may quote.
        "audit_attention": "SELECT (needs_attention_at)",
        "set_aside_entries": "SELECT (order_ledger_id, retry_at)",
        "refunds": "SELECT (id, due_at)",
        "set_aside_refunds": "SELECT (refund_id, retry_at)",
        "operator_alerts": "SELECT, INSERT, UPDATE (count, told_count, began_at, seen_at, ended_at, event, message_id,"
        " told_at, due_at, attempts, claim_number)",
        "audit_runs": "SELECT (at, rows_found)",
        **HEARTBEATS,
    },
    "console": {
        # It shows an order as all books have it, with who placed it.
        "order_ledger": "SELECT (id, client, client_request_id, status, status_detail, user_id, email, reference,"
        " metadata, total_amount_cents, currency, refunded_cents, refund_reserved_cents, request_id, trace_parent,"
        " payment_authorization_id, order_id, compensating_from, undone, failure_code, failure_message, due_at,"
        " claimed_by, claimed_until, claim_number, unproductive_claims, retry_count, next_retry_at,"
        " needs_attention_at, attention_reason, created_at, updated_at, cancel_requested_at, cancel_reason,"
        " cancel_note),"
        " UPDATE (due_at, next_retry_at, needs_attention_at, attention_reason, updated_at, cancel_requested_at,"
        " cancel_reason, cancel_note)",
        "order_ledger_items": "SELECT",
        "order_ledger_history": "SELECT",
        "attempts": "SELECT",
        "set_aside_entries": "SELECT, UPDATE (retry_at)",
        "set_aside_refunds": "SELECT, UPDATE (retry_at)",
        # As the Edge API, and as `ops attention`.
        "refunds": "SELECT, INSERT (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, note,"
        " request_id, trace_parent), UPDATE (due_at, next_retry_at, needs_attention_at, attention_reason)",
        "refund_items": "SELECT, INSERT",
        "edge_idempotency_keys": "SELECT, INSERT, UPDATE (status, body)",
        "events": "SELECT",
        "orders": "SELECT",
        "products": "SELECT",
        "product_versions": "SELECT",
        "inventory_adjustments": "SELECT",
        "inventory_reservations": "SELECT",
        "payment_authorizations": "SELECT (id, idempotency_key, status, amount_cents, currency, captured_amount_cents,"
        " refunded_amount_cents, pending_refund_cents, capture_id, decline_code, gateway, created_at, captured_at,"
        " voided_at)",
        "payment_refunds": "SELECT (id, authorization_id, idempotency_key, status, amount_cents)",
        "gateway_holds": "SELECT (authorization_id, gateway_id)",
        "gateway_refunds": "SELECT (authorization_id, gateway_id)",
        "webhook_endpoints": "SELECT (id, client, url, event_types, description, status, disabled_at,"
        " disabled_reason, failing_since, warnings, last_success_at, created_at, updated_at, deleted_at),"
        " UPDATE (url, event_types, description, status, disabled_at, disabled_reason, failing_since, warnings,"
        " updated_at)",
        "webhook_deliveries": "SELECT, INSERT (endpoint_id, message_id, type, due_at),"
        " UPDATE (status, due_at, attempts, first_attempt_at, ended_at)",
        # It makes keys and shows them once, but cannot read the digests of clients' secrets.
        "client_keys": "SELECT (id, client, scopes, created_at, expires_at, revoked_at, last_used_at),"
        " INSERT (id, client, secret_sha256, scopes, expires_at), UPDATE (expires_at, revoked_at)",
        "operator_log": "SELECT",
        "operator_keys": "SELECT, INSERT (id, name, role, secret_sha256, expires_at),"
        " UPDATE (last_used_at, revoked_at)",
        "operator_sessions": "SELECT, INSERT, UPDATE (notice), DELETE",
        "order_minutes": "SELECT",
        "audit_runs": "SELECT",
        **HEARTBEATS,
        "order_notes": "SELECT, INSERT (order_ledger_id, author, text)",
        "dealt_with": "SELECT, INSERT (subject_id, author, reason, retry_count), UPDATE (at, author, reason,"
        " retry_count)",
        "bulk_jobs": "SELECT, INSERT (author, key, fingerprint, operator_key_id, action, filter, reason, note,"
        " rate_per_s), UPDATE (filter, note, state, stop_reason, stopped_by, after_created_at, after_id, total,"
        " next_number, done, refused, claimed_by, claimed_until, claim_number, ended_at)",
        "bulk_job_items": "SELECT, INSERT (job_id, number, order_ledger_id), UPDATE (result, code, message, ended_at)",
    },
    # The views show what is wrong with an order, and no personal data.
    AUDIT: {
        "audit_attention": "SELECT",
        "audit_checks": "SELECT",
        "audit_summary": "SELECT",
        "audit_violations": "SELECT",
        "operator_log": "SELECT",
        "audit_runs": "SELECT, INSERT (took_ms, healthy, violations, rows_found, examples)",
        # For `ops reconcile`: amounts, states and ids, and no personal data.
        "order_ledger": "SELECT (id, status, total_amount_cents, currency, refunded_cents, due_at)",
        "refunds": "SELECT (id, order_ledger_id, status, amount_cents, due_at)",
        "payment_authorizations": "SELECT (id, idempotency_key, status, amount_cents, currency, captured_amount_cents,"
        " refunded_amount_cents, gateway)",
        "payment_refunds": "SELECT (authorization_id, idempotency_key, status, amount_cents)",
        "gateway_holds": "SELECT (authorization_key, authorization_id, gateway, gateway_id)",
        "gateway_refunds": "SELECT (id, authorization_id, idempotency_key, gateway_id)",
        "events": "SELECT (id, xid)",  # for `ops check`
        "webhook_endpoints": "SELECT (cursor_xid)",  # the same
        "order_totals": "SELECT (xid)",  # the same
    },
}
VERB = re.compile(r"([A-Z]+)(?: \(([^)]*)\))?")  # of a right, with its columns
RUN_TIME = tuple(name for name in RIGHTS if name != AUDIT)

# Limits of every session of the role, also one by hand or behind a pooler that drops a connection's own.
LIMITS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}


class Right(NamedTuple):
    role: str
    relation: str
    verb: str
    column: str
    """`*`: every column."""


def role_of(name: str) -> str:
    """`holdfast_edge_api` for `edge_api`."""
    return f"holdfast_{name}"


ROLES = tuple(map(role_of, RIGHTS))


def rights_of(name: str) -> dict[str, str]:
    """Relation → rights, as GRANT takes them."""
    common = {"holdfast_version": "SELECT"} if name == AUDIT else COMMON
    given = RIGHTS[name]
    return {**given, **{table: ", ".join(filter(None, (given.get(table), right))) for table, right in common.items()}}


def limits_of(name: str) -> dict[str, str]:
    return {} if name == AUDIT else LIMITS


def rights() -> Iterator[Right]:
    for name in RIGHTS:
        for relation, text in rights_of(name).items():
            for verb, columns in VERB.findall(text):
                yield from (Right(role_of(name), relation, verb, column) for column in _listed(columns))


def _listed(columns: str) -> Iterable[str]:
    return columns.split(", ") if columns else ("*",)
