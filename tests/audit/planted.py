"""Violations to plant in the books, which test_planted_violations.py makes: expected finding → statements.

The books have these orders: completed, failed (no stock), refunded, declined, abandoned, held (not yet authorized),
authorized, created, reserved, captured, turned_back (no stock, and nothing undone yet). Of three more completed ones a
piece was refunded: returned (and put back into stock), not_returned (the refund failed), returning (the gateway has not
settled it). The ids of the refunds are those names with `refund_` before them. Each event has a
delivery to one endpoint.
"""

from __future__ import annotations

STRANGER = "11111111-1111-4111-8111-111111111111"
"""The id of no order."""


def entry(of: str, change: str) -> str:
    return f"UPDATE order_ledger SET {change} WHERE id = %({of})s;"


def order(of: str, change: str) -> str:
    return f"UPDATE orders SET {change} WHERE order_ledger_id = %({of})s;"


def reservation(of: str, change: str) -> str:
    return f"UPDATE inventory_reservations SET {change} WHERE order_id = {order_id(of)};"


def payment(of: str, change: str) -> str:
    return f"UPDATE payment_authorizations SET {change} WHERE idempotency_key = 'authorize:' || %({of})s;"


def event(of: str, change: str) -> str:
    return f"UPDATE outbox SET {change} WHERE order_ledger_id = %({of})s;"


def refund(of: str, change: str) -> str:
    return f"UPDATE refunds SET {change} WHERE id = %(refund_{of})s;"


def movement(of: str, change: str) -> str:
    """Change the refund in the books of the payments service."""
    return f"UPDATE payment_refunds SET {change} WHERE idempotency_key = 'refund:' || %(refund_{of})s;"


def line(of: str, change: str) -> str:
    return f"UPDATE order_ledger_items SET {change} WHERE order_ledger_id = %({of})s;"


def put_back(of: str, change: str) -> str:
    return f"UPDATE inventory_adjustments SET {change} WHERE reference_id = %(refund_{of})s::text;"


def no_history(of: str, where: str = "true") -> str:
    return f"DELETE FROM order_ledger_history WHERE order_ledger_id = %({of})s AND {where};"


def adjusted(by: int) -> str:
    return f"INSERT INTO inventory_adjustments VALUES (%(product)s, %(product)s, {by}, 'correction');"


def without(rows: str) -> str:
    return f"DELETE FROM {rows};"


def order_id(of: str) -> str:
    return f"(SELECT order_id FROM order_ledger WHERE id = %({of})s)"


def another_order(entry_id: str, status: str) -> str:
    return f"""INSERT INTO orders (id, order_ledger_id, user_id, status, total_amount_cents, currency, fingerprint)
        SELECT gen_random_uuid(), {entry_id}, user_id, '{status}', total_amount_cents, currency, 'f' FROM orders
        WHERE order_ledger_id = %(completed)s;"""


def another_payment(key: str) -> str:
    return f"""INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status)
        SELECT 'auth_x', {key}, user_id, 2500, 'USD', 'AUTHORIZED' FROM order_ledger WHERE id = %(completed)s;"""


def another_event(entry_id: str, status: str) -> str:
    return f"""INSERT INTO outbox (order_ledger_id, event_type, payload, status)
        VALUES ({entry_id}, 'order.authorized', '{{}}', '{status}');"""


def told(of: str, change: str, kind: str = "order.completed") -> str:
    return f"UPDATE events SET {change} WHERE order_ledger_id = %({of})s AND type = '{kind}';"


def another_told(entry_id: str, sequence: int, kind: str, status: str, position: str = "position + 1") -> str:
    return f"""INSERT INTO events (id, xid, position, client, order_ledger_id, sequence, type, status)
        SELECT 'evt_x', xid, {position}, client, {entry_id}, {sequence}, '{kind}', '{status}' FROM events
        ORDER BY xid DESC, position DESC LIMIT 1;"""


