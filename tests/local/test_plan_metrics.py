"""`make run` gives each process a port for its metrics, and checks that it is free."""

from __future__ import annotations

import socket

import pytest

from local.plan import DOUBLE, Plan, PortTaken
from local.run import PROCFILE
from tests.system.running import free_ports

URL = "postgresql://holdfast@127.0.0.1/holdfast"


def test_each_process_has_its_own_port_and_50() -> None:
    plan = Plan.read(PROCFILE, {"METRICS_PORT": "9999"})
    ports = {name: int(plan.environ_of(name, URL)["METRICS_PORT"]) for name in plan.commands}
    assert ports == {name: port + 50 for name, port in plan.ports.items()}
    assert ports["web"] == 8050
    assert len(set(ports.values())) == len(ports) >= 6


def test_migration_and_stand_in_have_none() -> None:
    plan = Plan.read(PROCFILE, {"PAYMENT_GATEWAY": "stripe"})
    assert "METRICS_PORT" not in plan.environ_of("release", URL)
    assert plan.environ_of(DOUBLE, URL)["METRICS_PORT"] == ""


@pytest.mark.parametrize(("name", "place"), [("web", 0), ("orchestrator", 500), ("webhooks", 600)])
def test_port_that_is_taken_is_told(name: str, place: int) -> None:
    base = free_ports()
    plan = Plan.read(PROCFILE, {"PORT": str(base)})
    with (
        socket.create_server(("127.0.0.1", base + place + 50)),
        pytest.raises(PortTaken, match=f"Port {base + place + 50} of the metrics of {name} is in use"),
    ):
        plan.check_ports()
