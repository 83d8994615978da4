"""The OpenAPI documents in other tools: a validator and a client generator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from openapi_spec_validator import validate

from common.process.addresses import PARTICIPANTS
from tests.credentials import EDGE_KEY
from tests.faults.shared_stack import SharedStack, new_key
from tests.system.stack import WEB_PROCESSES

# The generated client in a separate process, as another program would use it.
SHOP = """
import sys
from edge_client import AuthenticatedClient
from edge_client.api.default import get_order, place_order
from edge_client.models import AcceptedOrder, Item, NewOrder, Order, Payment, PaymentMethod

url, key, product_id, api_key = sys.argv[1:]
order = NewOrder(
    user_id="5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11",
    email="ada@shop.example",
    items=[Item(product_id=product_id, quantity=2)],
    payment=Payment(method=PaymentMethod.CARD, token="tok_visa"),
)
with AuthenticatedClient(base_url=url, token=api_key, raise_on_unexpected_status=True) as client:
    placed = place_order.sync(client=client, body=order, idempotency_key=key)
    assert isinstance(placed, AcceptedOrder), placed
    done = get_order.sync(placed.order_ledger_id, client=client, wait=30)
    assert isinstance(done, Order), done
    print(done.status.value, done.total_amount_cents, placed.order_ledger_id)
"""


@pytest.mark.parametrize("service", WEB_PROCESSES)
def test_document_is_valid(stack: SharedStack, service: str) -> None:
    validate(requests.get(f"{stack.url(service)}/openapi.json", timeout=10).json())


@pytest.mark.parametrize("service", PARTICIPANTS)
def test_client_can_be_generated_without_a_warning(stack: SharedStack, service: str, tmp_path: Path) -> None:
    generate(stack.url(service), tmp_path)


def test_generated_client_places_an_order(stack: SharedStack, tmp_path: Path) -> None:
    generate(stack.url("web"), tmp_path)
    product, key = stack.product(price_cents=500), new_key()
    (tmp_path / "shop.py").write_text(SHOP)
    command = [sys.executable, "shop.py", stack.url("web"), key, product, EDGE_KEY]
    first, second = (
        subprocess.run(command, cwd=tmp_path, check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout
        for _ in range(2)
    )
    assert first == second
    assert first.split()[:2] == ["COMPLETED", "1000"]
    stack.settle()


def generate(url: str, folder: Path) -> None:
    """Generate a client into `folder/edge_client`. The generator warns about everything it leaves out."""
    (folder / "config.json").write_text(json.dumps({"package_name_override": "edge_client", "post_hooks": []}))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--url", f"{url}/openapi.json"]
    command += ["--meta", "none", "--output-path", "edge_client", "--config", "config.json"]
    environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    run = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)
    told = run.stdout + run.stderr
    assert run.returncode == 0, told
    assert "WARNING" not in told.upper(), told
