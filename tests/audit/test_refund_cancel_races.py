"""Refund ‖ cancel. Whatever is asked of an order while it is completed, it ends in one of five ways."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import psycopg2
import pytest
from werkzeug.test import TestResponse

from tests.audit.small_world import SmallWorld
from tests.races import Moments, placed, races, sell, tell
from tests.waiting import eventually

RACES = races(36)
# The answers to the cancel and to the refund; then the order's status, its cancellation, and how much is refunded.
WAYS = {
    ("202", "order_not_refundable", "FAILED", "done", "none"): "cancelled",
    ("202", "order_not_refundable", "COMPLETED", "refused", "none"): "cancelled too late, refunded too early",
    ("202", "202", "COMPLETED", "refused", "full"): "cancelled too late, refunded",
    ("order_not_cancellable", "order_not_refundable", "COMPLETED", None, "none"): "refunded too early",
    ("order_not_cancellable", "202", "COMPLETED", None, "full"): "refunded",
}
# As the orchestrator does it.
COMPLETE = """
UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL, claimed_by = NULL, claimed_until = NULL;
UPDATE outbox SET status = 'PROCESSED', processed_at = now()
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def said(answer: TestResponse) -> str:
    return str(answer.json["error"] if answer.status_code == 409 else answer.status_code)


def answered(call: Callable[..., TestResponse], order: str, **body: Any) -> str:
    """Send the call, with one key, until the answer is not "later"."""
    key = uuid.uuid4().hex
    return said(eventually(lambda: (answer := call(order, key=key, **body)).status_code != 503 and answer))


def way(world: SmallWorld, order: str, cancelled: str, refunded: str) -> str:
    """How the order has ended. That is one of WAYS."""
    now, refunds = world.get(f"/orders/{order}"), world.get(f"/orders/{order}/refunds")["refunds"]
    cancellation = now["cancellation"] and now["cancellation"]["status"]
    end = WAYS[cancelled, refunded, now["status"], cancellation, now["refund_status"]]
    assert [each["status"] for each in refunds] == ["SUCCEEDED"] * (refunded == "202")
    assert (now["failure"] or {}).get("code") == ("cancelled" if end == "cancelled" else None)
    return end


def race(world: SmallWorld, product: str, clients: ThreadPoolExecutor, cancel_at: int, refund_at: int) -> str:
    """Place an order, and cancel and refund it when its saga has come to these moments. The saga does not wait."""
    order = placed(world, product)
    answers: dict[str, Future[str]] = {}

    def start(name: str, *call: Any, **body: Any) -> None:
        answers[name] = clients.submit(answered, *call, **body)

    acts = [
        (cancel_at, partial(start, "cancel", world.cancel, order)),
        (refund_at, partial(start, "refund", world.refund, order, restock=True)),
    ]
    world.look = moments = Moments(acts)
    world.run_once()
    moments.all()
    results = answers["cancel"].result(), answers["refund"].result()
    world.work()
    return way(world, order, *results)


def test_order_ends_in_one_of_the_ways(world: SmallWorld) -> None:
    """The cancel comes at each moment of the order, and the refund at the same one or any other."""
    world.look = counted = Moments()
    sell(world, product := world.product(stock=2 * RACES + 2))
    ends = []
    with ThreadPoolExecutor(2) as clients:
        for number in range(RACES):
            turn, moment = divmod(number, counted.count)
            ends.append(race(world, product, clients, moment + 1, (moment + 5 * turn) % counted.count + 1))
    tell("refund ‖ cancel", ends)
    assert world.stock(product) == 2 * sum(end == "cancelled" or end.endswith("refunded") for end in ends)
    assert world.audit() == []


@pytest.fixture
def order(world: SmallWorld) -> str:
    return placed(world, world.product())


@pytest.mark.parametrize("call", ["create", "reserve", "capture"])
def test_cancel_wins_before_the_confirm(world: SmallWorld, order: str, call: str) -> None:
    answers: list[str] = []
    calls = (world.refund, world.cancel, world.refund)
    world.before[call] = lambda: answers.extend(answered(each, order) for each in calls)
    world.work()
    assert answers == ["order_not_refundable", "202", "order_not_refundable"]
    assert way(world, order, *answers[1:]) == "cancelled"
    assert world.audit() == []


@pytest.mark.parametrize("answer", ["arrives", "is lost"])
def test_order_that_was_confirmed_before_the_cancel_is_refunded_once(
    world: SmallWorld, order: str, answer: str
) -> None:
    """The refund is asked for again, with the same key. It is refused until the order is completed."""
    key, refused = uuid.uuid4().hex, []
    refund = partial(world.refund, order, key=key, restock=True)
    world.before["confirm"] = lambda: refused.extend([said(world.cancel(order)), said(refund())])
    if answer == "is lost":
        world.faults["confirm"] = ["answer"]
        world.before["cancel"] = lambda: refused.append(said(refund()))
    world.work()
    assert refused == ["202", "order_not_refundable", *["order_not_refundable"] * (answer == "is lost")]
    accepted = [refund() for _ in range(2)]
    world.work()
    assert [said(each) for each in accepted] == ["202", "202"]
    assert accepted[0].json["refund_id"] == accepted[1].json["refund_id"]
    assert way(world, order, "202", "202") == "cancelled too late, refunded"
    assert world.audit() == []


def test_both_wait_for_an_order_that_is_being_completed(world: SmallWorld, url: str, order: str) -> None:
    """The transaction that completes the order is still open. Nobody decides before it has committed."""
    world.crashes_at = {"confirm_order"}
    world.run_once()
    with closing(psycopg2.connect(url)) as holder, ThreadPoolExecutor(2) as clients:
        holder.cursor().execute(COMPLETE)
        answers = [clients.submit(answered, call, order) for call in (world.cancel, world.refund)]
        eventually(lambda: world.sql(WAITING) == [(2,)])
        holder.commit()
        results = [each.result() for each in answers]
    world.work()
    assert way(world, order, *results) == "refunded"
    assert world.audit() == []
