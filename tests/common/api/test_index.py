"""`GET /` of each service: a browser is redirected to the documentation, a program gets an index."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

import edge_api.app
import inventory_service.app
import orders_service.app
import payments_service.app
from common.process.settings import Settings

SETTINGS = Settings.load({"DATABASE_URL": "postgresql://127.0.0.1:1/none", "LOG_LEVEL": "ERROR"})  # no database answers
SERVICES = {
    "edge_api": edge_api.app.create_app,
    "orders_service": orders_service.app.create_app,
    "inventory_service": inventory_service.app.create_app,
    "payments_service": payments_service.app.create_app,
}
BROWSERS = {
    "Firefox": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Chromium": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "HTML only": "text/html",
}
PROGRAMS = {
    "no preference": None,
    "curl": "*/*",
    "JSON": "application/json",
    "JSON first": "application/json, text/html;q=0.5",
    "neither": "image/png",
    "malformed": ";;q=x, /",
}


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> tuple[str, Flask]:
    create_app: Callable[[Settings], Flask] = SERVICES[request.param]
    return request.param, create_app(SETTINGS)


@pytest.mark.parametrize("accept", BROWSERS.values(), ids=BROWSERS)
def test_browser_is_redirected_to_the_documentation(service: tuple[str, Flask], accept: str) -> None:
    client = service[1].test_client()
    response = client.get("/", headers={"Accept": accept})
    assert (response.status_code, response.headers["Location"]) == (302, "/docs")
    assert "Accept" in response.headers["Vary"], "a cache keeps both"
    page = client.get(response.headers["Location"])
    assert (page.status_code, page.mimetype) == (200, "text/html")


@pytest.mark.parametrize("accept", PROGRAMS.values(), ids=PROGRAMS)
def test_program_gets_an_index_in_json(service: tuple[str, Flask], accept: str | None) -> None:
    name, app = service
    client = app.test_client()
    response = client.get("/", headers={"Accept": accept} if accept else {})
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert "Accept" in response.headers["Vary"], "a cache keeps both"
    index = response.get_json()
    assert (index.pop("service"), bool(index.pop("title"))) == (name, True)
    assert set(index) == {"docs", "openapi", "health", "live"}
    statuses = {entry: client.get(path).status_code for entry, path in index.items()}
    assert statuses == {"docs": 200, "openapi": 200, "health": 503, "live": 200}, "each path exists"
