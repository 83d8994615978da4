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

# What each process may do, as GRANT takes it. A table without an entry is out of reach. Nothing may be deleted
# but the counters of limits, and former secrets.
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
        " request_id)",
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
        "order_ledger": "SELECT (id, request_id, user_id, total_amount_cents, currency, payment_authorization_id,"
        " order_id, status, compensating_from, undone, failure_code, failure_message, due_at, claimed_by,"
        " claimed_until, claim_number, unproductive_claims, retry_count, next_retry_at, needs_attention_at,"
        " attention_reason, created_at, cancel_requested_at),"
        " UPDATE (status, status_detail, order_id, compensating_from, undone, failure_code, failure_message, due_at,"
        " claimed_by, claimed_until, claim_number, unproductive_claims, retry_count, next_retry_at,"
        " needs_attention_at, attention_reason, updated_at)",
        "order_ledger_items": "SELECT",
        "order_ledger_history": "SELECT",
        "outbox": "SELECT (order_ledger_id, status), UPDATE (status, processed_at)",
        "set_aside_entries": "SELECT, INSERT, UPDATE (reason, retry_at, since)",
        # Not the note, which may have personal data.
        "refunds": "SELECT (id, order_ledger_id, amount_cents, restock, request_id, status, restocked, not_restocked,"
        " failure_code, failure_message, due_at, claimed_by, claimed_until, claim_number, unproductive_claims,"
        " retry_count, next_retry_at, needs_attention_at, attention_reason, created_at, updated_at),"
        " UPDATE (status, status_detail, restocked, not_restocked, failure_code, failure_message, due_at, claimed_by,"
        " claimed_until, claim_number, unproductive_claims, retry_count, next_retry_at, needs_attention_at,"
        " attention_reason, updated_at)",
        "refund_items": "SELECT",
        "set_aside_refunds": "SELECT, INSERT, UPDATE (reason, retry_at, since)",
    },
    "webhooks": {
        # Neither the e-mail address nor the user.
        "order_ledger": "SELECT (id, client_request_id, reference, metadata, total_amount_cents, currency)",
        "events": "SELECT",
        "webhook_endpoints": "SELECT, UPDATE (cursor_xid, cursor_position, last_success_at, failing_since, warnings,"
        " status, disabled_at, disabled_reason, updated_at)",
        "webhook_secrets": "SELECT",
        "webhook_deliveries": "SELECT, INSERT, UPDATE (status, due_at, attempts, first_attempt_at, last_attempt_at,"
        " ended_at, claimed_by, claimed_until, claim_number, response_status, response_body, error)",
    },
    # The views show what is wrong with an order, and no personal data.
    AUDIT: {
        "audit_attention": "SELECT",
        "audit_checks": "SELECT",
        "audit_summary": "SELECT",
        "audit_violations": "SELECT",
        "operator_log": "SELECT",
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
    return {**RIGHTS[name], **common}


def limits_of(name: str) -> dict[str, str]:
    return {} if name == AUDIT else LIMITS


def rights() -> Iterator[Right]:
    for name in RIGHTS:
        for relation, text in rights_of(name).items():
            for verb, columns in VERB.findall(text):
                yield from (Right(role_of(name), relation, verb, column) for column in _listed(columns))


def _listed(columns: str) -> Iterable[str]:
    return columns.split(", ") if columns else ("*",)
