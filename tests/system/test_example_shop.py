"""The example shop as a newcomer runs it: Flask, and `holdfast webhooks listen` in front of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from common.webhooks.secrets import signature
from tests.credentials import EDGE_KEY
from tests.system.running import Running
from tests.system.stack import PROJECT, Stack, free_port
from tests.waiting import eventually

HOLDFAST = [sys.executable, "-W", "error", "-m", "holdfast_client"]
LONGEST = 60  # lines, of which its documentation boasts


class Shop:
    """The shop and the listener, as two processes."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.environ = {"HOLDFAST_URL": stack.url("web"), "HOLDFAST_API_KEY": EDGE_KEY}
        self.environ |= {"HOLDFAST_WEBHOOK_SECRET": self.says("webhooks", "new-secret").strip()}
        self.environ |= {"SHOP_DATABASE": str(folder / "shop.sqlite3"), "PYTHONPATH": str(PROJECT)}
        self._folder, port = folder, free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._flask = [sys.executable, "-m", "flask", "--app", "examples/shop/shop.py", "run", "--port", str(port)]

    def open(self) -> Running:
        opened = Running(self._flask, self._folder / "shop.log", **self.environ)
        opened.says("Running on")
        return opened

    def listen(self, *options: str) -> Running:
        words = [*HOLDFAST, "webhooks", "listen", "--forward-to", f"{self.url}/holdfast", "-o", "jsonl", *options]
        listener = Running(words, self._folder / "listener.log", **self.environ)
        listener.says("Forwarding to")
        return listener

    def says(self, *words: str) -> str:
        command = [*HOLDFAST, *words]
        return subprocess.run(
            command, env=self.environ, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True, timeout=60
        ).stdout

    def buy(self, token: str) -> str:
        """Click the first button of the page, twice. :returns: the cart's id"""
        page = requests.get(self.url, timeout=10).text
        (cart, product), *_ = re.findall(
            r'name="cart" value="(.+?)">\s+<input .+? name="product_id" value="(.+?)"', page
        )
        form = {"cart": cart, "product_id": product, "email": "ada@shop.example", "token": token}
        answers = {requests.post(f"{self.url}/buy", data=form, timeout=30).status_code for _ in range(2)}
        assert answers == {402 if token.startswith("decline") else 200}
        return cart

    def answers_a_test(self) -> int:
        """Send what `POST /webhook_endpoints/{id}/test` makes Holdfast send. :returns: the status"""
        body = {"type": "webhook.test", "timestamp": "2026-09-21T13:33:20Z", "data": {"webhook_endpoint_id": "we_1"}}
        content, now = json.dumps(body).encode(), int(time.time())
        signed = signature([self.environ["HOLDFAST_WEBHOOK_SECRET"]], "evt_test", now, content)
        headers = {"webhook-id": "evt_test", "webhook-timestamp": str(now), "webhook-signature": signed}
        return requests.post(f"{self.url}/holdfast", data=content, headers=headers, timeout=30).status_code

    def shows(self, cart: str, status: str) -> bool:
        return f"{cart}: {status}" in requests.get(self.url, timeout=10).text


@pytest.fixture
def shop(start, tmp_path: Path) -> Shop:
    return Shop(start(), tmp_path)


def test_shop_sells_and_learns_how_each_order_ends(shop: Shop) -> None:
    product = json.loads(
        shop.says(
            "products", "create", "--name", "Tea", "--sku", "T", "--price-cents", "900", "--stock", "9", "-o", "json"
        )
    )
    with ExitStack() as processes:
        opened = shop.open()
        processes.callback(opened.clean_up)
        assert shop.answers_a_test() == 204
        listener = shop.listen()
        processes.callback(listener.clean_up)
        sold, failed, declined = shop.buy("tok_visa"), shop.buy("fail_capture"), shop.buy("decline_expired")
        eventually(lambda: shop.shows(sold, "order.completed"), 60)
        eventually(lambda: shop.shows(failed, "order.failed"), 60)
        eventually(lambda: shop.shows(declined, "order.authorization_failed"), 60)

        # Closed while an event comes, then open again: the event is sent again.
        opened.clean_up()
        event = json.loads(shop.says("webhooks", "trigger", "order.completed", "-o", "json"))
        listener.says('"problem": "no answer: is the receiver running?"')
        processes.callback((opened := shop.open()).clean_up)
        eventually(lambda: re.search(f'{event["id"]}.*"status": 204', listener.output), 60)
        assert re.search('"sequence": 1, "attempt": [2-9], "status": 204', listener.output), "one was sent again"

        assert shop.says("webhooks", "resend", event["id"], "--forward-to", f"{shop.url}/holdfast").endswith("204\n")
        assert listener.ends(signal.SIGTERM) == 0
        again = shop.listen("--since", "1h")
        processes.callback(again.clean_up)
        again.says(event["id"])

    stock = json.loads(shop.says("products", "show", product["id"], "-o", "json"))["stock_quantity"]
    assert stock == 8, "each sale was clicked twice, and only one was completed"
    orders = [json.loads(line) for line in shop.says("orders", "list", "-o", "jsonl").splitlines()]
    assert sorted(order["status"] for order in orders if order["reference"] == sold) == ["COMPLETED"]


def test_trigger_makes_each_event_happen(shop: Shop) -> None:
    for event_type in ("order.authorized", "order.failed", "order.authorization_failed", "order.cancelled"):
        event = json.loads(shop.says("webhooks", "trigger", event_type, "--reference", "R-1", "-o", "json"))
        assert (event["type"], event["data"]["reference"]) == (event_type, "R-1")


def test_shop_is_as_short_as_it_says() -> None:
    assert len((PROJECT / "examples" / "shop" / "shop.py").read_text(encoding="utf-8").splitlines()) <= LONGEST
