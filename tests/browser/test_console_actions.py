"""Each action of the console, pressed in a real browser on the real processes, and its effect as the pages show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from tests.browser.console_site import PATIENCE_MS, cookies_of, sign_in
from tests.browser.seller import ON_THIS_MACHINE, Api, Seller
from tests.browser.serving import launched
from tests.credentials import edge_headers
from tests.database.conftest import new_database, new_migrated_database
from tests.system.stack import running
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver

__all__ = ["new_database", "new_migrated_database"]  # fixtures

# What has failed waits for a person: nothing is tried again during a test, unless it is pressed.
PATIENT = {"RETRY_BASE_S": "300", "RETRY_MAX_ATTEMPTS": "2", "RETRY_JITTER": "0"}
WHY = "the depot is back"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(new_migrated_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seller]:
    url = new_migrated_database()
    with running(url, tmp_path_factory.mktemp("actions"), **ON_THIS_MACHINE, **PATIENT) as stack:
        stack.start("console", "webhooks")
        yield Seller(stack, url)


@pytest.fixture(scope="module")
def api(shop: Seller) -> Api:
    return Api(shop.site())


@pytest.fixture(scope="module")
def admin(browser: Browser, shop: Seller) -> Iterator[BrowserContext]:
    with shop.site().visited(browser) as page:
        yield page.context


@pytest.fixture
def page(admin: BrowserContext) -> Iterator[Page]:
    """A page of an admin who is signed in."""
    page = admin.new_page()
    yield page
    page.close()


@contextmanager
def waiting(shop: Seller, api: Api, *references: str) -> Iterator[list[str]]:
    """One order of 5.00 USD for each reference. They wait, for the inventory service is down within the block."""
    product = shop.stack.product(price_cents=500)
    with ExitStack() as inventory:
        with shop.without("orchestrator.1"):
            orders = [shop.order(product, reference=each) for each in references]
            inventory.enter_context(shop.without("inventory_service"))
        for order in orders:
            api.wait_for_order(order, failed=1)
        yield orders


@pytest.fixture(scope="module")
def stuck(shop: Seller, api: Api) -> list[str]:
    """Three orders that have waited for the inventory service, which is up again."""
    with waiting(shop, api, "crate 1", "rack 7", "rack 7") as orders:
        return orders


def show(page: Page, shop: Seller, path: str) -> None:
    page.goto(f"{shop.stack.url('console')}{path}")


def ask(page: Page, button: str, title: str) -> Locator:
    """Press a button that opens a dialog."""
    opener = page.get_by_role("button", name=button, exact=True)
    opener.wait_for()
    page.wait_for_load_state()  # the script opens the dialog
    opener.click()
    dialog = page.get_by_role("dialog", name=title)
    expect(dialog).to_be_visible()
    return dialog


def confirm(dialog: Locator, button: str, *, reason: str | None = None) -> None:
    if reason:
        dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=button, exact=True).click()


def sees(where: Page | Locator, text: str) -> None:
    expect(where.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def figure(page: Page, heading: str) -> Locator:
    """What one card of a product says."""
    return page.locator("section.card").filter(has=page.get_by_role("heading", name=heading, exact=True))


def test_refund_of_an_amount(page: Page, shop: Seller) -> None:
    product = shop.stack.product(stock=5, price_cents=500)
    show(page, shop, f"/orders/{shop.sold(product, 2)}")
    dialog = ask(page, "Refund", "Refund?")
    dialog.get_by_role("radio", name="An amount").check()
    dialog.get_by_role("textbox", name="Amount in USD").fill("2.50")
    sees(dialog, "Refunds 2.50 USD to the customer; 7.50 USD is left. Stock does not change.")
    dialog.get_by_label("Reason").select_option("other")
    confirm(dialog, "Refund")
    sees(page, "A refund of 2.50 USD was asked for.")
    sees(page, "refunded 2.50 USD")
    expect(row(page, "succeeded").first).to_contain_text("2.50 USD")
    show(page, shop, f"/products/{product}")
    expect(figure(page, "In stock")).to_contain_text("3")


def test_refund_of_lines_that_go_back_into_stock(page: Page, shop: Seller) -> None:
    product = shop.stack.product(stock=5, price_cents=500, name="Green tea")
    show(page, shop, f"/orders/{shop.sold(product, 3)}")
    dialog = ask(page, "Refund", "Refund?")
    dialog.get_by_role("radio", name="Pieces").check()
    dialog.get_by_role("spinbutton", name="Green tea").fill("2")
    dialog.get_by_role("checkbox", name="back into stock").check()
    sees(dialog, "Refunds 10.00 USD to the customer; 5.00 USD is left. Puts 2 pieces back into stock.")
    confirm(dialog, "Refund")
    sees(page, "A refund of 10.00 USD was asked for.")
    sees(page, "refunded 10.00 USD")
    sees(page.get_by_label("The books"), "yes")
    show(page, shop, f"/products/{product}")
    expect(figure(page, "In stock")).to_contain_text("4")


def test_refund_that_waits_is_dealt_with_and_retried(page: Page, shop: Seller, api: Api) -> None:
    order = shop.sold(shop.stack.product(price_cents=500))
    again = "Retry the refund of 5.00 USD now"
    with shop.without("payments_service"):
        show(page, shop, f"/orders/{order}")
        dialog = ask(page, "Refund", "Refund?")
        dialog.get_by_role("radio", name="All that is left").check()
        sees(dialog, "Refunds 5.00 USD to the customer; 0.00 USD is left.")
        confirm(dialog, "Refund")
        sees(page, "A refund of 5.00 USD was asked for.")
        api.wait_for_refund(order, failed=1)
        show(page, shop, f"/orders/{order}")
        dialog = ask(page, again, "Retry the refund now?")
        sees(dialog, "Asks the gateway again to refund 5.00 USD, once.")
        confirm(dialog, "Retry now", reason="once more")
        sees(page, "The refund was made due.")
        api.wait_for_refund(order, failed=2)
        show(page, shop, "/attention")
        row(page, order).get_by_role("link", name=order).click()
        dialog = ask(page, "The refund of 5.00 USD is dealt with", "Dealt with?")
        sees(dialog, "Hides the mark until the work fails again. No money moves.")
        confirm(dialog, "Mark as dealt with", reason="the gateway is told")
        sees(page, "The refund was marked as dealt with.")
        sees(page, "dealt with by ada: the gateway is told")
    confirm(ask(page, again, "Retry the refund now?"), "Retry now", reason="the gateway is back")
    sees(page, "refunded 5.00 USD")


def test_waiting_order_is_retried(page: Page, shop: Seller, stuck: list[str]) -> None:
    order = stuck[0]
    show(page, shop, f"/orders/{order}")
    sees(page.get_by_label("What is happening"), "reserve inventory")
    dialog = ask(page, "Retry now", "Retry now?")
    sees(dialog, "If the order goes on, 5.00 USD is charged once.")
    confirm(dialog, "Retry now", reason=WHY)
    sees(page, "The order was made due.")
    expect(page.locator("#order .lead .status").first).to_have_text("completed", timeout=PATIENCE_MS)
    show(page, shop, f"/record?order_ledger_id={order}")
    expect(row(page, WHY)).to_contain_text("ada")


def test_waiting_order_is_cancelled_and_dealt_with(page: Page, shop: Seller, api: Api) -> None:
    with waiting(shop, api, "crate 1") as (order,):
        show(page, shop, f"/orders/{order}")
        dialog = ask(page, "Cancel", "Cancel this order?")
        sees(dialog, "Releases the hold of 5.00 USD; nothing is charged.")
        dialog.get_by_label("Reason").select_option("duplicate")
        dialog.get_by_label("Note").fill("asked on the phone")
        confirm(dialog, "Cancel the order")
        sees(page, "The cancellation was asked for.")
        sees(page, "asked on the phone")
        api.wait_for_order(order, failed=1, status="COMPENSATING")
        show(page, shop, f"/orders/{order}")
        dialog = ask(page, "Retry now", "Retry now?")
        sees(dialog, "nothing of 5.00 USD stays charged or held.")
        confirm(dialog, "Retry now", reason="once more")
        api.wait_for_order(order, failed=2)
        show(page, shop, "/attention")
        row(page, order).get_by_role("link", name=order).click()
        dialog = ask(page, "Dealt with", "Dealt with?")
        sees(dialog, "Hides the mark until the work fails again. No money moves.")
        confirm(dialog, "Mark as dealt with", reason="the depot is told")
        sees(page, "dealt with by ada: the depot is told")
        expect(page.get_by_role("button", name="Dealt with", exact=True)).to_have_count(0)
    confirm(ask(page, "Retry now", "Retry now?"), "Retry now", reason=WHY)
    expect(page.locator("#order .lead .status").first).to_have_text("failed", timeout=PATIENCE_MS)
    sees(page.get_by_label("What is happening"), "cancelled")


def test_dialog_stays_open_when_a_refresh_is_answered(page: Page, shop: Seller) -> None:
    asked: list[Route] = []
    page.route("**/live?*", lambda route: asked.append(route))  # noqa: PLW0108 Playwright sets an attribute on it
    show(page, shop, f"/orders/{shop.sold(shop.stack.product())}")
    page.evaluate("document.addEventListener('htmx:afterRequest', () => { window.answered = true })")
    eventually(lambda: page.evaluate("1") and asked)
    dialog = ask(page, "Write a note", "Write a note")
    dialog.get_by_label("Note").fill("half a sent")
    asked.pop().continue_()
    eventually(lambda: page.evaluate("window.answered"))
    expect(dialog.get_by_label("Note")).to_have_value("half a sent")


def test_note(page: Page, shop: Seller) -> None:
    show(page, shop, f"/orders/{shop.sold(shop.stack.product())}")
    dialog = ask(page, "Write a note", "Write a note")
    sees(dialog, "No money moves.")
    dialog.get_by_label("Note").fill("The parcel was wet.")
    confirm(dialog, "Write the note")
    sees(page, "The note is in the timeline.")
    expect(page.get_by_role("listitem").filter(has_text="The parcel was wet.")).to_contain_text("ada")


def test_job_retries_all_orders_of_a_filter(page: Page, shop: Seller, stuck: list[str]) -> None:
    show(page, shop, "/orders")
    page.get_by_role("textbox", name="Reference").fill("rack 7")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Retry all that match").click()
    sees(page, "Retry 2 orders?")
    sees(page, "2 orders, 10.00 USD in all: each that is still open is tried again now.")
    page.get_by_label("Orders a second").fill("50")
    confirm(page.get_by_role("main"), "Retry them", reason=WHY)
    sees(page, "2 of 2 orders")
    for order in stuck[1:]:
        expect(row(page, order)).to_contain_text("done")
        shop.wait_for(order, "COMPLETED")


def test_stock_and_price_of_a_product(page: Page, shop: Seller) -> None:
    product = shop.stack.product(stock=5, price_cents=500)
    show(page, shop, f"/products/{product}")
    dialog = ask(page, "Add stock", "Add stock")
    dialog.get_by_label("Pieces to add").fill("7")
    confirm(dialog, "Add to the stock")
    sees(page, "stock 5 → 12.")
    dialog = ask(page, "Correct stock", "Correct stock")
    dialog.get_by_label("Pieces to add").fill("-2")
    confirm(dialog, "Correct the stock")
    sees(page, "stock 12 → 10.")
    dialog = ask(page, "Change name or price", "Change name or price")
    dialog.get_by_label("Price in USD").fill("6.50")
    confirm(dialog, "Change the product", reason="a new season")
    expect(figure(page, "Price")).to_contain_text("6.50 USD")
    expect(figure(page, "In stock")).to_contain_text("10")
    assert shop.get(f"/orders/{shop.sold(product)}")["total_amount_cents"] == 650


def test_product_is_retired_and_sold_again(page: Page, shop: Seller) -> None:
    product = shop.stack.product()
    show(page, shop, f"/products/{product}")
    confirm(ask(page, "Retire", "Retire"), "Retire the product", reason="out of season")
    sees(page, "was retired: new orders for it are refused.")
    with pytest.raises(AssertionError, match="product"):
        shop.order(product)
    confirm(ask(page, "Resume the sale", "Resume the sale"), "Sell it again", reason="the season is back")
    sees(page, "was put on sale again, at 5.00 USD.")
    shop.sold(product)


def test_webhook_endpoint(page: Page, shop: Seller) -> None:
    with Receiver() as receiver:
        show(page, shop, f"/webhooks/{shop.endpoint(f'{receiver.url}/hook')}")
        confirm(ask(page, "Send a test event", "Send a test event"), "Send the test")
        sees(page, "was queued.")
        eventually(lambda: len(receiver.heard) == 1)
        eventually(lambda: page.reload() and row(page, "webhook.test").filter(has_text="204").count())
        confirm(ask(page, "Resend", "Resend webhook.test"), "Resend")
        sees(page, "was queued to be delivered again.")
        eventually(lambda: len(receiver.heard) == 2)
        assert len({each.id for each in receiver.heard}) == 1
        dialog = ask(page, "Resend what failed", "Resend what failed")
        dialog.get_by_label("Since").fill(f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")
        confirm(dialog, "Resend")
        sees(page, "0 deliveries were queued to be delivered again.")
        confirm(ask(page, "Disable", "Disable this endpoint"), "Disable it", reason="it moves house")
        sees(page, "Disabled. Its events are kept until it is enabled again.")
        expect(page.get_by_role("button", name="Send a test event")).to_have_count(0)
        order = shop.sold(shop.stack.product())
        confirm(ask(page, "Enable", "Enable this endpoint"), "Enable it", reason="it has moved")
        sees(page, "Enabled. It gets all events since it was disabled")
        eventually(lambda: any(each.event["data"].get("order_ledger_id") == order for each in receiver.heard))


def test_key_of_a_client(page: Page, shop: Seller) -> None:
    show(page, shop, "/keys")
    dialog = ask(page, "Make a key for a client", "A key for a client")
    dialog.get_by_label("Client").fill("till-7")
    confirm(dialog, "Make the key")
    key = page.get_by_label("The new key").inner_text()
    orders = f"{shop.stack.url('web')}/orders"
    assert requests.get(orders, headers=edge_headers(key), timeout=30).status_code == 200
    page.get_by_role("link", name="To the keys").click()
    expect(row(page, "till-7")).to_be_visible()
    assert key not in page.content()
    row(page, "till-7").get_by_role("button", name="Revoke").click()
    confirm(page.get_by_role("dialog", name="Revoke a key of till-7"), "Revoke the key")
    sees(page, "of till-7 is revoked.")
    expect(row(page, "till-7")).to_have_count(0)
    page.get_by_role("link", name="Also revoked and expired ones").click()
    expect(row(page, "till-7")).to_contain_text("revoked")


def test_key_of_an_operator(browser: Browser, page: Page, shop: Seller) -> None:
    show(page, shop, "/keys")
    dialog = ask(page, "Make a key for an operator", "A key for an operator")
    dialog.get_by_label("Name").fill("grace")
    dialog.get_by_label("Role").select_option("viewer")
    confirm(dialog, "Make the key")
    key = page.get_by_label("The new key").inner_text()
    with shop.site().visited(browser, is_signed_in=False) as hers:
        sign_in(hers, key)
        sees(hers, "grace (viewer)")
        expect(hers.get_by_role("link", name="Keys")).to_have_count(0)
        show(page, shop, "/keys")
        row(page, "grace").get_by_role("button", name="Revoke").click()
        confirm(page.get_by_role("dialog", name="Revoke a key of grace"), "Revoke the key")
        sees(page, "of grace is revoked.")
        show(hers, shop, "/orders")
        expect(hers.get_by_label("Operator key")).to_be_visible()


def test_sign_out_ends_the_session(browser: Browser, shop: Seller) -> None:
    with shop.site("viewer").visited(browser) as page:
        session = cookies_of(page.context)["holdfast_session"]
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Operator key")).to_be_visible()
        page.context.add_cookies([session])
        show(page, shop, "/orders")
        expect(page.get_by_label("Operator key")).to_be_visible()