def untold(of: str, where: str = "true") -> str:
    """Delete events and, as the foreign key does, their deliveries."""
    return f"""WITH gone AS (DELETE FROM events WHERE order_ledger_id = %({of})s AND {where} RETURNING id)
        DELETE FROM webhook_deliveries USING gone WHERE event_id = gone.id;"""


def delivery(of: str, change: str, sequence: int = 1) -> str:
    return f"UPDATE webhook_deliveries SET {change} WHERE order_ledger_id = %({of})s AND sequence = {sequence};"


def step(entry_id: str, was: str, to: str) -> str:
    return f"""INSERT INTO order_ledger_history (order_ledger_id, id, from_status, to_status, claim_number)
        VALUES ({entry_id}, 1000, {was}, '{to}', 1000);"""


def overdue(seconds: int) -> str:
    return f"due_at = now() - interval '{seconds} s'"


def ahead(column: str, hours: int) -> str:
    return f"{column} = now() + interval '{hours} hours'"


def failed_at_the_gateway(ago: str) -> str:
    """The gateway has failed the refund `returned` after it had succeeded, and the payments service knows."""
    return (
        movement("returned", f"status = 'FAILED', failed_at = now() - interval '{ago}'")
        + payment("returned", "refunded_amount_cents = 0")
    )  # fmt: skip


HELD = (
    "status = 'AUTHORIZED', voided_at = NULL, capture_id = NULL, captured_amount_cents = NULL, captured_at = NULL,"
    " refunded_amount_cents = 0, decline_code = NULL"
)
CAPTURED = "status = 'CAPTURED', capture_id = 'cap_x', captured_at = now(), captured_amount_cents = amount_cents"
CAPTURED_X = f"UPDATE payment_authorizations SET {CAPTURED} WHERE id = 'auth_x';"
OF_STRANGER = f"'{STRANGER}'"
PAID_BY_X = "payment_authorization_id = 'auth_x'"
PAID_BY_ANOTHER = """payment_authorization_id =
    (SELECT payment_authorization_id FROM order_ledger WHERE id = %(completed)s)"""
CANCELLED = "failure_code = 'cancelled'"
SUCCEEDED = "type = 'refund.succeeded'"
REFUSED = "restocked = '{}', not_restocked = restocked"
COMPLETED = "type = 'order.completed', status = 'COMPLETED'"
FAILED = ("order.failed", "FAILED")
FAILED_LATER = (
    failed_at_the_gateway("1 s")
    + refund("returned", "status = 'FAILED', failure_code = 'refund_failed_later', failure_message = 'why'")
    + entry("returned", "refunded_cents = 0, refund_reserved_cents = 0")
    + another_told("%(returned)s", 4, "refund.failed", "COMPLETED")
    + "UPDATE events SET refund_id = %(refund_returned)s WHERE id = 'evt_x';"
)
UNDONE_REFUND_FAILED = (
    "UPDATE payment_refunds SET status = 'FAILED', failed_at = now() WHERE idempotency_key = 'refund:' || %(refunded)s;"
    + payment("refunded", "status = 'CAPTURED', refunded_amount_cents = 0")
)
NO_RESERVATION = without(f"order_reservations WHERE order_id = {order_id('reserved')}")
RELEASE_IS_DONE = entry("reserved", "undone = '{release_inventory}'")

