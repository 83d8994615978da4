"""Row 38: quantity −1, 0, 1.5, true, "1", 10^18; total over the limit. Required: 400 before SQL."""

from __future__ import annotations

from types import ModuleType

import pytest

import edge_api.app
import inventory_service.app
import orders_service.app
import payments_service.app
from common.api.access import Signed
from common.credentials import client_keys
from common.process.settings import Settings
from edge_api import clients
from tests import credentials
from tests.bad_bodies import BODIES
from tests.bad_requests import READER, BadRequest, bad_requests
from tests.bad_values import CALLS
from tests.faults.target import SECRETS, Target

ALL = bad_requests()
OF_TEST_39 = tuple(f": {name}" for name in BODIES)
APPS = {
    "web": edge_api.app,
    "orders_service": orders_service.app,
    "inventory_service": inventory_service.app,
    "payments_service": payments_service.app,
}
NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "LOG_LEVEL": "ERROR", **credentials.SETTINGS}
KNOWN = {
    id_: clients._Key(
        float("inf"), name, client_keys.digest(secret),
        frozenset(["orders:read"] if name == READER else client_keys.SCOPES), use_is_noted=True,
    )
    for name, (id_, secret) in ((name, client_keys.parts(key) or ("", "")) for name, key in SECRETS.items())
}  # fmt: skip
MOST_CENTS = 999_999_999_999


def of(name: str) -> list[BadRequest]:
    """Return the catalogue's requests for one call, or for unknown paths."""
    return [each for each in ALL if each.name.startswith(f"{name}:") and not each.name.endswith(OF_TEST_39)]


def test_catalogue_covers_every_operation_with_500_requests() -> None:
    assert len({(each.service, each.method, each.path, each.body, str(each.headers)) for each in ALL}) >= 500
    named = {(call.service, name.partition(" ")[0]) for name, call in CALLS.items()}
    assert named == {
        (service, operation.view.__name__)
        for service, app in APPS.items()
        for operation in app.api.operations
        if not isinstance(operation.access, Signed)  # payments_service/test_stripe_changes.py
    }


@pytest.mark.parametrize("name", [*CALLS, *APPS])
def test_bad_value_is_refused_and_writes_nothing(target: Target, name: str) -> None:
    assert [fault for request in of(name) for fault in target.faults(request)] == []


@pytest.mark.parametrize(("service", "module"), APPS.items())
def test_bad_value_is_refused_before_sql(service: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a database, the answer is the same, once the key is known."""
    monkeypatch.setattr(clients.Clients, "_find", lambda _, id_: KNOWN.get(id_, clients._Key(0)))
    client = module.create_app(Settings.load(NOWHERE)).test_client()
    for request in (each for each in ALL if each.service == service and not each.asks_database):
        headers = {**credentials.headers_for(service), **request.headers}
        if service == "web":
            headers["Authorization"] = authorization(request)
        answer = client.open(request.path, method=request.method, data=request.body, headers=headers)
        assert (answer.status_code, answer.json["error"]) == (request.status, request.code), request.name


def authorization(request: BadRequest) -> str:
    named = request.credential in (None, READER)
    return f"Bearer {SECRETS[request.credential or 'alice']}" if named else str(request.credential)


def test_total_over_the_limit_is_refused(target: Target) -> None:
    product = target.stack.product(price_cents=MOST_CENTS)
    before = target.state()
    answer = target.stack.post_order("a large one", product, 2, api_key=SECRETS["alice"])
    assert (answer.status_code, answer.json()["details"]) == (
        400,
        {"items": [f"The total is more than {MOST_CENTS} cents."]},
    )
    assert target.state() == before
