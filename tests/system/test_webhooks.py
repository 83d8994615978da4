"""Webhooks of real orders, with all processes: signed, in order, and none lost when a process is killed."""

from __future__ import annotations

import re
import subprocess

import psycopg2
import pytest

from domain.events import EventType
from holdfast_client import verify_webhook
from tests import credentials
from tests.docs.pages import PROJECT, blocks
from tests.system.conftest import place
from tests.system.stack import free_port
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver

ON_THIS_MACHINE = {"WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8", "WEBHOOK_POLL_INTERVAL_S": "0.05", "WEBHOOK_TIMEOUT_S": "2"}
OUTCOMES = {"order.completed", "order.failed"}


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def stack(start):
    stack = start(**ON_THIS_MACHINE)
    stack.start("webhooks")
    return stack


def made(stack, receiver):
    with stack.client(api_key=credentials.EDGE_KEY) as client:
        return client.create_webhook_endpoint(url=f"{receiver.url}/holdfast")


def of_orders(heard):
    """Order → its events in the order of their first arrival. A repeated one must be the same."""
    orders, bodies = {}, {}
    for each in heard:
        events = orders.setdefault(each.event["data"]["order_ledger_id"], [])
        if bodies.setdefault(each.id, each.body) is each.body:
            events.append(each.event)
        assert bodies[each.id] == each.body
    return orders


def test_sale_arrives_signed_and_in_order(stack, receiver):
    endpoint = made(stack, receiver)
    product = stack.product(stock=1000)
    sold = place(stack, product, 5)
    sold |= place(stack, product, 1, token="fail_capture")
    eventually(lambda: len(receiver.heard) == 12, 60)
    assert len({heard.id for heard in receiver.heard}) == 12
    orders = of_orders(receiver.heard)
    assert set(orders) == set(sold.values())
    for heard in receiver.heard:
        assert verify_webhook(heard.headers, heard.body, endpoint.secret) == heard.event
    for events in orders.values():
        assert [event["data"]["sequence"] for event in events] == [1, 2]
        assert events[0]["type"] == "order.authorized"
        assert events[1]["type"] in OUTCOMES
    assert [events[1]["type"] for events in orders.values()].count("order.failed") == 1


def test_the_recipe_of_the_documentation_computes_the_signature(stack, receiver, tmp_path):
    endpoint = made(stack, receiver)
    place(stack, stack.product(), 1)
    eventually(lambda: receiver.heard)
    heard = receiver.heard[0]
    (recipe,) = [block.text for block in blocks("docs/webhooks.md") if "openssl" in block.text]
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "body.json").write_bytes(heard.body)
    given = {"SECRET": endpoint.secret, "ID": heard.id, "TIMESTAMP": heard.headers["webhook-timestamp"]}
    found = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", recipe], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **given},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"v1,{found.stdout.strip()}" == heard.headers["webhook-signature"]


def test_delivery_is_received_and_verified_with_the_commands_of_the_documentation(stack, tmp_path):
    """They print the header, and then what `openssl` computes."""
    page = blocks("docs/webhooks.md")
    (receive,) = [block.text for block in page if block.language == "bash"]
    (recipe,) = [block.text for block in page if "openssl" in block.text]
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "credentials.env").write_text(f"HOLDFAST_API_KEY={credentials.EDGE_KEY}\n")
    receive = receive.replace("127.0.0.1:8000", stack.url("web").removeprefix("http://")).replace(
        "9000", str(free_port())
    )
    found = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{receive}\n{recipe}"], cwd=tmp_path, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    *_, header, computed = found.stdout.splitlines()
    assert header == f"v1,{computed}"


def test_example_of_the_documentation_has_the_signature_of_the_specification(tmp_path):
    text = "\n".join(block.text for block in blocks("docs/webhooks.md") if re.search("^(SECRET|KEY)=", block.text))
    (tmp_path / "var").mkdir()
    found = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=tmp_path, capture_output=True, check=True)
    assert found.stdout == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\n"


def test_killed_process_loses_no_event(stack, receiver, expire_leases):
    """SIGKILL while requests are out, three times, with a receiver that fails, hangs and dies."""
    count = 0

    def answer(_):
        nonlocal count
        count += 1
        if count % 4 == 0:
            receiver.go.wait(0.5)
        return None if count % 6 == 0 else 500 if count % 5 == 0 else 204

    receiver.answer = answer
    made(stack, receiver)
    sold = place(stack, stack.product(), 10)
    for number in (5, 10, 15):
        eventually(lambda number=number: expire_leases() or len(receiver.heard) >= number, 60)
        stack.kill("webhooks")
        stack.start("webhooks")
    eventually(lambda: expire_leases() or all_arrived(receiver, sold), 90)
    for events in of_orders(receiver.heard).values():
        assert [event["data"]["sequence"] for event in events] == [1, 2]


def all_arrived(receiver, sold):
    orders = of_orders(list(receiver.heard))
    return set(orders) == set(sold.values()) and all(len(events) == 2 for events in orders.values())


@pytest.fixture
def expire_leases(url):
    """Let the leases of killed processes end, and retries be due, as if time had passed."""
    connection = psycopg2.connect(url)
    connection.autocommit = True

    def expire():
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE webhook_deliveries SET due_at = now(), claimed_until = CASE WHEN claimed_by IS NOT NULL"
                " THEN now() END WHERE status = 'pending' AND due_at < 'infinity' AND (attempts > 0 AND claimed_by IS"
                " NULL OR claimed_until < now() + interval '57 s')"
            )

    yield expire
    connection.close()


def test_sigterm_ends_the_process_with_0(stack, receiver):
    made(stack, receiver)
    assert stack.stop("webhooks") == 0


def test_documentation_names_each_event_type():
    text = (PROJECT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    assert all(f"`{each}`" in text for each in EventType)
