"""The SQL of the page about keys. The digest of a secret is never read. There are few keys: they are made by hand."""

from __future__ import annotations

_STATE = """
CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'valid' END AS state
"""
_VALID = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
_WANTED = f"(%(with_ended)s OR {_VALID})"

_CLIENT_KEY = f"""
SELECT id, client, scopes, created_at, expires_at, revoked_at, last_used_at, {_STATE} FROM client_keys WHERE {_WANTED}
"""
_BY_CLIENT = "ORDER BY client, created_at, id LIMIT %(limit)s"
# One page of the keys of clients: the first one, and those after a key.
CLIENT_KEYS = f"{_CLIENT_KEY} {_BY_CLIENT}"
CLIENT_KEYS_AFTER = f"""
{_CLIENT_KEY} AND (client, created_at, id) > (SELECT client, created_at, id FROM client_keys WHERE id = %(after)s)
{_BY_CLIENT}
"""
_OPERATOR_KEY = f"""
SELECT id, name, role, created_at, expires_at, revoked_at, last_used_at, {_STATE} FROM operator_keys WHERE {_WANTED}
"""
_BY_NAME = "ORDER BY name, created_at, id LIMIT %(limit)s"
# The same of the keys of operators.
OPERATOR_KEYS = f"{_OPERATOR_KEY} {_BY_NAME}"
OPERATOR_KEYS_AFTER = f"""
{_OPERATOR_KEY} AND (name, created_at, id) > (SELECT name, created_at, id FROM operator_keys WHERE id = %(after)s)
{_BY_NAME}
"""
# Lock the valid keys of admins, in one order. Of two admins who revoke each other's key, one waits, and then sees that
# the other's is gone.
LOCK_ADMIN_KEYS = f"SELECT id FROM operator_keys WHERE role = 'admin' AND {_VALID} ORDER BY id FOR UPDATE"