# By check: a part of the audit's finding (subject and detail), and the statements that cause it.
PLANTED: dict[str, list[tuple[str, str]]] = {
    "stock": [
        ("the stock is 1, and 100 adjusted less 6", "UPDATE products SET stock_quantity = 1"),
        ("the stock is -1, and", "UPDATE products SET stock_quantity = -1"),
        ("the stock is -1", f"{adjusted(-95)} UPDATE products SET stock_quantity = -1"),
        ("does not exist", without("products")),
        ("103 adjusted", adjusted(3)),
        ("less 4 reserved is not that", reservation("completed", "released_at = now()")),
        ("less 4 reserved is not that", without(f"inventory_reservations WHERE order_id = {order_id('reserved')}")),
    ],
    "completed": [
        ("the order is CREATED", order("completed", "status = 'CREATED'")),
        ("there is no order", without("orders WHERE order_ledger_id = %(completed)s")),
        ("the order is for 1 instead of 2500", order("completed", "total_amount_cents = 1")),
        ("is not the entry's order", another_order("order_ledger_id", "CONFIRMED")),
        ("0 captures instead of one", payment("completed", HELD)),
        ("2 captures instead of one", another_payment("'x'") + CAPTURED_X + entry("completed", PAID_BY_X)),
        ("captured are 2499 instead of 2500", payment("completed", "captured_amount_cents = 2499")),
        ("refunded are 1", payment("completed", "refunded_amount_cents = 1")),
        ("refunded are 1249; its refunds returned 1250", payment("returned", "refunded_amount_cents = 1249")),
        ("refunded are 1251; its refunds returned 1250", payment("returned", "refunded_amount_cents = 1251")),
        ("0 are reserved instead of 2", reservation("completed", "released_at = now()")),
        ("1 are reserved instead of 2", reservation("completed", "quantity = 1")),
        ("2 are reserved instead of 0", without("order_ledger_items WHERE order_ledger_id = %(completed)s")),
    ],
    "nothing_left": [
        (": FAILED, and payment", payment("failed", HELD)),
        ("AUTHORIZATION_FAILED, and payment", payment("declined", HELD)),
        ("AUTHORIZATION_FAILED, and payment", payment("abandoned", HELD)),
        ("keeps 100", payment("refunded", "status = 'CAPTURED', refunded_amount_cents = 2400")),
        (": FAILED, and 2 of product", reservation("refunded", "released_at = NULL")),
        (": FAILED, and order", order("failed", "status = 'CREATED'")),
        ("AUTHORIZATION_FAILED, and order", another_order("%(declined)s", "CREATED")),
    ],
    "confirmed_unpaid": [
        ("its entry is INVENTORY_RESERVED", order("reserved", "status = 'CONFIRMED'")),
        ("its entry is FAILED", order("failed", "status = 'CONFIRMED'")),
        ("its entry is COMPENSATING", order("turned_back", "status = 'CONFIRMED'")),
        (
            "its entry is COMPENSATING",
            order("turned_back", "status = 'CONFIRMED'")
            + entry("turned_back", "compensating_from = 'PAYMENT_CAPTURED', undone = '{cancel_order}'"),
        ),
        ("its entry does not exist", another_order(OF_STRANGER, "CONFIRMED")),
        ("captured are 0 of 2500", order("captured", "status = 'CONFIRMED'") + payment("captured", HELD)),
    ],
    "stuck": [
        (": AUTHORIZED, due since", entry("authorized", overdue(61))),
        (": COMPENSATING, due since", entry("turned_back", overdue(61))),
        (": AWAITING_AUTHORIZATION, due since", entry("held", overdue(121))),
        (": PAYMENT_CAPTURED, and never due", entry("captured", "due_at = NULL")),
        (": INVENTORY_RESERVED, and not due before", entry("reserved", ahead("due_at", 49))),
        (": AWAITING_AUTHORIZATION, and not due before", entry("held", "due_at = 'infinity'")),
        (": ORDER_CREATED, and not due before", entry("created", "claimed_by = 'x', " + ahead("claimed_until", 49))),
        (": REQUESTED, due since", refund("returning", overdue(61))),
        (": REQUESTED, and not due before", refund("returning", ahead("due_at", 49))),
        (": REQUESTED, and never due", refund("returning", "due_at = NULL")),
        (": ORDER_CREATED, due", entry("created", overdue(90) + ", claimed_by = 'x', claimed_until = now()")),
    ],
    "money": [
        ("currency USD: captured less refunded are", entry("completed", "total_amount_cents = 2499")),
        ("currency USD: captured less refunded are", payment("completed", HELD)),
        ("currency USD", "INSERT INTO payment_refunds SELECT 're_x', id, 1 FROM payment_authorizations LIMIT 1"),
        ("currency EUR", another_payment("'x'") + CAPTURED_X.replace("SET", "SET currency = 'EUR',")),
        (": ORDER_CREATED, and payment", payment("created", CAPTURED)),
        (": COMPENSATING from ORDER_CREATED, and payment", payment("turned_back", CAPTURED)),
        (": was PAYMENT_CAPTURED, and captured of payment", payment("captured", HELD)),
    ],
    "keys": [
        ("key completed: 2 ledger entries", entry("failed", "client_request_id = 'completed'")),
        (": 2 payments: ", another_payment("'authorize:' || id")),
        (": 2 payments: ", another_payment("'x'") + entry("created", PAID_BY_X)),
        ("is that of 2 ledger entries", entry("created", PAID_BY_ANOTHER)),
        ("not in the books under its key", payment("completed", "idempotency_key = 'x'")),
        ("not in the books under its key", without("payment_authorizations")),
    ],
    "outbox": [
        (": COMPLETED, with 0 events", without("outbox WHERE order_ledger_id = %(completed)s")),
        (": ORDER_CREATED, with 2 events", another_event("%(created)s", "PENDING")),
        (": COMPLETED, and its event is PENDING", event("completed", "status = 'PENDING'")),
        (": FAILED, and its event is PROCESSED", event("failed", "status = 'PROCESSED'")),
        (": AUTHORIZED, and its event is closed: PROCESSED", event("authorized", "status = 'PROCESSED'")),
        (": AUTHORIZATION_FAILED, with an event", another_event("%(declined)s", "FAILED")),
        ("has an event, and does not exist", another_event(OF_STRANGER, "PENDING")),
    ],
    "history": [
        ("has no history", no_history("completed")),
        (
            "a gap between ORDER_CREATED and INVENTORY_RESERVED → PAYMENT_CAPTURED",
            no_history("completed", "to_status = 'INVENTORY_RESERVED'"),
        ),
        (
            "a gap between the beginning and AWAITING_AUTHORIZATION → AUTHORIZED",
            no_history("authorized", "from_status IS NULL"),
        ),
        ("ends at COMPLETED, and the entry is FAILED", entry("completed", "status = 'FAILED'")),
        ("ends at PAYMENT_CAPTURED, and", no_history("completed", "to_status = 'COMPLETED'")),
        ("not a legal move: COMPLETED → FAILED", step("%(completed)s", "'COMPLETED'", "FAILED")),
        ("not a legal move: AUTHORIZED → COMPLETED", step("%(authorized)s", "'AUTHORIZED'", "COMPLETED")),
        ("not a legal move: COMPENSATING → COMPLETED", step("%(turned_back)s", "'COMPENSATING'", "COMPLETED")),
        (
            "the claim number falls from 100 to",
            "UPDATE order_ledger_history SET claim_number = 100 WHERE to_status = 'ORDER_CREATED'",
        ),
        ("is later than the entry's 0", entry("completed", "claim_number = 0")),
        ("1 undos before the end, and undone are 3", no_history("failed", "detail = 'release_inventory done'")),
        ("does not exist", step(OF_STRANGER, "NULL", "AWAITING_AUTHORIZATION")),
    ],
    "amounts": [
        ("the total is 2500, its lines add up to 5000", "UPDATE order_ledger_items SET quantity = 4"),
        ("the total is 2500, its lines add up to 0", without("order_items")),
        ("is for 2500 EUR, its entry for 2500 USD", order("created", "currency = 'EUR'")),
        ("is for 2500 USD, and payment auth_", payment("reserved", "amount_cents = 2501")),
        ("captured are 2501 of 2500", payment("completed", "captured_amount_cents = 2501")),
        ("refunded are 2501 of 2500", payment("refunded", "refunded_amount_cents = 2501")),
        ("refunded are 2500, its refunds add up to 0", without("payment_refunds")),
        ("pending are 1, its pending refunds add up to 1250", payment("returning", "pending_refund_cents = 1")),
        ("pending are 1250, its pending refunds add up to 0", movement("returning", "status = 'REFUNDED'")),
        ("refunded and pending are more than", payment("returning", "refunded_amount_cents = 1251")),
        ("captured and voided", payment("failed", CAPTURED)),
    ],
    "tombstones_and_orphans": [
        ("CREATED, and no authorized entry asked for it", another_order(OF_STRANGER, "CREATED")),
        ("CREATED, and no authorized entry asked for it", another_order("%(held)s", "CREATED")),
        ("and no entry has this order", reservation("reserved", f"order_id = '{STRANGER}'")),
        ("AUTHORIZED, and no entry asked for it", another_payment("'authorize:x'")),
        ("CAPTURED, and no entry asked for it", another_payment("'x'") + CAPTURED_X),
        ("RELEASED, and 1 of its lines are live", reservation("refunded", "released_at = NULL")),
        ("RESERVED, and 0 of its lines are live", reservation("captured", "released_at = now()")),
        ("not there, and 1 of its lines are live", NO_RESERVATION),
        ("release_inventory is done, and the reservation is not refused", without("order_reservations")),
        ("release_inventory is done, and the reservation is RESERVED", RELEASE_IS_DONE),
        ("cancel_order is done, and the order is not refused", without("orders")),
        ("cancel_order is done, and the order is CREATED", order("failed", "status = 'CREATED'")),
        ("void_payment is done, and payment", payment("failed", HELD)),
        ("abandoned, and its authorization is not refused", without("payment_authorizations")),
    ],
    "events": [
        (": COMPLETED, with no events", untold("completed")),
        (": AUTHORIZED, with no events", untold("authorized")),
        (": AUTHORIZATION_FAILED, with no events", untold("declined")),
        (": COMPLETED, without order.completed", untold("completed", "sequence = 2")),
        (": FAILED, without order.failed", untold("failed", "sequence = 2")),
        (": COMPLETED, and its first event is 2", untold("completed", "sequence = 1")),
        ("FAILED, and its last event is order.failed instead of order.cancelled", entry("failed", CANCELLED)),
        ("its last event is order.completed instead of order.failed", told("failed", COMPLETED, "order.failed")),
        (
            "order.completed with status COMPLETED after order.completed",
            another_told("%(completed)s", 3, "order.completed", "COMPLETED"),
        ),
        ("a gap between event 1 and event 3", told("completed", "sequence = 3")),
        ("order.completed with status FAILED after", told("completed", "status = 'FAILED'")),
        ("order.failed with status FAILED after order.completed", another_told("%(completed)s", 3, *FAILED)),
        ("event 2 comes before event 1 in the feed", told("completed", "position = 0, xid = '3'")),
        ("is of client shop, and an event is not", told("completed", "client = 'other'")),
        (": AWAITING_AUTHORIZATION, with events", another_told("%(held)s", 1, "order.authorized", "AUTHORIZED")),
        ("has events, and does not exist", another_told(OF_STRANGER, 1, "order.authorized", "AUTHORIZED")),
        ("its last event is order.failed instead of", another_told("%(authorized)s", 2, *FAILED)),
        ("begins with order.completed", untold("completed", "sequence = 1") + told("completed", "sequence = 1")),
    ],
    "refunds": [
        ("refunded are 1249, and its succeeded refunds add up to 1250", entry("returned", "refunded_cents = 1249")),
        ("refunded are 0, and its", entry("returned", "refunded_cents = 0")),
        ("reserved for refunds are 0, and", entry("returning", "refund_reserved_cents = 0")),
        ("reserved for refunds are 1250, and its refunds add up to 0", entry("not_returned",
            "refund_reserved_cents = 1250")),
        ("reserved for refunds are 2501 of 2500", entry("returned", "refund_reserved_cents = 2501")),
        ("FAILED, with 1 refunds", entry("returned", "status = 'FAILED'")),
        ("2 of 2 are refunded, and its refunds add up to 1", line("returned", "refunded_quantity = 2")),
        ("0 of 2 are refunded, and its refunds add up to 1", line("returning", "refunded_quantity = 0")),
        ("1 of 2 are refunded, and its refunds add up to 0", line("not_returned", "refunded_quantity = 1")),
        ("SUCCEEDED, and the payment's refund is not in the books", movement("returned", "idempotency_key = 'x'")),
        ("no refund asked for the payment's refund", movement("returned", "idempotency_key = 'x'")),
        ("no refund asked for the payment's refund",
            "INSERT INTO payment_refunds SELECT 're_x', payment_authorization_id, 1 FROM order_ledger"
            " WHERE id = %(completed)s"),
        ("SUCCEEDED, and the payment's refund is PENDING", movement("returned", "status = 'PENDING'")),
        ("PAYMENT_REFUNDED, and the payment's refund is PENDING", refund("returning", "status = 'PAYMENT_REFUNDED'")),
        ("FAILED, and the payment's refund", refund("returning", "status = 'FAILED'")),
        ("SUCCEEDED, and the payment's refund is FAILED",
            failed_at_the_gateway("2 hours") + refund("returned", "updated_at = now() - interval '2 hours'")),
        ("2 events tell of its end", FAILED_LATER.replace("refund_failed_later", "refund_declined")),
        ("FAILED, and the payment's refund", FAILED_LATER + movement("returned", "status = 'REFUNDED'")),
        ("FAILED, and its event is refund.succeeded", FAILED_LATER + without("events WHERE id = 'evt_x'")),
        ("0 of 2 are refunded, and its refunds add up to 1", FAILED_LATER + line("returned", "refunded_quantity = 0")),
        ("is for 1250, and the payment's refund for 1249", movement("returned", "amount_cents = 1249")),
        ("is for 1250, and the payment's refund for 1251", movement("returning", "amount_cents = 1251")),
        ("refunds payment", movement("returned", "authorization_id = 'auth_x'")),
        ("SUCCEEDED, and of product", put_back("returned", "quantity = 2")),
        ("0 of 1 went back into stock", put_back("returned", "reference_id = NULL")),
        ("2 of 1 went back into stock, which is noted",
            "INSERT INTO inventory_adjustments SELECT gen_random_uuid(), product_id, 1, reason, reference_id"
            " FROM inventory_adjustments WHERE reference_id = %(refund_returned)s::text"),
        ("REQUESTED, and of product", put_back("returned", "reference_id = %(refund_returning)s::text")),
        ("FAILED, and of product", put_back("returned", "reference_id = %(refund_not_returned)s::text")),
        ("1 of 1 went back into stock", refund("returned", "restocked = '{}'")),
        ("0 of 1 went back into stock",
            refund("returned", "restocked = '{}'") + put_back("returned", "reference_id = NULL")),
        ("2 of 1 went back into stock, which is refused",
            refund("returned", REFUSED) + put_back("returned", "quantity = 2")),
        ("SUCCEEDED, without its event", untold("returned", SUCCEEDED)),
        ("FAILED, without its event", untold("not_returned", "type = 'refund.failed'")),
        ("2 events tell of its end", "DROP INDEX uq_events_refund_id_type;"
            + another_told("%(returned)s", 4, "refund.succeeded", "COMPLETED")
            + "UPDATE events SET refund_id = %(refund_returned)s WHERE id = 'evt_x';"),
        ("SUCCEEDED, and its event is refund.failed", told("returned", "type = 'refund.failed'", "refund.succeeded")),
        ("REQUESTED, and its event is", told("returned", "refund_id = %(refund_returning)s", "refund.succeeded")),
        ("its event is of order_ledger",
            told("returned", "order_ledger_id = %(returning)s", "refund.succeeded")),
        ("tells of refund 11111111-", told("returned", f"refund_id = {OF_STRANGER}", "refund.succeeded")),
        ("tells of refund NULL", another_told("%(completed)s", 3, "refund.failed", "COMPLETED")),
    ],
    "deliveries": [
        (", which does not exist", delivery("completed", "event_id = 'evt_x', message_id = 'evt_x'")),
        (", which does not exist", without("events WHERE order_ledger_id = %(completed)s")),
        ("order.authorized, and of no event", delivery("completed", "event_id = NULL")),
        ("is sent as evt_x", delivery("completed", "message_id = 'evt_x'")),
        ("is for client other, and", "UPDATE webhook_endpoints SET client = 'other'"),
        ("is for client NULL, and", without("webhook_endpoints")),
        ("is of type order.failed, and", delivery("completed", "type = 'order.failed'")),
        ("is of order_ledger 11111111-", delivery("completed", f"order_ledger_id = {OF_STRANGER}")),
        ("is of order_ledger NULL, and", delivery("completed", "order_ledger_id = NULL")),
        ("has sequence 7, and", delivery("completed", "sequence = 7")),
        ("2 deliveries of event", "INSERT INTO webhook_deliveries (endpoint_id, event_id, message_id, type,"
            " order_ledger_id, sequence) SELECT endpoint_id, event_id, message_id, type, order_ledger_id, sequence"
            " FROM webhook_deliveries WHERE order_ledger_id = %(completed)s"),
    ],
}  # fmt: skip

