"""The console in a real browser, on the real system: accessible, without inline code, and safe to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.console_site import LOOKS, cookies_of, paths, sign_in, watch
from tests.browser.screenshots import take
from tests.browser.seller import ON_THIS_MACHINE, Api, Seller
from tests.browser.serving import launched
from tests.database.conftest import new_database, new_migrated_database
from tests.system.stack import Stack, running
from tests.waiting import eventually

__all__ = ["new_database", "new_migrated_database"]  # fixtures

SERIOUS = ("serious", "critical")
IMAGE = "<img src=x onerror=window.pwned=1>"
# What a customer or a shop can write anywhere, as HTML, as an attribute, and as a script.
HOSTILE = {
    "name": f"Tea {IMAGE}",
    "note": f"</p><script>window.pwned=1</script>{IMAGE}",
    "reference": f'"><b id=x autofocus onfocus=window.pwned=1>{IMAGE[:20]}',
    "email": '"<img/src=x\'onerror=pwned=1>"@shop.example',
    "metadata": {"a": f"{{{{ 7 * 7 }}}}{IMAGE}", "b": "javascript:window.pwned=1", "c": "'\"><svg/onload=pwned=1>"},
    "cancel": f"${{7*7}}{IMAGE}</textarea>",
}
ESCAPED = "document.querySelectorAll('img[src=x], svg[onload], b[id=x], script:not([src]), [onerror]').length"


class Shop(Seller):
    """The real system, and what was sold and set up in it."""

    def __init__(self, stack: Stack, url: str) -> None:
        super().__init__(stack, url)
        product = stack.product(stock=80, name=HOSTILE["name"])
        self.hostile = self.order(product, reference=HOSTILE["reference"], metadata=HOSTILE["metadata"],
                                  email=HOSTILE["email"])  # fmt: skip
        self.wait_for(self.hostile, "COMPLETED")
        note = {"reason": "other", "note": HOSTILE["note"], "amount_cents": 100}
        self.post(f"/orders/{self.hostile}/refunds", note)
        plain = stack.product(stock=0)
        self.failed = self.order(plain)
        self.wait_for(self.failed, "FAILED")
        self.ids = {
            "order_ledger_id": self.hostile,
            "product_id": product,
            "webhook_endpoint_id": self.endpoint("https://hooks.example/holdfast?<b>"),
            "job_id": self.job(),
        }

    def job(self) -> str:
        """A job that has tried to retry an order that has ended."""
        filters = {"status": "COMPENSATING,FAILED"}
        wanted = {"action": "retry", "filter": filters, "reason": HOSTILE["note"], "rate_per_s": 10}
        api = Api(self.site("operator"))
        job = str(api.post("/jobs", wanted)["job_id"])
        eventually(lambda: api.get(f"/jobs/{job}")["ended_at"], 60)
        return job


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(new_migrated_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    url = new_migrated_database()
    with running(url, tmp_path_factory.mktemp("shop"), **ON_THIS_MACHINE) as stack:
        stack.start("console")
        yield Shop(stack, url)


def found_by_axe(page: Page) -> list[str]:
    """Serious and critical findings, with what they are about."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
            for each in found if each["impact"] in SERIOUS]  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_accessible_and_keeps_to_the_policy(browser: Browser, shop: Shop, look: str) -> None:
    site, findings = shop.site(), {}
    with site.visited(browser, look) as page:
        problems = watch(page, site.url)
        for name, path in paths(shop.ids).items():
            site.open(page, path)
            findings[name] = found_by_axe(page)
            if look == "phone":
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                findings[name] += [f"{wide} px wider than the screen"] if wide > 0 else []
    assert {name: found for name, found in findings.items() if found} == {}
    assert problems == []


@pytest.mark.parametrize("look", ["light", "dark"])
def test_sign_in_and_results_are_accessible(browser: Browser, shop: Shop, look: str) -> None:
    site = shop.site()
    with site.visited(browser, look, is_signed_in=False) as page:
        assert found_by_axe(page) == []
        page.get_by_label("Operator key").fill("hfo_wrong")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("unknown, revoked or expired")
        assert found_by_axe(page) == []
        sign_in(page, site.key)
        for path in ("/search?q=a@b.example", "/search?q=nothing", "/orders?status=FAILED", "/orders?user_id=x",
                     f"/orders/{shop.failed}", "/jobs/new?action=cancel&status=FAILED",
                     "/jobs/new?action=cancel&created_from=2026-01-01T00:00:00Z", "/no/such/page"):  # fmt: skip
            site.open(page, path)
            assert found_by_axe(page) == [], path


