"""Row 78. `honcho start`, and the Procfile's lines by hand, with DATABASE_URL and the secret of the services only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from common.process.addresses import LINES
from holdfast_client import HoldfastClient
from tests.books import violations
from tests.credentials import EDGE_KEY, service_headers
from tests.system.running import PROJECT, Running, descendants, free_ports
from tests.system.test_running import line_of
from tests.waiting import eventually

PYTHON = Path(sys.executable)
WEB = LINES[:5]


@pytest.fixture
def base() -> int:
    return free_ports()


@contextmanager
def managed(tmp_path: Path, url: str, base: int) -> Iterator[Running]:
    """`honcho start` of the whole Procfile."""
    run = Running([str(PYTHON.parent / "honcho"), "start"], tmp_path / "honcho", DATABASE_URL=url, PORT=str(base))
    try:
        yield run
    finally:
        run.ends(signal.SIGTERM)


@contextmanager
def by_hand(tmp_path: Path, name: str, **environ: str) -> Iterator[Running]:
    """Run one line of the Procfile in a shell, and end it as a closing terminal would."""
    run = Running(["sh", "-c", line_of(name)], tmp_path / name, **environ)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            for each in [*descendants(run.process.pid), run.process]:
                each.send_signal(signal.SIGTERM)
            run.ends()


def is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


def sell(web: int, inventory: int) -> str:
    """Order one of a new product; return the order's final status."""
    product = {"name": "Tea", "sku": f"TEA-{time.monotonic_ns()}", "price_cents": 300, "initial_stock": 1}
    url, headers = f"http://127.0.0.1:{inventory}/inventory/products", service_headers("inventory_service")
    made = requests.post(url, json=product, headers=headers, timeout=10).json()
    with HoldfastClient(f"http://127.0.0.1:{web}", EDGE_KEY, retry_for=0) as client:
        placed = client.place_order(
            user_id="5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11",
            email="a@b.example",
            items=[{"product_id": made["id"], "quantity": 1}],
            payment_token="tok_visa",
        )
        return client.wait_until_terminal(placed.order_ledger_id, 30).status


def hosts(run: Running) -> dict[int, set[str]]:
    """Return the addresses on which its processes listen, by port."""
    found: dict[int, set[str]] = {}
    for process in [psutil.Process(run.process.pid), *descendants(run.process.pid)]:
        for each in process.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN:
                found.setdefault(each.laddr.port, set()).add(each.laddr.ip)
    return found


def test_honcho_start_sells_with_nothing_but_a_database(tmp_path: Path, url: str, base: int) -> None:
    with managed(tmp_path, url, base) as run:
        ports = [base + 100 * number for number in range(len(WEB))]
        eventually(lambda: all(map(is_healthy, ports)) or run.process.poll() is not None, 60)
        assert run.process.poll() is None, run.output
        assert sell(web=ports[0], inventory=ports[2]) == "COMPLETED", run.output
        participants = {port: found for port, found in hosts(run).items() if port != base}
        assert participants == {port: {"127.0.0.1"} for port in ports[1:]}
    assert violations(url) == {}


def test_lines_by_hand_sell_with_nothing_but_a_database_and_a_port_for_the_web(
    tmp_path: Path, url: str, base: int, default_ports_are_free: None
) -> None:
    with ExitStack() as stack:
        for name in LINES:
            port = {"PORT": str(base)} if name == "web" else {}
            stack.enter_context(by_hand(tmp_path, name, DATABASE_URL=url, **port))
        eventually(lambda: all(map(is_healthy, (base, 8100, 8200, 8300, 8400))), 60)
        assert sell(web=base, inventory=8200) == "COMPLETED"
    assert violations(url) == {}


@pytest.fixture
def default_ports_are_free() -> None:
    for port in (8100, 8200, 8300, 8400):
        if is_taken(port):
            pytest.skip(f"port {port} is in use on this machine")


def is_taken(port: int) -> bool:
    return any(each.laddr.port == port for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)


def test_participant_listens_on_the_configured_address(tmp_path: Path, migrated_url: str, base: int) -> None:
    told = {"DATABASE_URL": migrated_url, "PORT": str(base), "BIND_HOST": "0.0.0.0"}
    with by_hand(tmp_path, "payments_service", **told) as run:
        eventually(lambda: is_healthy(base), 60)
        assert hosts(run) == {base: {"0.0.0.0"}}


@pytest.mark.parametrize("name", ["payments_service", "orchestrator", "release"])
def test_settings_that_break_a_promise_are_refused_together(name: str, tmp_path: Path) -> None:
    environ = {"APP_ENV": "production", "DATABASE_URL": "postgresql:///x"}
    with by_hand(tmp_path, name, LEASE_S="5", ABANDONED_AFTER_S="1", **environ) as run:
        eventually(lambda: run.process.poll() is not None, 30)
    first, second = run.output.splitlines()
    assert run.process.returncode == 1
    assert first.startswith("LEASE_S must be 27 or more, and is 5: ")
    assert second.startswith("ABANDONED_AFTER_S must not be less than LEASE_S (5), and is 1: ")


def test_make_run_refuses_them_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local", "run", "--data", str(tmp_path / "data")]
    environ = {**os.environ, "APP_ENV": "development", "LEASE_S": "5", "ABANDONED_AFTER_S": "1"}
    run = subprocess.run(command, env=environ, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1
    assert [line.split()[0] for line in run.stderr.splitlines()] == ["LEASE_S", "ABANDONED_AFTER_S"]
    assert not (tmp_path / "data").exists()
