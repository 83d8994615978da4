"""Row 17: the clock of one host is an hour off. Required: only the database's time counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.faults.claims import watching_claims
from tests.faults.shared_stack import SharedStack
from tests.system.conftest import place

LEASE_S = 20
HOUR_S = 3600
# Python imports a module of this name at startup. It shifts the time that the process sees.
SITECUSTOMIZE = """
import datetime, os, time

OFF_S = float(os.environ["CLOCK_OFF_S"])
real_time, real_time_ns, real = time.time, time.time_ns, datetime.datetime

class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, real)

class Shifted(real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) + datetime.timedelta(seconds=OFF_S)

    @classmethod
    def utcnow(cls):
        return real.utcnow() + datetime.timedelta(seconds=OFF_S)

time.time = lambda: real_time() + OFF_S
time.time_ns = lambda: real_time_ns() + int(OFF_S * 1e9)
datetime.datetime = Shifted
"""


def test_wrong_host_clock_changes_no_lease(stack: SharedStack, tmp_path: Path) -> None:
    """One orchestrator and the Edge API are an hour ahead, one is an hour behind; failing payments cause retries."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    early = {"PYTHONPATH": str(tmp_path), "CLOCK_OFF_S": str(HOUR_S)}
    late = early | {"CLOCK_OFF_S": str(-HOUR_S)}
    stack.end("web", "orchestrator.1", "orchestrator.2", "payments_service")
    stack.start("payments_service", MOCK_FAILURE_RATE="0.3", MOCK_LATENCY_MS="20")
    stack.start("web", **early)
    stack.start("orchestrator.1", LEASE_S=str(LEASE_S), **early)
    stack.start("orchestrator.2", LEASE_S=str(LEASE_S), **late)
    assert_is_off(stack, "orchestrator.1", HOUR_S)
    assert_is_off(stack, "orchestrator.2", -HOUR_S)
    product = stack.product()
    with watching_claims(stack) as claims:
        assert len(set(place(stack, product, 40).values())) == 40
        stack.settle()
        assert len(claims.owners()) == 2
        assert claims.of_leased_orders() == 0
        assert claims.worst("-late_s") <= 0, "an order was claimed before it was due"
        assert claims.worst("abs(lease_s - 20)") < 1
    stack.end("orchestrator.1")
    place(stack, product, 3)
    stack.settle()


def assert_is_off(stack: SharedStack, name: str, seconds: int) -> None:
    """Its log lines carry its own time."""
    line = stack.log(name).splitlines()[-1]
    said = datetime.fromisoformat(line.split('"time": "')[1].split('"')[0])
    assert abs(said - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(minutes=10)
