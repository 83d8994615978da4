"""Parts of pages that refresh themselves, and the dialogs of an order, in a real browser on the real system."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.browser.test_console import Shop, browser, found_by_axe, new_database, new_migrated_database, shop
from tests.waiting import eventually

__all__ = ["browser", "new_database", "new_migrated_database", "shop"]  # fixtures

Paused = Callable[[], None]
SETTLED_MS = 60_000  # a part is live for half a minute after the end


@contextmanager
def parts_of(page: Page) -> Iterator[list[int]]:
    """The statuses of the answers to a page's asking for its live part, from now on."""
    statuses: list[int] = []

    def note(answer: Response) -> None:
        if answer.url.split("?")[0].endswith("/live"):
            statuses.append(answer.status)

    page.on("response", note)
    yield statuses
    page.remove_listener("response", note)


def wait_for_parts(page: Page, statuses: list[int], number: int, status: int | None = None) -> None:
    def reached() -> bool:
        page.wait_for_timeout(100)  # lets Playwright handle its events
        return len([each for each in statuses if status in (None, each)]) >= number

    eventually(reached, 30)


@contextmanager
def stopped(shop: Shop) -> Iterator[None]:
    """No orchestrator: what is accepted waits."""
    shop.stack.stop("orchestrator.1")
    try:
        yield
    finally:
        if "orchestrator.1" not in shop.stack.processes:
            shop.stack.start("orchestrator.1")


