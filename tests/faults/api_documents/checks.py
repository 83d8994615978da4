"""Checks that schemathesis runs on every answer. The test that starts it tells in the environment what to look for."""

from __future__ import annotations

import json
import os
from typing import Any

import schemathesis

IDS = json.loads(os.environ.get("OTHERS_IDS", "{}"))
"""Names of path and query parameters, each with an id of the other client."""
KEYS = json.loads(os.environ.get("OTHERS_KEYS", "[]"))
"""Idempotency keys of the other client. The first one is sent, until it counts as one of our own."""
NOT_STORED = {400, 401, 403, 405, 413, 415, 429}
"""Statuses that leave a key unused."""
CANARIES = json.loads(os.environ.get("OTHERS_DATA", "[]"))
"""Texts that belong to the other client alone."""


@schemathesis.check
def refuses_without_a_credential(_: schemathesis.CheckContext, response: Any, case: schemathesis.Case) -> None:
    """Everything but a public operation answers 401, unless the address or the method is unknown."""
    described = case.operation.definition.raw
    if described.get("security") == []:
        return
    unknown_address = response.status_code == 404 and "{" in case.operation.path
    other_method = response.status_code == 405 and case.method.upper() != case.operation.method.upper()
    if not (response.status_code == 401 or unknown_address or other_method):
        raise AssertionError(f"{case.method} {case.path}: {response.status_code} without a credential")
    if response.status_code == 401 and "www-authenticate" not in response.headers:
        raise AssertionError("401 without WWW-Authenticate")


@schemathesis.check
def reveals_nothing_of_another_client(_: schemathesis.CheckContext, response: Any, case: schemathesis.Case) -> None:
    """No canary of the other client is in an answer."""
    answer = f"{dict(response.headers)}\n{response.text}"
    found = [canary for canary in CANARIES if canary in answer]
    if found:
        raise AssertionError(f"{case.method} {case.path} reveals {len(found)} texts of another client: {answer}")


@schemathesis.check
def key_of_another_client_is_fresh(_: schemathesis.CheckContext, response: Any, case: schemathesis.Case) -> None:
    """A key that only the other client has used is not used, whatever the body."""
    if not KEYS or (case.headers or {}).get("Idempotency-Key") != KEYS[0]:
        return
    is_reused = response.status_code == 422 and response.json()["error"] == "idempotency_key_reused"
    if is_reused or "idempotency-replayed" in response.headers:
        raise AssertionError(f"{case.method} {case.path} knows the key of another client: {response.text}")
    if response.status_code not in NOT_STORED:
        KEYS.pop(0)


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case, __: dict[str, Any]) -> None:
    """Ask for what belongs to the other client."""
    for place in (case.path_parameters, case.query):
        for name in IDS.keys() & (place or {}).keys():
            place[name] = IDS[name]
    if KEYS and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = KEYS[0]
