"""The SQL of keys whose change is made by a call with transactions of its own (console/writes.py)."""

from __future__ import annotations

_KEY = "client = %(client)s AND key = %(key)s"

# Take a key before the call. No row: it was taken before.
TAKE_KEY = """
INSERT INTO edge_idempotency_keys (client, key, fingerprint) VALUES (%(client)s, %(key)s, %(fingerprint)s)
ON CONFLICT DO NOTHING
"""
# What came of a key. Null: the call has not ended, or nobody knows how, or the result is no longer kept.
KEY = f"SELECT fingerprint, status, body FROM edge_idempotency_keys WHERE {_KEY} FOR UPDATE"
# Take a key again whose call was refused.
TAKE_KEY_AGAIN = f"UPDATE edge_idempotency_keys SET status = NULL, body = NULL WHERE {_KEY} AND status >= 400"
# Keep what came of a key. What was made stays made, whatever a late repeat was told.
END_KEY = f"""
UPDATE edge_idempotency_keys SET status = %(status)s, body = %(body)s WHERE {_KEY} AND status IS DISTINCT FROM 200
"""
