"""The fault catalogue on the real system: the fixtures of tests/system, and those that its rows share."""

from tests.faults.crashes import crashing, services_alone, services_to_crash
from tests.faults.proxied import proxied, proxied_system
from tests.faults.shared_stack import shared_stack, stack, way
from tests.faults.target import target
from tests.system.conftest import open_orders, settle, start

__all__ = [  # fixtures: the whole system, and how a test ends
    "crashing",
    "open_orders",
    "proxied",
    "proxied_system",
    "services_alone",
    "services_to_crash",
    "settle",
    "shared_stack",
    "stack",
    "start",
    "target",
    "way",
]  # fmt: skip
