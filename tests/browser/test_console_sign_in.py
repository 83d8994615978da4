"""Sign-in with a real OpenID provider at another site, in a browser that keeps to SameSite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from common.process.settings import Settings
from console.app import create_app
from tests.browser.console_site import PATIENCE_MS, cookies_of
from tests.browser.serving import launched, served
from tests.console.real_provider import real_provider
from tests.system.stack import free_port


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def site(settings: Callable[..., Settings], tmp_path: Path) -> Iterator[str]:
    """The console at 127.0.0.1. The provider is at localhost, which is another site."""
    port = free_port()
    provider = real_provider(f"http://127.0.0.1:{port}/sign-in/provider/back", tmp_path / "provider.log")
    with provider as given:
        app: Flask = create_app(settings(**given))
        with served(app, port) as site:
            yield site


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context.new_page()


def sign_in(page: Page, login: str) -> None:
    page.get_by_role("link", name="Sign in with your company's account").click()
    page.locator("input[name=login]").fill(login)
    page.locator("input[name=password]").fill("any")
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Continue").click()


def test_person_lands_on_the_page_that_was_asked_for(page: Page, site: str) -> None:
    page.goto(f"{site}/orders?status=FAILED")
    sign_in(page, "ada.ops")
    expect(page).to_have_url(f"{site}/orders?status=FAILED")
    expect(page.get_by_text("ada@shop.example")).to_be_visible()
    cookies = {name: each for name, each in cookies_of(page.context).items() if each["domain"] == "127.0.0.1"}
    assert set(cookies) == {"holdfast_session"}
    assert cookies["holdfast_session"]["sameSite"] == "Strict"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Operator key")).to_be_visible()


def test_person_without_a_group_reads_why(page: Page, site: str) -> None:
    page.goto(site)
    sign_in(page, "mallory.marketing")
    expect(page.get_by_text("Your account is in no group that may use this console.")).to_be_visible()
    assert "holdfast_session" not in cookies_of(page.context)
