"""A short run with the double in the place of Stripe: it fails one call in ten, and its own books agree with ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.chaos.cards import STRIPE
from tests.chaos.conftest import ENDS_WITHIN_S, figures
from tests.chaos.money_at_gateway import FILE
from tests.system.running import Running


def test_disturbed_system_keeps_every_promise_over_stripe(storm: Callable[..., Running], tmp_path: Path) -> None:
    running = storm(PAYMENT_GATEWAY=STRIPE, ORDERS="60", POISON_EVERY_S="0", HANG_EVERY_S="0", FREEZE_EVERY_S="0")
    code = running.process.wait(ENDS_WITHIN_S)
    assert code == 0, running.output
    found = figures(tmp_path)
    assert found["findings"] == []
    assert found["states"]["COMPLETED"] > 0
    assert found["refunds"]["SUCCEEDED"] >= 1
    gateway = found["gateway"]
    assert gateway["held"] == 0
    assert gateway["captured"] >= gateway["refunded"] > 0
    assert gateway["faults"]["lost_after"] >= 1
    assert list(tmp_path.glob(f"var/chaos/*/{FILE}")), "its books are kept"
