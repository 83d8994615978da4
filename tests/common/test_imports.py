"""What a process loads at run time: every process pays for each import in memory and start time."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = [f"{service}.app" for service in ("edge_api", "orders_service", "inventory_service", "payments_service")]


@pytest.mark.parametrize("module", [*MODULES, "console.app", "orchestrator.__main__"])
def test_no_process_loads_what_only_migrations_or_one_gateway_need(module: str) -> None:
    look = f"import sys, {module}; sys.exit(bool({{'sqlalchemy', 'stripe'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
