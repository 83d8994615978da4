"""The demo against a fake system: its output and its exit code."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from common.process import env_file
from local import demo

EDGE, INVENTORY, PAYMENTS = "http://127.0.0.1:8000", "http://127.0.0.1:8200", "http://127.0.0.1:8300"
Response = tuple[int, dict[str, str], str]
STEPS = ("AUTHORIZED", "ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_CAPTURED", "COMPLETED")


class FakeSystem:
    """Edge, inventory and payments, as the demo sees them. Orders advance one step with each read."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.stock: dict[str, int] = {}
        self.skus: list[str] = []
        self.orders: dict[str, dict[str, Any]] = {}
        self.placed: dict[str, Any] = {}
        self.payments: dict[str, str] = {}
        self.stuck_at = ""
        self.loses_stock = False
        self.forgets_keys = False
        for url in (EDGE, INVENTORY):
            mock.get(f"{url}/health", json={"status": "healthy"})
        mock.add_callback("POST", f"{INVENTORY}/inventory/products", self._create)
        mock.add_callback("GET", re.compile(f"{INVENTORY}/inventory/products/.*/availability"), self._availability)
        mock.add_callback("GET", re.compile(f"{PAYMENTS}/payments/.*"), self._payment)
        mock.add_callback("POST", f"{EDGE}/orders", self._place)
        mock.add_callback("GET", re.compile(f"{EDGE}/orders/.*"), self._look)

    def _create(self, request: Any) -> Response:
        body, product_id = json.loads(request.body), str(uuid.uuid4())
        self.stock[product_id] = body["initial_stock"]
        self.skus.append(body["sku"])
        return _json(201, {"id": product_id})

    def _availability(self, request: Any) -> Response:
        stock = self.stock[request.url.split("/")[-2]]
        return _json(200, {"stock_quantity": stock - self.loses_stock})

    def _payment(self, request: Any) -> Response:
        return _json(200, {"status": self.payments[request.url.split("/")[-1]]})

    def _place(self, request: Any) -> Response:
        body, key = json.loads(request.body), request.headers["Idempotency-Key"]
        if "decline" in body["payment"]["token"]:
            details = {"decline_code": "insufficient_funds", "is_retryable": False}
            return _json(402, {"error": "payment_declined", "message": "No.", "details": details, "request_id": "r"})
        if key in self.placed and not self.forgets_keys:
            return _json(202, self.placed[key], replayed=True)
        order_id = str(uuid.uuid4())
        self.orders[order_id] = self._order(order_id, body)
        answer = {"order_ledger_id": order_id, "status": "AUTHORIZED", "total_amount_cents": 2900, "currency": "USD"}
        self.placed[key] = answer
        return _json(202, answer)

    def _order(self, order_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the order in its final state."""
        refused = ""
        if any(self.stock[item["product_id"]] < item["quantity"] for item in body["items"]):
            refused = "insufficient_stock"
        elif "fail_capture" in body["payment"]["token"]:
            refused = "payment_declined"
        else:
            for item in body["items"]:
                self.stock[item["product_id"]] -= item["quantity"]
        steps = ("AUTHORIZED", "COMPENSATING", "FAILED") if refused else STEPS
        self.payments[f"auth_{order_id}"] = "VOIDED" if refused else "CAPTURED"
        return {
            "order_ledger_id": order_id, "client_request_id": "k", "user_id": body["user_id"], "email": "a@b.example",
            "total_amount_cents": 2900, "currency": "USD", "items": [], "retry_count": 0,
            "payment_authorization_id": f"auth_{order_id}", "looks": 0,
            "failure": {"code": refused, "message": "Refused."} if refused else None,
            "timeline": [
                {"status": step, "at": f"2026-11-22T10:00:00.{n:03}Z", "detail": "[b]why[/b]" if refused else None}
                for n, step in enumerate(steps, 1)
            ],
            "created_at": "2026-11-22T10:00:00Z", "updated_at": "2026-11-22T10:00:00Z",
        }  # fmt: skip

    def _look(self, request: Any) -> Response:
        order = self.orders[request.url.split("/")[-1]]
        order["looks"] += 1
        timeline = order["timeline"][: order["looks"]]
        statuses = [entry["status"] for entry in timeline]
        if self.stuck_at in statuses:
            timeline = timeline[: statuses.index(self.stuck_at) + 1]
        return _json(200, {**order, "timeline": timeline, "status": timeline[-1]["status"]})


def _json(status: int, body: dict[str, Any], *, replayed: bool = False) -> Response:
    return status, {"Idempotency-Replayed": "true"} if replayed else {}, json.dumps(body)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file like that of `make run`, whether or not that was started in this folder before."""
    monkeypatch.setattr(demo, "SECRETS", tmp_path / "credentials.env")
    env_file.write(demo.SECRETS, {"SERVICE_TOKEN_KEYS": "k" * 32, "HOLDFAST_API_KEY": "hf_a_b"}, "")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "POLL_EVERY_S", 0)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def system(mock: responses.RequestsMock) -> FakeSystem:
    return FakeSystem(mock)


