"""The thread that counts orders."""

from __future__ import annotations

import threading

import pytest

from common.database.database import Database
from common.ledger import sums
from orchestrator.order_sums import OrderSums


def test_unexpected_error_ends_nothing_and_is_logged_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Database) -> int:
        raise KeyError("a fault in the code")

    monkeypatch.setattr(sums, "count_next", fail)
    counting = OrderSums(database, threading.Event())
    assert [counting.run_once() for _ in range(3)] == [0, 0, 0]
    assert caplog.text.count("orders are not counted") == 1
