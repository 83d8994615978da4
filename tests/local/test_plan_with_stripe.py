"""`make run PAYMENT_GATEWAY=stripe`: the real Stripe with a key, and a stand-in without one."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
import requests

from local.plan import DOUBLE, Plan, PortTaken
from local.run import PROCFILE
from tests.payments_service.stripe_worlds import KEY
from tests.system.running import Running, free_ports


def test_stand_in_runs_without_a_key() -> None:
    plan = Plan.read(PROCFILE, {"PAYMENT_GATEWAY": "stripe"})
    assert plan.environ["STRIPE_API_BASE"] == "http://127.0.0.1:8700"
    assert plan.environ["STRIPE_API_KEY"].startswith("sk_test_")
    assert DOUBLE in plan.commands
    assert DOUBLE not in plan.services()


@pytest.mark.parametrize("environ", [{}, {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": KEY}])
def test_stand_in_does_not_run_otherwise(environ: dict[str, str]) -> None:
    plan = Plan.read(PROCFILE, environ)
    assert DOUBLE not in plan.commands
    assert "STRIPE_API_BASE" not in plan.environ


def test_port_of_the_stand_in_is_checked_too() -> None:
    base = free_ports()
    with socket.create_server(("127.0.0.1", base + 700)), pytest.raises(PortTaken, match="of stripe_double is in use"):
        Plan.read(PROCFILE, {"PAYMENT_GATEWAY": "stripe", "PORT": str(base)}).check_ports()


def test_stand_in_serves_and_stops(tmp_path: Path) -> None:
    port = free_ports()
    command = ["python", "-m", "stripe_double", str(tmp_path / "new" / "state"), str(port)]
    run = Running(command, tmp_path / "log")
    run.says(f"http://127.0.0.1:{port}")
    answer = requests.get(f"http://127.0.0.1:{port}/v1/refunds", headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    assert answer.json()["data"] == []
    assert run.ends(signal.SIGTERM) == 0
