"""Row 44: forked workers share a socket (`--preload`). Required: each opens its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.faults.shared_stack import PATIENCE_S, WEB_PROCESSES, SharedStack
from tests.system.conftest import place
from tests.system.stack import PROJECT

# The worst case: every pool already has an open connection when gunicorn's master forks.
SITECUSTOMIZE = """
from common.database.database import Database

make = Database.__init__

def make_and_connect(self, *args, **kwargs):
    make(self, *args, **kwargs)
    self.one("SELECT 1")

Database.__init__ = make_and_connect
"""


def test_each_forked_worker_opens_its_own_connections(stack: SharedStack, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    stack.restart(*WEB_PROCESSES, GUNICORN_CMD_ARGS="--preload", PYTHONPATH=f"{tmp_path}:{PROJECT}")
    masters = stack.backends("inventory_service")
    assert masters, "the master did not connect before it forked"
    products = [stack.product() for _ in range(20)]
    assert gets_its_own_answers(stack, products)
    assert len(stack.backends("inventory_service") - masters) >= 2, "one for each worker at least"
    assert masters <= stack.backends("inventory_service")
    assert len(set(place(stack, products[0], 40).values())) == 40
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 40}


def gets_its_own_answers(stack: SharedStack, products: list[str]) -> bool:
    """Two processes on one socket would read each other's answers."""

    def is_right(product: str) -> bool:
        path = f"/inventory/products/{product}/availability"
        answer = requests.get(stack.url("inventory_service") + path, timeout=PATIENCE_S)
        return answer.status_code == 200 and answer.json()["product_id"] == product

    with ThreadPoolExecutor(8) as shops:
        return all(shops.map(is_right, products * 10))
