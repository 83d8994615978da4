"""Stripe's library takes 40 MB. Only a payments service with that gateway loads it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import credentials
from tests.payments_service.stripe_worlds import KEY

LOADED = "import sys; {load}; print('stripe' in sys.modules)"
PROCESSES = {
    name: f"import {module}"
    for name, module in {
        "web": "edge_api.app",
        "orders_service": "orders_service.app",
        "inventory_service": "inventory_service.app",
        "orchestrator": "orchestrator.__main__",
        "webhooks": "webhooks.__main__",
        "console": "console.app",
        "ops": "ops.__main__",
    }.items()
}
PAYMENTS = "import payments_service.app; payments_service.app.create_app()"


def is_loaded(load: str, **environ: str) -> bool:
    usual = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "PATH": "", **credentials.SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(load=load)],
        env={**usual, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout == "True\n"


@pytest.mark.parametrize("name", PROCESSES)
def test_other_processes_do_not_load_it(name: str) -> None:
    assert not is_loaded(PROCESSES[name])


def test_payments_service_loads_it_with_that_gateway_only() -> None:
    assert not is_loaded(PAYMENTS)
    assert is_loaded(PAYMENTS, PAYMENT_GATEWAY="stripe", STRIPE_API_KEY=KEY)
