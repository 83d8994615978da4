"""The verdict on one order: it agrees with sound books in every state, and disagrees where the audit does."""

from __future__ import annotations

from typing import Any

import pytest

from console import orders
from tests.audit.every_state import Books
from tests.audit.planted import HARMLESS, PLANTED
from tests.database.conftest import Trial

ORDERS = ("completed", "failed", "refunded", "declined", "abandoned", "held", "authorized", "created", "reserved",
          "captured", "turned_back", "returned", "not_returned", "returning")  # fmt: skip
# The audit's checks that are about one order's money, stock, order and refunds. The others are about when something is
# due, the events, the history, keys that two entries share, and the sums of all books.
OF_ONE_ORDER = ("completed", "nothing_left", "confirmed_unpaid", "money", "amounts", "refunds")
# What they find that one order's page cannot show, by a part of the finding.
OUT_OF_REACH = {
    "its entry does not exist": "the row is of no order",
    "currency USD: captured less refunded are": "a sum of all orders",
    "currency USD": "the same",
    "currency EUR": "the same",
    "the total is 2500, its lines add up to 0": "the console does not read the lines at the orders service",
    "SUCCEEDED, and the payment's refund is FAILED": "legal for an hour: the order hears of it later",
    **dict.fromkeys(
        ["SUCCEEDED, without its event", "FAILED, without its event", "2 events tell of its end",
         "SUCCEEDED, and its event is refund.failed", "REQUESTED, and its event is",
         "FAILED, and its event is refund.succeeded", "its event is of order_ledger",
         "tells of refund 11111111-", "tells of refund NULL"],
        "the events have a list of their own on the page",
    ),
}  # fmt: skip


class OfTrial:
    """Reads as a Database does, within the trial."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def one(self, sql: str, **params: Any) -> dict[str, Any] | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def all(self, sql: str, **params: Any) -> list[dict[str, Any]]:
        return [row for (row,) in self._trial(f"SELECT row_to_json(found) FROM ({sql}) AS found", **params)]


def disagreements(trial: Trial, ids: dict[str, str]) -> dict[str, list[str]]:
    """Order → what is said about the parts of it that do not agree."""
    found = {}
    for name in ORDERS:
        checks = orders.read(OfTrial(trial), ids[name])["verdict"]["checks"]
        found[name] = [f"{each['about']}: {each['ledger']} / {each['participant']}" for each in checks
                       if not each["agrees"]]  # fmt: skip
    return {name: said for name, said in found.items() if said}


def test_verdict_agrees_with_sound_books_in_every_state(trial: Trial, books: Books) -> None:
    assert disagreements(trial, books[1]) == {}


@pytest.mark.parametrize("statements", HARMLESS)
def test_verdict_agrees_with_unusual_but_legal_states(trial: Trial, books: Books, statements: str) -> None:
    trial(statements, **books[1])
    assert disagreements(trial, books[1]) == {}


CASES = [
    pytest.param(says, statements, id=f"{check}: {says}")
    for check in OF_ONE_ORDER
    for says, statements in PLANTED[check]
    if says not in OUT_OF_REACH
]


@pytest.mark.parametrize(("says", "statements"), CASES)
def test_verdict_disagrees_where_the_audit_does(trial: Trial, books: Books, says: str, statements: str) -> None:
    trial(statements, **books[1])
    assert disagreements(trial, books[1]), says