def test_all_outcomes_are_as_expected(system: FakeSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main({}) == 0
    shown = capsys.readouterr().out
    assert shown.endswith("Every order ended as expected, and nothing is left behind.\n")
    assert "HTTP 402: insufficient_funds" in shown
    assert "same key, same answer, one order" in shown
    assert re.search(r"✓ +Coffee beans +20 +4 +16\b", shown)
    assert re.search(r"✓ +More than is in stock +FAILED +insufficient_stock +voided", shown)
    assert "✗" not in shown


def test_each_step_is_shown_once_with_its_time(system: FakeSystem, capsys: pytest.CaptureFixture[str]) -> None:
    demo.main({})
    first_scenario = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert first_scenario[0] == "1  One product: 2 × Coffee beans"
    assert [line.split()[:3] for line in first_scenario[1:]] == [
        [f"+0.00{n}", "s", step] for n, step in enumerate(STEPS, 1)
    ]
    assert "29.00 USD held" in first_scenario[1]


def test_output_in_a_pipe_is_plain_and_at_most_80_columns_wide(
    system: FakeSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.main({})
    lines = capsys.readouterr().out.splitlines()
    assert not any("\x1b" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_text_from_the_server_is_not_read_as_markup(system: FakeSystem, capsys: pytest.CaptureFixture[str]) -> None:
    demo.main({})
    assert "COMPENSATING            [b]why[/b]" in capsys.readouterr().out


def test_each_run_makes_its_own_products(system: FakeSystem) -> None:
    assert [demo.main({}), demo.main({})] == [0, 0]
    assert len(set(system.skus)) == len(system.skus) == 6


def test_order_that_does_not_end_is_unexpected(
    system: FakeSystem, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PATIENCE_S", 0)
    system.stuck_at = "AUTHORIZED"
    assert demo.main({}) == 1
    shown = capsys.readouterr().out
    assert "unexpected              AUTHORIZED instead of COMPLETED" in shown
    assert re.search(r"✗ +One product +AUTHORIZED", shown)
    assert "Every order" not in shown


def test_missing_stock_is_unexpected(system: FakeSystem, capsys: pytest.CaptureFixture[str]) -> None:
    system.loses_stock = True
    assert demo.main({}) == 1
    assert re.search(r"✗ +Mug +12 +5 +6\b", capsys.readouterr().out)


def test_key_that_makes_two_orders_is_unexpected(system: FakeSystem, capsys: pytest.CaptureFixture[str]) -> None:
    system.forgets_keys = True
    assert demo.main({}) == 1
    assert "the second answer is not a replay" in capsys.readouterr().out


def test_money_that_is_still_held_is_unexpected(
    system: FakeSystem, capsys: pytest.CaptureFixture[str], mock: Any
) -> None:
    mock.remove("GET", re.compile(f"{PAYMENTS}/payments/.*"))
    mock.get(re.compile(f"{PAYMENTS}/payments/.*"), json={"status": "AUTHORIZED"})
    assert demo.main({}) == 1
    assert "authorized instead of voided" in capsys.readouterr().out


def test_payments_service_is_optional(system: FakeSystem, mock: Any) -> None:
    mock.remove("GET", re.compile(f"{PAYMENTS}/payments/.*"))
    assert demo.main({}) == 0


def test_system_that_is_not_running_is_one_line(
    mock: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.get("http://edge.test/health", body=requests.ConnectionError("refused"))
    assert demo.main({"EDGE_URL": "http://edge.test"}) == 1
    shown = capsys.readouterr()
    assert (
        shown.err
        == "Nothing answers at http://edge.test. Start the system in another terminal: make run (with the same PORT)\n"
    )
    assert shown.out == ""


def test_unhealthy_system_is_one_line(mock: responses.RequestsMock, capsys: pytest.CaptureFixture[str]) -> None:
    mock.get(f"{EDGE}/health", status=503)
    assert demo.main({}) == 1
    assert capsys.readouterr().err == f"{EDGE}/health answers 503 instead of 200. See the output of `make run`.\n"


def test_port_is_that_of_make_run(mock: responses.RequestsMock, capsys: pytest.CaptureFixture[str]) -> None:
    mock.get("http://127.0.0.1:9000/health")
    assert demo.main({"PORT": "9000"}) == 1
    assert "Nothing answers at http://127.0.0.1:9200." in capsys.readouterr().err
    assert demo.main({"PORT": "high"}) == 1
    assert capsys.readouterr().err == "PORT must be a whole number.\n"


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_respected(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch, capsys: Any, no_color: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    assert demo.main({}) == 0
    colours = set(re.findall(r"\x1b\[[0-9;]*m", capsys.readouterr().out)) - {"\x1b[0m", "\x1b[1m", "\x1b[2m"}
    assert bool(colours) is not no_color
