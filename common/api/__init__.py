"""The parts of an HTTP service: routes as data, one error body, kinds of values, idempotency, OpenAPI.

Imports `json_text`, `process`, `database` and `domain`. The services and `common.server` may import it.
"""
