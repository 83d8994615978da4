"""Row 10. An orchestrator dies right after it claimed an order: another claims the order when the lease ends."""

from __future__ import annotations

from tests.faults.crashes import CrashStack, ShopsOrder

POINTS = ("saga.after_claim.create_order",)


def test_claimed_entry_is_taken_over_when_its_lease_ends(crashing: CrashStack) -> None:
    order = ShopsOrder(crashing, crashing.product())
    with crashing.killed_at(*POINTS, LEASE_S="1"):
        assert order.send().status_code == 202
    ((dead, leased_until),) = crashing.sql("SELECT claim_number, claimed_until FROM order_ledger")
    assert crashing.count("orders") == 0
    crashing.settles(order, "COMPLETED")
    begun = "SELECT claim_number, at FROM order_ledger_history WHERE to_status = 'ORDER_CREATED'"
    ((claim_number, at),) = crashing.sql(begun)
    assert claim_number > dead
    assert at >= leased_until
