"""Checks that schemathesis runs on every answer. The test that starts it tells in the environment what to look for."""

from __future__ import annotations

import json
import os
from typing import Any

import schemathesis

IDS = json.loads(os.environ.get("OTHERS_IDS", "{}"))
"""Names of path and query parameters, each with an id of the other client."""
KEY = os.environ.get("OTHERS_KEY", "")
"""An idempotency key of the other client."""
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


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case, __: dict[str, Any]) -> None:
    """Ask for what belongs to the other client."""
    for place in (case.path_parameters, case.query):
        for name in IDS.keys() & (place or {}).keys():
            place[name] = IDS[name]
    if KEY and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = KEY
