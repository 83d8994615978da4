"""The page at /docs of each service, in a real browser: it shows every operation, without errors or foreign hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

import edge_api.app
import edge_api.routes
import inventory_service.app
import inventory_service.routes
import orders_service.app
import orders_service.routes
import payments_service.app
import payments_service.routes
from common.api.paths import openapi_path
from common.api.routes import Api
from common.process.settings import Settings
from tests.browser.serving import launched, served

# The page needs no database: nothing listens at this address.
SETTINGS = Settings.load({"DATABASE_URL": "postgresql://127.0.0.1:1/none", "LOG_LEVEL": "ERROR"})
SERVICES = (
    pytest.param(edge_api.app.create_app, edge_api.routes.api, id="edge"),
    pytest.param(orders_service.app.create_app, orders_service.routes.api, id="orders"),
    pytest.param(inventory_service.app.create_app, inventory_service.routes.api, id="inventory"),
    pytest.param(
        payments_service.app.create_app,
        payments_service.routes.api.without(payments_service.routes.OF_GATEWAY),
        id="payments",
    ),
)
PATIENCE_MS = 15_000  # the page takes about 1 s, and longer on a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def watch(page: Page, base_url: str) -> list[str]:
    """Collect all problems on the page from now on."""
    problems: list[str] = []

    def note_request(url: str) -> None:
        if not url.startswith((f"{base_url}/", "data:", "blob:")):
            problems.append(f"request to {url}")

    page.on("request", lambda request: note_request(request.url))
    page.on("requestfailed", lambda request: problems.append(f"no answer: {request.url}"))
    page.on("response", lambda response: response.ok or problems.append(f"{response.status}: {response.url}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", lambda said: said.type == "error" and problems.append(f"console: {said.text}"))
    return problems


@pytest.mark.parametrize(("create_app", "api"), SERVICES)
def test_docs_page_shows_every_operation(browser: Browser, create_app: Callable[..., Flask], api: Api) -> None:
    with served(create_app(SETTINGS)) as base_url, browser.new_page() as page:
        problems = watch(page, base_url)
        page.goto(f"{base_url}/docs")
        paths = [*(openapi_path(operation.path) for operation in api.operations), "/", "/health", "/live"]
        for path in paths:
            expect(page.get_by_text(path, exact=True).first).to_be_visible(timeout=PATIENCE_MS)
        expect(page).to_have_title(api.title)
        expect(page.get_by_role("button", name="TRY")).to_have_count(len(paths))
        assert "\n".join(problems) == ""


def test_docs_page_sends_a_request_on_try(browser: Browser) -> None:
    with served(payments_service.app.create_app(SETTINGS)) as base_url, browser.new_page() as page:
        problems = watch(page, base_url)
        page.goto(f"{base_url}/docs")
        with page.expect_response(f"{base_url}/live", timeout=PATIENCE_MS) as answered:
            page.get_by_role("button", name="TRY").last.click()
        assert answered.value.status == 200
        assert "\n".join(problems) == ""


NEW_SCRIPT = "const script = document.body.appendChild(document.createElement('script'));"


@pytest.mark.parametrize(
    "attack",
    [
        f"{NEW_SCRIPT} script.textContent = 'window.ran = 1'",
        f"{NEW_SCRIPT} script.src = 'data:,window.ran = 1'",
        "document.body.innerHTML = '<img src=data: onerror=\"window.ran = 1\">'",
        "setTimeout('window.ran = 1')",
    ],
    ids=["inline script", "foreign script", "event handler", "text as code"],
)
def test_docs_page_runs_no_injected_script(browser: Browser, attack: str) -> None:
    with served(edge_api.app.create_app(SETTINGS)) as base_url, browser.new_page() as page:
        page.goto(f"{base_url}/docs")
        with page.expect_console_message(lambda said: "Content Security Policy" in said.text, timeout=PATIENCE_MS):
            page.evaluate(f"() => {{ {attack} }}")
        assert page.evaluate("() => window.ran") is None


def test_docs_page_cannot_be_framed(browser: Browser) -> None:
    with served(edge_api.app.create_app(SETTINGS)) as base_url, browser.new_page() as page:
        with page.expect_event("console", lambda said: "frame-ancestors" in said.text, timeout=PATIENCE_MS):
            page.set_content(f'<iframe src="{base_url}/docs"></iframe>')
        assert all(frame.url.startswith("chrome-error:") for frame in page.frames[1:])