@contextmanager
def frozen(shop: Shop, name: str) -> Iterator[None]:
    """The service takes connections, and answers none."""
    processes = [shop.stack.processes[name].pid, *shop.stack.workers(name)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def held(shop: Shop) -> Iterator[None]:
    with stopped(shop):
        yield


def test_first_screen_of_the_overview_says_that_a_service_is_frozen(browser: Browser, shop: Shop) -> None:
    with frozen(shop, "orders_service"), shop.site("viewer").visited(browser) as page:
        problem = page.get_by_role("link", name="orders_service is silent: timeout")
        expect(problem).to_be_in_viewport(timeout=9_000)
        expect(page.locator("#announcer")).to_contain_text("orders_service is silent: timeout")
        assert found_by_axe(page) == []
        problem.click()
        expect(page.get_by_role("region", name="Services")).to_be_in_viewport()


def test_refund_is_typed_sent_and_seen_to_its_end(browser: Browser, shop: Shop) -> None:
    order = shop.order(shop.stack.product(stock=5))
    shop.wait_for(order, "COMPLETED")
    site = shop.site("operator")
    with stopped(shop), site.visited(browser) as page:
        site.open(page, f"/orders/{order}")
        page.get_by_role("button", name="Refund", exact=True).click()
        dialog = page.get_by_role("dialog", name="Refund?")
        expect(dialog.get_by_text("Choose what to refund.")).to_be_visible()
        dialog.get_by_role("textbox", name="Amount in").fill("0.50")
        expect(dialog.get_by_role("radio", name="An amount in")).to_be_checked()
        expect(dialog.get_by_text("Refunds 0.50 USD to the customer")).to_be_visible()
        dialog.get_by_role("checkbox").check()
        expect(
            dialog.get_by_text("You chose an amount, and “Put the pieces back into stock” is ticked")
        ).to_be_visible()
        dialog.get_by_role("checkbox").uncheck()
        dialog.get_by_role("button", name="Refund", exact=True).click()
        expect(page.get_by_text("A refund of 0.50 USD was asked for.")).to_be_visible()
        page.evaluate("window.stays = true")
        expect(page.locator("#announcer")).to_have_text("A refund of 0.50 USD was asked for.")
        expect(page.locator(".lead").get_by_text("a refund of 0.50 USD is on its way")).to_be_visible()
        shop.stack.start("orchestrator.1")
        expect(page.locator(".lead").get_by_text("refunded 0.50 USD")).to_be_visible(timeout=30_000)
        expect(page.locator("#announcer")).to_contain_text("refunded 0.50 USD")
        assert page.evaluate("window.stays")


def test_ended_order_is_asked_for_no_more(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        page.clock.install()
        site.open(page, f"/orders/{shop.failed}")
        expect(page.locator("#order [data-live]")).to_have_count(0, timeout=SETTLED_MS)
        with parts_of(page) as asked:
            page.clock.run_for(20_000)
            page.wait_for_timeout(500)
            assert asked == []


@pytest.mark.usefixtures("held")
def test_part_waits_for_whoever_reads_it(browser: Browser, shop: Shop) -> None:
    order = shop.order(shop.stack.product(stock=5))
    site = shop.site("operator")
    with site.visited(browser) as page, parts_of(page) as asked:
        site.open(page, f"/orders/{order}")
        wait_for_parts(page, asked, 1, status=304)
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#order .saga').previousElementSibling)")
        expect(page.locator(".as-of.waits")).to_have_count(1)
        asked.clear()
        page.wait_for_timeout(4_000)
        assert asked == []
        assert page.evaluate("getSelection().toString()") == "Saga"
        page.evaluate("getSelection().removeAllRanges()")
        wait_for_parts(page, asked, 1)
        page.locator("#order button").first.focus()
        expect(page.locator(".as-of.waits")).to_have_count(1)
        page.evaluate("document.activeElement.blur()")
        expect(page.locator(".as-of.waits")).to_have_count(0)
        page.evaluate(
            "document.querySelector('#order').insertAdjacentHTML('beforeend', '<details open>text</details>')"
        )
        expect(page.locator(".as-of.waits")).to_have_count(1)
        page.evaluate("document.querySelector('#order details').open = false")
        expect(page.locator(".as-of.waits")).to_have_count(0)
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Resume")).to_have_attribute("aria-pressed", "true")


@pytest.mark.usefixtures("held")
def test_overdue_order_says_so_by_the_clock_of_the_database(browser: Browser, shop: Shop) -> None:
    order = shop.order(shop.stack.product(stock=5))
    site = shop.site("viewer")
    with site.visited(browser) as page:
        page.clock.install(time="2020-01-01T00:00:00Z")  # a clock that is wrong by years
        site.open(page, f"/orders/{order}")
        place = page.locator("[data-countdown]").first
        expect(place).to_have_text("due now")
        page.clock.run_for(100_000)
        expect(place).to_have_text("overdue for 2 min: no orchestrator has taken it")


@pytest.mark.usefixtures("held")
def test_refused_form_is_opened_again_with_what_was_typed(browser: Browser, shop: Shop) -> None:
    order = shop.order(shop.stack.product(stock=5))
    site = shop.site("operator")
    with site.visited(browser) as page:
        site.open(page, f"/orders/{order}")
        page.get_by_role("button", name="Retry now").click()
        dialog = page.get_by_role("dialog", name="Retry now?")
        hint = dialog.get_by_label("Reason")
        expect(hint).to_have_accessible_description("It stays in the record: name no customer.")
        hint.fill("a\tb")
        dialog.get_by_role("button", name="Retry now").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Control characters are not allowed.")
        expect(dialog.get_by_label("Reason")).to_have_value("a\tb")
        dialog.get_by_label("Reason").fill("the gateway is back")
        dialog.get_by_role("button", name="Retry now").click()
        expect(page.get_by_text("The order was made due.")).to_be_visible()


def test_keys_do_nothing_behind_a_dialog(browser: Browser, shop: Shop) -> None:
    site = shop.site("admin")
    with site.visited(browser) as page:
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        for key in "gotp":
            page.keyboard.press(key)
        assert page.url == f"{site.url}/"
        expect(page.locator("html[data-theme]")).to_have_count(0)
        expect(page.locator("body.paused")).to_have_count(0)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
        for key, path in {"k": "/keys", "u": "/audit", "r": "/record"}.items():
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(f"{site.url}{path}")  # and for its script


def test_button_can_be_pressed_again_on_a_page_that_is_shown_again(browser: Browser, shop: Shop) -> None:
    site = shop.site("operator")
    with site.visited(browser) as page:
        page.evaluate("document.addEventListener('submit', (event) => event.preventDefault())")
        button = page.get_by_role("button", name="Sign out")
        button.click()
        expect(button).to_be_disabled()
        page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        expect(button).to_be_enabled()
