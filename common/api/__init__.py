"""What an HTTP service is made of: routes as data, one error shape, kinds of value, idempotency, OpenAPI.

Imports `json_text`, `process`, `database` and `domain`. The services and `common.server` may import it.
"""
