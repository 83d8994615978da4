"""Each route of each participant with each credential: the status that the caller gets."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module

import pytest
from flask import Flask

from common.api.access import PUBLIC, Callers, Signed, callers
from common.api.paths import openapi_path
from common.api.routes import Operation
from common.credentials.service_tokens import CALLERS, LIFETIME_S, OPS, OPS_LIFETIME_S, PARTICIPANTS, issue
from common.process.settings import Settings
from tests import credentials

KEY, OLD_KEY, REMOVED_KEY = credentials.TOKEN_KEY, "an-old-key-still-listed-" * 2, "a-key-that-was-removed-" * 2
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
# The callers of each route, without OPS, which may call all. A new route needs a row here, on purpose.
POLICY: dict[tuple[str, str, str], set[str]] = {
    ("inventory_service", "POST", "/inventory/products"): {"edge_api"},
    ("inventory_service", "PATCH", "/inventory/products/{product_id}"): {"edge_api", "console"},
    ("inventory_service", "GET", "/inventory/products"): {"edge_api"},
    ("inventory_service", "GET", "/inventory/products/{product_id}/availability"): set(),
    ("inventory_service", "POST", "/inventory/products/{product_id}/stock"): {"edge_api", "orchestrator", "console"},
    ("inventory_service", "POST", "/inventory/reservations"): {"orchestrator"},
    ("inventory_service", "DELETE", "/inventory/reservations/{order_id}"): {"orchestrator"},
    ("orders_service", "POST", "/orders"): {"orchestrator"},
    ("orders_service", "GET", "/orders/{order_id}"): set(),
    ("orders_service", "PUT", "/orders/{order_id}/confirm"): {"orchestrator"},
    ("orders_service", "PUT", "/orders/{order_id}/cancel"): {"orchestrator"},
    ("payments_service", "POST", "/payments/authorize"): {"edge_api"},
    ("payments_service", "POST", "/payments/capture/{authorization_id}"): {"orchestrator"},
    ("payments_service", "POST", "/payments/void/{authorization_id}"): {"orchestrator"},
    ("payments_service", "POST", "/payments/void"): {"orchestrator"},
    ("payments_service", "POST", "/payments/refund/{authorization_id}"): {"orchestrator"},
    ("payments_service", "GET", "/payments/{authorization_id}"): set(),
    ("payments_service", "POST", "/payments/changes"): {"orchestrator"},
    ("payments_service", "POST", "/payments/simulate/settle_refunds"): set(),
    ("payments_service", "GET", "/payments/gateway/payments"): set(),
    ("payments_service", "GET", "/payments/gateway/refunds"): set(),
    ("payments_service", "GET", "/payments/gateway/payment"): set(),
}
# The sender signs the body (payments_service/test_stripe_changes.py).
SIGNED = {("payments_service", "POST", "/payments/webhooks/stripe"): Signed("Stripe-Signature")}
OPERATIONS = [
    pytest.param(name, operation, id=f"{operation.method} {openapi_path(operation.path)}")
    for name in PARTICIPANTS
    for operation in import_module(f"{name}.routes").api.operations
    if not isinstance(operation.access, Signed)
]


@pytest.fixture(scope="module")
def app(migrated_url: str) -> Callable[[str], Flask]:
    settings = Settings.load(
        {"DATABASE_URL": migrated_url, "LOG_LEVEL": "ERROR", "SERVICE_TOKEN_KEYS": f"{KEY},{OLD_KEY}"}
    )
    apps = {name: import_module(f"{name}.app").create_app(settings) for name in PARTICIPANTS}
    return apps.__getitem__


def status(app: Flask, operation: Operation, authorization: str) -> int:
    """The status of a call with an empty body. 400 or 404: the caller was let in."""
    path = openapi_path(operation.path).replace("{authorization_id}", "auth_" + "0" * 24)
    for name in ("product_id", "order_id"):
        path = path.replace(f"{{{name}}}", ID)
    headers = {"Authorization": authorization, "Idempotency-Key": "k"}
    content = {"json": {"unknown": 1}} if operation.may_change else {}
    return app.test_client().open(path, method=operation.method, headers=headers, **content).status_code


def token(audience: str, caller: str = OPS, key: str = KEY, lifetime_s: float = LIFETIME_S, age_s: float = 0) -> str:
    return f"Bearer {issue([key], caller, audience, time.time() - age_s, lifetime_s)}"


def test_routes_declare_the_callers_of_the_policy() -> None:
    declared = {
        (name, operation.method, openapi_path(operation.path)): operation.access
        for name in PARTICIPANTS
        for operation in import_module(f"{name}.routes").api.operations
    }
    assert declared == {route: callers(*names) for route, names in POLICY.items()} | SIGNED


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_only_declared_callers_are_let_in(app: Callable[[str], Flask], name: str, operation: Operation) -> None:
    assert isinstance(operation.access, Callers)
    assert operation.access.names <= set(CALLERS)
    let_in = {caller for caller in CALLERS if status(app(name), operation, token(name, caller)) not in (401, 403)}
    assert let_in == operation.access.names | {OPS}
    for caller in set(CALLERS) - let_in:
        assert status(app(name), operation, token(name, caller)) == 403


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_other_credentials_are_refused(app: Callable[[str], Flask], name: str, operation: Operation) -> None:
    (other, *_) = (each for each in PARTICIPANTS if each != name)
    good = token(name)
    refused = {
        "none": "",
        "the scheme alone": "Bearer",
        "no scheme": good.removeprefix("Bearer "),
        "another scheme": good.replace("Bearer", "Basic"),
        "twice": f"{good},{good}",
        "malformed": good[:-3],
        "another service's": token(other),
        "expired": token(name, age_s=2 * LIFETIME_S),
        "a caller's for an hour": token(name, "orchestrator", lifetime_s=OPS_LIFETIME_S),
        "a removed key's": token(name, key=REMOVED_KEY),
        "a client's": f"Bearer {credentials.EDGE_KEY}",
        "the key itself": f"Bearer {KEY}",
    }
    found = {what: status(app(name), operation, authorization) for what, authorization in refused.items()}
    assert found == dict.fromkeys(refused, 401)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_listed_keys_are_accepted(app: Callable[[str], Flask], name: str, operation: Operation) -> None:
    for authorization in (token(name, key=OLD_KEY), token(name, lifetime_s=OPS_LIFETIME_S), token(name)):
        assert status(app(name), operation, authorization) not in (401, 403)
        assert status(app(name), operation, authorization.replace("Bearer", "bearer")) not in (401, 403)


@pytest.mark.parametrize("name", ["edge_api", *PARTICIPANTS])
def test_every_route_is_declared(migrated_url: str, name: str) -> None:
    """A rule of Flask that is not an operation would have no guard. Only the documentation has such rules."""
    settings = Settings.load({"DATABASE_URL": migrated_url, **credentials.SETTINGS})
    rules = {(rule.rule, method) for rule in import_module(f"{name}.app").create_app(settings).url_map.iter_rules()
             for method in rule.methods or () if method not in ("HEAD", "OPTIONS")}  # fmt: skip
    declared = {(operation.path, operation.method) for operation in import_module(f"{name}.routes").api.operations}
    public = {("/", "GET"), ("/health", "GET"), ("/live", "GET"), ("/openapi.json", "GET")}
    assert {rule for rule in rules - declared if not rule[0].startswith("/docs")} == public
    assert all(operation.access != PUBLIC for operation in import_module(f"{name}.routes").api.operations)


def test_route_without_a_declaration_cannot_be_made() -> None:
    api = import_module("payments_service.routes").api
    with pytest.raises(TypeError, match="access"):
        api.route("GET", "/secret", answer=object)
