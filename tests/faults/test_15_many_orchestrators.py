"""Row 15: two, four, eight orchestrators on one database. Required: one owner per claim number."""

from __future__ import annotations

from tests.faults.claims import watching_claims
from tests.faults.shared_stack import SharedStack
from tests.system.conftest import place

ORDERS = 30


def test_each_claim_has_one_owner(stack: SharedStack) -> None:
    """Payments that fail often cause retries, so that the orchestrators compete for the same orders repeatedly."""
    stack.restart("payments_service", MOCK_FAILURE_RATE="0.3")
    product = stack.product()
    with watching_claims(stack) as claims:
        for turn, orchestrators in enumerate((2, 4, 8), start=1):
            names = [f"orchestrator.{number + 1}" for number in range(orchestrators)]
            stack.start(*(name for name in names if name not in stack.processes))
            assert len(set(place(stack, product, ORDERS).values())) == ORDERS
            stack.settle()
            assert (claims.with_two_owners(), claims.of_leased_orders()) == (0, 0)
            assert stack.count("order_ledger") == turn * ORDERS
        assert len(claims.owners()) >= 4, "too few orchestrators claimed orders"
