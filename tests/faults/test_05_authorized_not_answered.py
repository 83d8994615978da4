"""Row 5. The edge dies after T2, before the 202: the same 202 is replayed, and nothing is ordered twice."""

from __future__ import annotations

import pytest
import requests

from tests.faults.crashes import CrashStack, ShopsOrder

POINTS = ("edge.after_t2",)


def test_unsent_202_is_replayed(crashing: CrashStack) -> None:
    order = ShopsOrder(crashing, crashing.product())
    with crashing.killed_at(*POINTS), pytest.raises(requests.ConnectionError):
        order.send()
    ((id_, answer),) = crashing.sql("SELECT id::text, response_body FROM order_ledger WHERE status = 'AUTHORIZED'")
    replayed = order.send()
    assert (replayed.status_code, replayed.text, replayed.headers["Location"]) == (202, answer, f"/orders/{id_}")
    crashing.settles(order, "COMPLETED")
    assert crashing.count("orders") == crashing.count("inventory_reservations") == 1
