"""The console in a browser: every page that is declared, signed in, light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from console.pages import Page as Declared
from console.pages import all_pages

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True},
}
PATIENCE_MS = 15_000
ID = re.compile(r"<(?:\w+:)?(\w+)>")
# Not a page that a person opens: what answers unknown paths, the way to a provider, and parts of a page.
NO_PAGES = (
    "/<path:path>",
    "/sign-in/provider",
    "/sign-in/provider/back",
    "/charts/hour",
    "/charts/day",
    "/orders/<uuid:order_ledger_id>/refund-effect",
    "/jobs/new",  # it needs a filter
)


@dataclass(frozen=True)
class Site:
    """Where the console is, and a key to sign in with."""

    url: str
    key: str

    @contextmanager
    def visited(self, browser: Browser, look: str = "light", *, is_signed_in: bool = True) -> Iterator[Page]:
        """A page of a new browser context, on the overview or at the sign-in."""
        with browser.new_context(**LOOKS[look]) as context:
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            page.goto(f"{self.url}/")
            if is_signed_in:
                sign_in(page, self.key)
            yield page

    def open(self, page: Page, path: str) -> None:
        page.goto(f"{self.url}{path}")


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("Operator key").fill(key)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.wait_for_load_state()  # the script reads the keys and opens the dialogs


def paths(ids: Mapping[str, str]) -> dict[str, str]:
    """Name of a page → its path. Raises KeyError if a page needs an id that is not given."""
    return {page.name: _path(page, ids) for page in all_pages() if _is_opened(page)}


def _is_opened(page: Declared) -> bool:
    return page.method == "GET" and page.path not in NO_PAGES and not page.name.endswith("_fragment")


def _path(page: Declared, ids: Mapping[str, str]) -> str:
    return ID.sub(lambda found: ids[found[1]], page.path)


def watch(page: Page, base_url: str) -> list[str]:
    """Collect what goes wrong from now on: violations of the policy, errors of scripts, foreign hosts, dialogs."""
    problems: list[str] = []

    def note_request(url: str) -> None:
        if not url.startswith((f"{base_url}/", "data:", "blob:")):
            problems.append(f"request to {url}")

    page.on("request", lambda request: note_request(request.url))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", lambda said: said.type in ("error", "warning") and problems.append(f"console: {said.text}"))
    page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    return problems


def cookies_of(context: BrowserContext) -> dict[str, Any]:
    return {str(cookie.get("name")): cookie for cookie in context.cookies()}
