"""What a process loads at run time: every process pays for each import in memory and start time."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = [f"{service}.app" for service in ("edge_api", "orders_service", "inventory_service", "payments_service")]


@pytest.mark.parametrize("module", [*MODULES, "orchestrator.__main__"])
def test_only_the_migrations_load_sqlalchemy(module: str) -> None:
    look = f"import sys, {module}; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
