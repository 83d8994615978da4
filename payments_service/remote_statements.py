"""The SQL about what a remote gateway was asked. Each statement has a name and says what it is for."""

# Note what will be asked. No row: the key is taken.
INSERT_HOLD = """
    INSERT INTO gateway_holds (authorization_key, authorization_id, gateway, amount_cents, currency, fingerprint)
    VALUES (%(key)s, %(id)s, %(gateway)s, %(amount_cents)s, %(currency)s, %(fingerprint)s)
    ON CONFLICT DO NOTHING
    RETURNING *"""
# Lock what was asked under a key.
LOCK_HOLD = "SELECT * FROM gateway_holds WHERE authorization_key = %(key)s FOR UPDATE"
# What was asked for a payment.
HOLD_OF = "SELECT * FROM gateway_holds WHERE authorization_id = %(id)s"
# Note the gateway's id, before money is held. The first one stays. No row: the key was voided.
NOTE_HOLD = """
    UPDATE gateway_holds SET gateway_id = COALESCE(gateway_id, %(gateway_id)s)
    WHERE authorization_key = %(key)s AND closed_at IS NULL
    RETURNING *"""
# Take a key out of use. An authorize with it waits for this row, or is waited for.
CLOSE_HOLD = """
    INSERT INTO gateway_holds (authorization_key, authorization_id, gateway, closed_at)
    VALUES (%(key)s, %(id)s, %(gateway)s, clock_timestamp())
    ON CONFLICT (authorization_key) DO UPDATE
    SET closed_at = COALESCE(gateway_holds.closed_at, excluded.closed_at)
    RETURNING *"""
# Note a refund that will be asked for. No row: the key is taken.
INSERT_ASKED_REFUND = """
    INSERT INTO gateway_refunds (id, authorization_id, idempotency_key, fingerprint, amount_cents)
    VALUES (%(id)s, %(authorization_id)s, %(key)s, %(fingerprint)s, %(amount_cents)s)
    ON CONFLICT DO NOTHING
    RETURNING *, 0 AS age_s"""
# What was asked under a refund's key, and how long ago. Only the database's clock counts.
LOCK_ASKED_REFUND = """
    SELECT *, extract(epoch FROM clock_timestamp() - created_at)::bigint AS age_s
    FROM gateway_refunds WHERE idempotency_key = %(key)s FOR UPDATE"""
# The gateway has sent a message about a refund: look at it now. It may not have told us its id yet.
LOOK_NOW = """
    UPDATE gateway_refunds SET look_at = clock_timestamp()
    WHERE gateway_id = %(gateway_id)s OR id = %(id)s"""
# Take the refunds that are due for a look. A process that dies with them leaves them to a later one.
TAKE_LOOKS = """
    UPDATE gateway_refunds AS asked SET look_at = clock_timestamp() + interval '5 minutes'
    WHERE id = ANY (ARRAY(
        SELECT id FROM gateway_refunds WHERE look_at <= now()
        ORDER BY look_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING *, EXISTS (SELECT FROM payment_refunds AS refund WHERE refund.id = asked.id) AS is_settled"""
# Look again later, unless a message came meanwhile. The gateway may fail a refund within thirty days of its settlement,
# so it is asked again on some of them. One that is not settled is looked at every day.
LOOK_LATER = """
    UPDATE gateway_refunds AS asked SET look_at = CASE WHEN refund.id IS NULL
        THEN clock_timestamp() + interval '1 day' ELSE (
            SELECT min(refund.created_at + days * interval '1 day') FROM unnest(ARRAY[1, 3, 7, 14, 30]) AS days
            WHERE refund.created_at + days * interval '1 day' > clock_timestamp()) END
    FROM (VALUES (1)) AS always LEFT JOIN payment_refunds AS refund ON refund.id = %(id)s
    WHERE asked.id = %(id)s AND asked.look_at = %(taken)s"""
# Stop looking at a refund that has failed.
LOOK_NO_MORE = "UPDATE gateway_refunds SET look_at = NULL WHERE id = %(id)s"
# Refunds that failed after they had succeeded, and that have not been reported.
FAILED_REFUNDS = """
    SELECT refund.id, refund.idempotency_key
    FROM payment_refunds AS refund JOIN gateway_refunds AS asked ON asked.id = refund.id
    WHERE refund.status = 'FAILED' AND asked.noted_at IS NULL ORDER BY refund.failed_at LIMIT %(limit)s"""
# The caller knows of these failures.
NOTE_FAILURES = """
    UPDATE gateway_refunds SET noted_at = clock_timestamp() WHERE id = ANY (%(ids)s) AND noted_at IS NULL"""
# Holds that the gateway will end within a day, or has ended in the last one.
ENDING_HOLDS = """
    SELECT id, capture_before FROM payment_authorizations
    WHERE status = 'AUTHORIZED'
        AND capture_before BETWEEN now() - interval '1 day' AND now() + interval '1 day'
    ORDER BY capture_before LIMIT %(limit)s"""
# Note the gateway's id of a refund.
NOTE_REFUND = "UPDATE gateway_refunds SET gateway_id = %(gateway_id)s WHERE id = %(id)s AND gateway_id IS NULL"
