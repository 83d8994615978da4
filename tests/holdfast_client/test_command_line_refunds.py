"""`holdfast orders refund` and `holdfast orders refunds`."""

from __future__ import annotations

import json
from typing import Any

import pytest
import responses

from tests.holdfast_client.test_client_events import event
from tests.holdfast_client.test_command_line import ORDER, PLACED, Command, asks, fake, folder, refuse, run
from tests.holdfast_client.test_holdfast_client import EDGE, ID, PRODUCT

__all__ = ["asks", "fake", "folder", "run"]  # fixtures
PENDING: dict[str, Any] = {
    "refund_id": PRODUCT,
    "order_ledger_id": ID,
    "status": "PENDING",
    "amount_cents": 500,
    "items": [],
    "restock": False,
    "reason": "requested_by_customer",
    "note": None,
    "failure": None,
    "created_at": "2026-11-22T10:00:00.000001Z",
    "updated_at": "2026-11-22T10:00:00.000001Z",
}
SUCCEEDED = PENDING | {"status": "SUCCEEDED"}
REFUSED = PENDING | {"status": "FAILED", "failure": {"code": "refund_declined", "message": "The card is closed."}}


def test_refund_is_asked_for_as_given(fake: responses.RequestsMock, asks: Command) -> None:
    fake.post(f"{EDGE}/orders/{ID}/refunds", json=PENDING, status=202)
    told = asks(
        "orders", "refund", ID, "--item", f"{PRODUCT}:2", "--restock", "--reason", "duplicate", "--note", "N",
        "--idempotency-key", "refund-1", "-o", "json",
    )  # fmt: skip
    assert (told.exit_code, json.loads(told.stdout)) == (0, PENDING)
    sent = fake.calls[0].request
    assert sent.headers["Idempotency-Key"] == "refund-1"
    assert json.loads(sent.body or b"") == {
        "items": [{"product_id": PRODUCT, "quantity": 2}],
        "restock": True,
        "reason": "duplicate",
        "note": "N",
    }


def test_refund_of_all_that_is_left_names_no_amount(fake: responses.RequestsMock, asks: Command) -> None:
    fake.post(f"{EDGE}/orders/{ID}/refunds", json=PENDING, status=202)
    assert asks("orders", "refund", ID).exit_code == 0
    assert json.loads(fake.calls[0].request.body or b"") == {"reason": "requested_by_customer"}


def test_dry_run_shows_the_amount_and_says_that_it_was_one(fake: responses.RequestsMock, asks: Command) -> None:
    nothing = dict.fromkeys(("refund_id", "status", "created_at", "updated_at"))
    fake.post(f"{EDGE}/orders/{ID}/refunds", json=PENDING | nothing)
    told = asks("orders", "refund", ID, "--dry-run", "--wait", "-o", "json")
    assert (told.exit_code, json.loads(told.stdout)["amount_cents"]) == (0, 500)
    assert "dry run" in told.stderr
    assert fake.calls[0].request.url.endswith("?dry_run=true")


@pytest.mark.parametrize(
    ("ended", "timeout", "code", "says"),
    [(SUCCEEDED, "60", 0, ""), (REFUSED, "60", 1, "The card is closed."), (PENDING, "0", 1, "still pending")],
)
def test_refund_that_is_waited_for_ends_as_it_does(
    fake: responses.RequestsMock, asks: Command, ended: dict[str, Any], timeout: str, code: int, says: str
) -> None:
    fake.post(f"{EDGE}/orders/{ID}/refunds", json=PENDING, status=202)
    fake.get(f"{EDGE}/refunds/{PRODUCT}", json=ended)
    told = asks("orders", "refund", ID, "--amount-cents", "500", "--wait", "--timeout", timeout, "-o", "json")
    assert (told.exit_code, json.loads(told.stdout)["status"]) == (code, ended["status"])
    assert says in told.stderr


def test_refusal_says_how_much_is_left(fake: responses.RequestsMock, asks: Command) -> None:
    refuse(fake, "POST", f"/orders/{ID}/refunds", 409, "refund_exceeds_remaining", details={"remaining_cents": 120})
    told = asks("orders", "refund", ID, "--amount-cents", "500")
    assert told.exit_code == 1
    assert "remaining_cents: 120" in told.stderr


@pytest.mark.parametrize("more", [("--restock",), ("--item", PRODUCT)])
def test_amount_and_pieces_together_are_refused(asks: Command, more: tuple[str, ...]) -> None:
    assert asks("orders", "refund", ID, "--amount-cents", "5", *more).exit_code == 2


@pytest.mark.parametrize("refunds", [[], [SUCCEEDED, PENDING]])
def test_refunds_are_listed(fake: responses.RequestsMock, asks: Command, refunds: list[dict[str, Any]]) -> None:
    fake.get(f"{EDGE}/orders/{ID}/refunds", json={"refunds": refunds})
    assert json.loads(asks("orders", "refunds", ID, "-o", "json").stdout) == refunds


def test_event_about_a_refund_can_be_triggered(fake: responses.RequestsMock, asks: Command) -> None:
    fake.post(f"{EDGE}/orders", json=PLACED, status=202)
    fake.get(f"{EDGE}/orders/{ID}", json=ORDER)
    fake.post(f"{EDGE}/orders/{ID}/refunds", json=PENDING, status=202)
    found = event(3, refund_id=PRODUCT) | {"type": "refund.failed"}
    fake.get(f"{EDGE}/events", json={"events": [found], "next_after": found["id"]})
    told = asks("webhooks", "trigger", "refund.failed", "--product", PRODUCT, "--yes", "-o", "json")
    assert (told.exit_code, json.loads(told.stdout)) == (0, found)
    assert json.loads(fake.calls[0].request.body or b"")["payment"]["token"] == "fail_refund"
