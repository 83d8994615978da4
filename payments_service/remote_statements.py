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
# Note the gateway's id of a refund.
NOTE_REFUND = "UPDATE gateway_refunds SET gateway_id = %(gateway_id)s WHERE id = %(id)s AND gateway_id IS NULL"
