"""The SQL of the payments service. Each statement has a name and says what it is for."""

# Times are clock_timestamp(), read under the row's lock. now() is the start of the transaction, maybe before a wait.

# Insert a hold, or a declined card. No row: the key or the id is taken.
INSERT_AUTHORIZATION = """
    INSERT INTO payment_authorizations
        (id, idempotency_key, user_id, amount_cents, currency, status, decline_code, refuses_capture, refuses_refund,
        delays_refund, gateway, capture_before, created_at)
    VALUES (%(id)s, %(idempotency_key)s, %(user_id)s, %(amount_cents)s, %(currency)s, %(status)s, %(decline_code)s,
        %(refuses_capture)s, %(refuses_refund)s, %(delays_refund)s, %(gateway)s, %(capture_before)s,
        clock_timestamp())
    ON CONFLICT DO NOTHING
    RETURNING *"""
# Take a key out of use before an authorize with it arrives. No row: the key is taken.
INSERT_TOMBSTONE = """
    INSERT INTO payment_authorizations (id, idempotency_key, status, void_reason, voided_at)
    VALUES (%(id)s, %(key)s, 'VOIDED', %(reason)s, clock_timestamp())
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING NULL AS id, voided_at"""
# Take an id out of use. No client can send such a key: it is not ASCII.
INSERT_TOMBSTONE_OF_ID = """
    INSERT INTO payment_authorizations (id, idempotency_key, status, void_reason, voided_at)
    VALUES (%(id)s, %(key)s, 'VOIDED', %(reason)s, clock_timestamp())
    ON CONFLICT DO NOTHING"""
# Lock a payment. Declined ones and tombstones do not exist to callers.
LOCK_BY_ID = """
    SELECT * FROM payment_authorizations
    WHERE id = %(id)s AND status <> 'DECLINED' AND amount_cents IS NOT NULL FOR UPDATE"""
# Lock the row with the key of an authorize.
LOCK_BY_KEY = "SELECT * FROM payment_authorizations WHERE idempotency_key = %(key)s FOR UPDATE"
# Capture a hold.
CAPTURE = """
    UPDATE payment_authorizations SET status = 'CAPTURED', capture_id = %(capture_id)s,
        captured_amount_cents = %(amount_cents)s, captured_at = clock_timestamp()
    WHERE id = %(id)s RETURNING *"""
# Void a hold.
VOID = """
    UPDATE payment_authorizations SET status = 'VOIDED', void_reason = %(reason)s, voided_at = clock_timestamp()
    WHERE id = %(id)s RETURNING *"""
# Add to the refunded amount. The last cent makes the payment REFUNDED.
ADD_REFUNDED_AMOUNT = """
    UPDATE payment_authorizations SET refunded_amount_cents = refunded_amount_cents + %(amount_cents)s,
        status = CASE WHEN refunded_amount_cents + %(amount_cents)s = captured_amount_cents
            THEN 'REFUNDED' ELSE status END
    WHERE id = %(authorization_id)s"""
# Set an amount aside for a refund that the gateway has not settled.
ADD_PENDING_REFUND = """
    UPDATE payment_authorizations SET pending_refund_cents = pending_refund_cents + %(amount_cents)s
    WHERE id = %(authorization_id)s"""
# Note that the gateway has failed a refund after it had returned the money. No row: it is noted, or was never settled.
FAIL_REFUND = """
    UPDATE payment_refunds SET status = 'FAILED', failed_at = clock_timestamp()
    WHERE id = %(id)s AND status = 'REFUNDED' RETURNING *"""
# Take its amount back. The payment is CAPTURED again.
TAKE_BACK_REFUNDED_AMOUNT = """
    UPDATE payment_authorizations SET refunded_amount_cents = refunded_amount_cents - %(amount_cents)s,
        status = 'CAPTURED'
    WHERE id = %(authorization_id)s"""
# The stored answer of a refund becomes its refusal.
REFUSE_ANSWER = """
    UPDATE payment_idempotency_keys SET status = %(answer_status)s, body = %(body)s
    WHERE scope = 'refund' AND key = %(key)s AND status IS NOT NULL"""
# Record a refund.
INSERT_REFUND = """
    INSERT INTO payment_refunds (id, authorization_id, idempotency_key, amount_cents, reason, status, created_at)
    VALUES (%(id)s, %(authorization_id)s, %(key)s, %(amount_cents)s, %(reason)s, %(status)s, clock_timestamp())
    RETURNING *, CASE status WHEN 'REFUNDED' THEN created_at END AS refunded_at"""
# Settle the pending refunds. Payments are locked first, as every call locks them, in the order of their ids.
LOCK_PENDING = """
    SELECT id FROM payment_authorizations
    WHERE id IN (SELECT authorization_id FROM payment_refunds WHERE status = 'PENDING') ORDER BY id FOR UPDATE"""
SETTLE_REFUNDS = """
    UPDATE payment_refunds SET status = 'REFUNDED', settled_at = clock_timestamp()
    WHERE status = 'PENDING' AND authorization_id = ANY (%(ids)s)
    RETURNING *, settled_at AS refunded_at"""
SETTLE_PAYMENTS = """
    UPDATE payment_authorizations SET pending_refund_cents = 0,
        refunded_amount_cents = refunded_amount_cents + pending_refund_cents,
        status = CASE WHEN refunded_amount_cents + pending_refund_cents = captured_amount_cents
            THEN 'REFUNDED' ELSE status END
    WHERE id = ANY (%(ids)s)"""
# The stored answer of a refund that was pending becomes that of a settled one.
SETTLE_ANSWER = """
    UPDATE payment_idempotency_keys SET body = %(body)s
    WHERE scope = 'refund' AND key = %(key)s AND status IS NOT NULL"""
# Read a payment, once for each refund. One statement, so the sum and its parts are of the same moment.
SELECT_WITH_REFUNDS = """
    SELECT p.*, r.id AS refund_id, r.amount_cents AS refund_cents, r.status AS refund_status,
        COALESCE(r.failed_at, r.settled_at, r.created_at) AS refund_at
    FROM payment_authorizations p LEFT JOIN payment_refunds r ON r.authorization_id = p.id
    WHERE p.id = %(id)s AND p.status <> 'DECLINED' AND p.amount_cents IS NOT NULL
    ORDER BY r.created_at, r.id"""
