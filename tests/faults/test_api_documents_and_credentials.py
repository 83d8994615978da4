"""Fuzzing with no credential, and with that of the wrong client: schemathesis sends what each OpenAPI document allows.

test_api_documents.py sends it with a right credential, with every check on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.credentials import add_key_at, new_key
from tests.faults.shared_stack import SharedStack
from tests.system.stack import PROJECT, WEB_PROCESSES

CONFIGS = Path(__file__).parent / "api_documents"
TABLES = ("order_ledger", "orders", "products", "inventory_reservations", "payment_authorizations")
ALICES_ORDERS = 50  # schemathesis sends fewer bodies that use up a key
DEADLINE_S = 300  # about 10 s on an idle machine


@pytest.fixture(scope="module")
def services(shared_stack: SharedStack) -> Iterator[SharedStack]:
    shared_stack.reset()
    yield shared_stack
    shared_stack.reset()


def fuzz(address: str, config: str, folder: Path, *options: str, **environ: str) -> str:
    """Return what schemathesis printed, after it found nothing."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGS / config), "run", "--no-color"]
    run = subprocess.run(
        [*command, f"{address}/openapi.json", *options], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environ}, timeout=DEADLINE_S,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def generated(output: str) -> int:
    found = re.search(r"^ *(\d+) generated, \1 passed\b", output, re.MULTILINE)
    assert found, output
    return int(found[1])


@pytest.mark.parametrize("service", WEB_PROCESSES)
def test_everything_but_the_public_pages_needs_a_credential(
    services: SharedStack, service: str, tmp_path: Path
) -> None:
    before = [services.count(table) for table in TABLES]
    assert generated(fuzz(services.url(service), "without_credential.toml", tmp_path)) > 100
    assert [services.count(table) for table in TABLES] == before


def test_no_answer_contains_data_of_another_client(services: SharedStack, tmp_path: Path) -> None:
    bob = new_key()
    add_key_at(services.server.url, key=bob, client="bob")
    alices = {"email": f"{uuid.uuid4().hex}@canary.example", "user_id": str(uuid.uuid4())}
    alices |= {"reference": f"canary-{uuid.uuid4()}"}
    keys = [f"canary-{uuid.uuid4()}" for _ in range(ALICES_ORDERS)]
    product = services.product(stock=100)
    placed = [services.post_order(key, product, **alices) for key in keys]
    assert {each.status_code for each in placed} == {202}
    id_ = placed[0].json()["order_ledger_id"]
    ((hold,),) = services.sql("SELECT payment_authorization_id FROM order_ledger WHERE id = %(id)s", id=id_)
    output = fuzz(
        services.url("web"), "another_client.toml", tmp_path, "--header", f"Authorization: Bearer {bob}",
        OTHERS_IDS=json.dumps({"order_ledger_id": id_, **alices}), OTHERS_KEYS=json.dumps(keys),
        OTHERS_DATA=json.dumps([*alices.values(), hold]),  # not the keys: Bob's own orders have them, too
    )  # fmt: skip
    assert generated(output) > 100
    used = services.count("refused_requests WHERE client = 'bob' AND client_request_id LIKE 'canary-%%'")
    assert 0 < used < len(keys), "bodies that are valid met a key of Alice, and none of them met one of Bob's own"