DELETED_EVENTS = "INSERT INTO deleted_events VALUES ('shop', 'order.completed', '3', 1, now());"
# States that look wrong but are legal.
HARMLESS = [
    refund("returning", overdue(59)),
    refund("returning", overdue(600) + ", needs_attention_at = now(), attention_reason = 'why'"),
    # The payments service is one commit ahead: the refund is done, and the orchestrator has not saved that yet.
    movement("returning", "status = 'REFUNDED'")
    + payment("returning", "refunded_amount_cents = 1250, pending_refund_cents = 0"),
    # The payments service knows first that the gateway has failed a refund after it had succeeded, and then the order.
    failed_at_the_gateway("50 minutes"),
    FAILED_LATER,
    # The gateway has failed the refund by which an order was undone.
    UNDONE_REFUND_FAILED,
    # A product that was refused, before and after an operator puts its pieces back by hand.
    refund("returned", REFUSED) + put_back("returned", "reference_id = NULL"),
    refund("returned", REFUSED),
    entry("authorized", overdue(59)),
    entry("held", overdue(119)),
    entry("held", ahead("due_at", 47)),
    entry("turned_back", ahead("due_at", 49) + ", needs_attention_at = now(), attention_reason = 'why'"),
    entry("turned_back", overdue(600) + ", needs_attention_at = now(), attention_reason = 'why'"),
    entry("created", overdue(600) + ", claimed_by = 'x', claimed_until = now() + interval '1 s'"),
    untold("completed", "sequence = 1") + DELETED_EVENTS,
    untold("completed") + untold("failed") + DELETED_EVENTS,
    entry("completed", "has_events = false") + untold("completed"),
    entry("completed", "has_events = false")
    + untold("completed", "sequence = 1")
    + told("completed", "sequence = 1")
    + delivery("completed", "sequence = 1", 2),
    delivery("completed", "status = 'failed', due_at = NULL, ended_at = now()"),
    "UPDATE webhook_endpoints SET event_types = '{order.failed}', deleted_at = now()",
    untold("returned") + DELETED_EVENTS.replace("order.completed", "refund.succeeded"),
    order("captured", "status = 'CONFIRMED'"),
    payment("reserved", CAPTURED),
    without("payment_authorizations WHERE decline_code IS NOT NULL"),
    f"INSERT INTO orders (id, status) VALUES ('{STRANGER}', 'CANCELLED')",
    f"INSERT INTO order_reservations (order_id, status, released_at) VALUES ('{STRANGER}', 'RELEASED', now())",
    "INSERT INTO payment_authorizations (id, idempotency_key, status, voided_at) VALUES ('x', 'x', 'VOIDED', now())",
]
