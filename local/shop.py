"""What the demo needs in addition to the Edge API: products in stock, and the state of payments."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from common.credentials.service_tokens import OPS, issue
from common.process.settings import SettingError, Settings

TIMEOUT_S = (2, 10)  # connect, read
CATALOGUE = {"Coffee beans": (1450, 20), "Mug": (900, 12), "Kettle": (7900, 3)}  # price in cents, stock


class Unusable(Exception):
    """The demo cannot continue. The message is one line."""


class Services:
    """The addresses of the services, and the calls to inventory and payments."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        try:
            port = int(environ.get("PORT") or urlsplit(environ.get("HOLDFAST_URL", "")).port or 8000)
        except ValueError:
            raise Unusable("PORT must be a whole number.") from None
        # The same distances as in `make run`.
        self.edge = environ.get("EDGE_URL") or f"http://127.0.0.1:{port}"
        self.inventory = environ.get("INVENTORY_SERVICE_URL") or f"http://127.0.0.1:{port + 200}"
        self.payments = environ.get("PAYMENTS_SERVICE_URL") or f"http://127.0.0.1:{port + 300}"
        try:
            self._keys: tuple[str, ...] = Settings.read("service_token_keys", environ)
        except SettingError as error:
            raise Unusable(str(error)) from None
        if not self._keys:
            raise Unusable("SERVICE_TOKEN_KEYS is not set. Start the system on this machine first: make run")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy cannot reach this machine's ports

    def check_running(self) -> None:
        """:raises Unusable: a service does not answer or is not healthy"""
        for url in (self.edge, self.inventory):
            try:
                status = self._session.get(f"{url}/health", timeout=TIMEOUT_S, allow_redirects=False).status_code
            except requests.RequestException as error:
                raise Unusable(
                    f"Nothing answers at {url}. Start the system in another terminal: make run (with the same PORT)"
                ) from error
            if status != 200:
                raise Unusable(f"{url}/health answers {status} instead of 200. See the output of `make run`.")

    def add_product(self, name: str, run: str) -> str:
        """Create a product and return its id. Its SKU contains `run`, so that every run has its own products."""
        price_cents, stock = CATALOGUE[name]
        body = {"name": name, "sku": f"{name.replace(' ', '-')}-{run}", "price_cents": price_cents}
        answer = self._ask("POST", f"{self.inventory}/inventory/products", json=body | {"initial_stock": stock})
        return str(answer["id"])

    def stock(self, product_id: str) -> int:
        return int(self._ask("GET", f"{self.inventory}/inventory/products/{product_id}/availability")["stock_quantity"])

    def money(self, authorization_id: str) -> str:
        """`captured`, `voided` …; empty when the payments service cannot be reached, as behind a firewall."""
        try:
            return str(self._ask("GET", f"{self.payments}/payments/{authorization_id}")["status"]).lower()
        except Unusable:
            return ""

    def _ask(self, method: str, url: str, **content: Any) -> dict[str, Any]:
        service = "payments_service" if url.startswith(self.payments) else "inventory_service"
        token = issue(self._keys, OPS, service, time.time())
        try:
            response = self._session.request(
                method,
                url,
                timeout=TIMEOUT_S,
                headers={"Authorization": f"Bearer {token}"},
                allow_redirects=False,
                **content,
            )
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
        except requests.RequestException as error:
            raise Unusable(f"{method} {url}: {error}") from error
        return answer