def test_operator_signs_in_searches_and_signs_out(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        (cookie,) = [each for name, each in cookies_of(page.context).items() if name == "holdfast_session"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert "session" not in page.evaluate("document.cookie")
        page.get_by_role("searchbox").fill(shop.failed)
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{site.url}/orders/{shop.failed}")
        expect(page.get_by_role("heading", level=1)).to_contain_text(shop.failed)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Operator key")).to_be_visible()
        site.open(page, "/orders")
        expect(page).to_have_url(f"{site.url}/sign-in?next=/orders")


def test_list_leads_to_an_order_and_its_failure(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        page.get_by_role("link", name="Orders", exact=True).click()
        page.get_by_label("Status").select_option("FAILED")
        page.get_by_role("button", name="Filter").click()
        page.get_by_role("link", name=shop.failed).click()
        expect(page.get_by_label("What is happening")).to_contain_text("insufficient stock")
        expect(page.get_by_text("The order has ended.")).to_be_visible()


def test_keys_of_the_keyboard(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()
        page.keyboard.press("?")
        expect(page.get_by_role("searchbox")).to_have_value("?")  # typed, not taken for a key
        page.get_by_role("searchbox").blur()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        assert found_by_axe(page) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
        for theme in ("dark", "light"):
            page.keyboard.press("t")
            expect(page.locator("html")).to_have_attribute("data-theme", theme)
        page.keyboard.press("p")
        expect(page.locator("body.paused")).to_have_count(1)
        page.keyboard.press("p")
        expect(page.locator("body.paused")).to_have_count(0)
        page.keyboard.press("g")
        page.keyboard.press("o")
        page.wait_for_url(f"{site.url}/orders")  # and for its script
        page.keyboard.press("g")
        page.keyboard.press("h")
        expect(page).to_have_url(f"{site.url}/")


def test_chosen_theme_is_kept(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        page.keyboard.press("t")
        site.open(page, "/orders")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_browser_stores_nothing_of_what_was_looked_for(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        for path in ("/search?q=a@b.example", "/orders?email=a@b.example"):
            site.open(page, path)
            page.wait_for_load_state()
            assert page.evaluate("[Object.entries(sessionStorage), Object.keys(localStorage)]") == [[], []]


def test_what_customers_write_is_only_text(browser: Browser, shop: Shop) -> None:
    cancelled = shop.order(shop.stack.product(stock=0), metadata=HOSTILE["metadata"])
    site = shop.site()
    with psycopg2.connect(shop.url) as connection, connection.cursor() as cursor:
        # What no call can bring about for certain: a note on a cancellation, and what others' servers answered.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE order_ledger SET cancel_requested_at = now(), cancel_reason = 'other', cancel_note = %s,"
                       " failure_message = %s, status_detail = %s WHERE id = %s",
                       (HOSTILE["cancel"], HOSTILE["note"], HOSTILE["note"], cancelled))  # fmt: skip
        cursor.execute("INSERT INTO order_notes (order_ledger_id, author, text) VALUES (%s, 'ada', %s)",
                       (cancelled, HOSTILE["note"]))  # fmt: skip
    connection.close()
    with site.visited(browser) as page:
        problems = watch(page, site.url)
        for path in (*paths(shop.ids).values(), f"/orders/{cancelled}", f"/search?q={quote(IMAGE)}",
                     "/search?q=a@b.example", f"/orders?reference={quote(HOSTILE['reference'])}",
                     f"/orders?user_id={quote(IMAGE)}", f"/no/{quote(IMAGE)}"):  # fmt: skip
            site.open(page, path)
            assert page.evaluate(ESCAPED) == 0, path
            assert page.evaluate("window.pwned") is None, path
            expect(page.get_by_text("49", exact=True)).to_have_count(0)
        site.open(page, f"/orders/{shop.hostile}")
        for text in (HOSTILE["name"], HOSTILE["reference"], HOSTILE["email"], *HOSTILE["metadata"].values()):
            expect(page.get_by_text(text).filter(visible=True).first).to_be_visible()
        site.open(page, f"/orders/{cancelled}")
        for text in (HOSTILE["cancel"], HOSTILE["note"]):
            expect(page.get_by_text(text).filter(visible=True).first).to_be_visible()
    assert [each for each in problems if "404" not in each] == []


def test_no_page_is_shown_in_a_frame(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        other = page.context.new_page()
        with other.expect_event("console", lambda said: "frame-ancestors" in said.text):
            other.set_content(f'<iframe src="{site.url}/sign-in"></iframe>')
        assert all(frame.url.startswith("chrome-error:") for frame in other.frames[1:])


def test_inline_script_does_not_run(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        with page.expect_console_message(lambda said: "Content Security Policy" in said.text):
            page.evaluate("document.body.insertAdjacentHTML('beforeend', \"<img src='data:,' onerror='pwned=1'>\")")
        assert page.evaluate("window.pwned") is None


def test_form_of_another_site_does_nothing(browser: Browser, shop: Shop) -> None:
    site = shop.site("viewer")
    with site.visited(browser) as page:
        other = page.context.new_page()
        other.goto(f"{site.url.replace('127.0.0.1', 'localhost')}/static/icon.svg")
        other.goto("about:blank")
        other.set_content(f'<form method="post" action="{site.url}/sign-out"><button>Win</button></form>')
        with other.expect_navigation():
            other.get_by_role("button").click()
        expect(other.get_by_text("This form was sent by another site.")).to_be_visible()
        site.open(page, "/orders")
        expect(page.get_by_role("heading", name="Orders", level=1)).to_be_visible()


def test_order_refreshes_itself_without_a_reload(browser: Browser, shop: Shop) -> None:
    shop.stack.stop("orchestrator.1")
    try:
        order = shop.order(shop.stack.product(stock=5))
        site = shop.site("viewer")
        with site.visited(browser) as page:
            site.open(page, f"/orders/{order}")
            page.evaluate("window.stays = true")
            expect(page.locator(".lead .status").first).to_have_text("authorized")
            shop.stack.start("orchestrator.1")
            expect(page.locator(".lead .status").first).to_have_text("completed", timeout=30_000)
            assert page.evaluate("window.stays")
    finally:
        if "orchestrator.1" not in shop.stack.processes:
            shop.stack.start("orchestrator.1")


def test_pictures_of_every_page_are_taken(browser: Browser, shop: Shop, tmp_path: Path) -> None:
    taken = take(browser, shop.site(), tmp_path, {})
    names = {"sign_in", *paths(shop.ids)}
    assert {path.stem for path in taken} == {f"{name}-{look}" for name in names for look in LOOKS}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in taken)
