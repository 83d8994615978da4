"""Claims, their order, and what becomes of an attempt. Time passes in the rows, not in the test."""

from __future__ import annotations

import threading

import pytest

from common.events.body import READ, event_body
from common.json_text.decode import decode
from webhooks import statements
from webhooks.delivery import Answer, NoAnswer
from webhooks.schedule import DELAYS_S

IN_FOR_LONG = "first_attempt_at = now() - interval '2 hours'"
YES, NO = Answer(204), Answer(500, "broken")


@pytest.fixture
def endpoint(world):
    return world.endpoint()


@pytest.fixture
def queue(world, store, endpoint):
    """`queue(3)`: three events of one order, with their deliveries."""

    def make(count):
        order = world.order()
        events = [world.event(order, number + 1) for number in range(count)]
        store.fan_out()
        return events

    return make


def ids(deliveries):
    return [delivery.message_id for delivery in deliveries]


def test_claim_has_all_that_an_attempt_needs(world, store, endpoint, queue):
    (event,) = queue(1)
    (delivery,) = store.claim(endpoint, 10)
    (row,) = world.database.all(f"{READ} WHERE e.id = %(id)s", id=event)
    assert decode(delivery.body) == event_body(row)
    assert delivery.headers["webhook-id"] == event
    assert delivery.url == "https://shop.example/hook"
    data = decode(delivery.body)["data"]
    assert (data["reference"], data["metadata"], data["sequence"]) == ("R-1", {"till": "7"}, 1)
    assert b"ada@" not in delivery.body


def test_the_events_of_an_order_are_delivered_one_after_the_other(store, endpoint, queue):
    first, second, third = queue(3)
    for event in (first, second, third):
        claimed = store.claim(endpoint, 10)
        assert ids(claimed) == [event]
        assert store.claim(endpoint, 10) == []
        store.save(claimed[0], YES)
    assert store.claim(endpoint, 10) == []


def test_events_of_different_orders_do_not_wait_for_each_other(store, endpoint, queue):
    firsts = {queue(2)[0] for _ in range(3)}
    assert set(ids(store.claim(endpoint, 10))) == firsts


def test_failed_event_blocks_its_order(world, store, endpoint, queue):
    first, _ = queue(2)
    store.save(store.claim(endpoint, 10)[0], NO)
    world.set_delivery(first, "due_at = now()")
    assert ids(store.claim(endpoint, 10)) == [first]
    assert not world.deliveries(endpoint)[1]["is_due"]


def test_failed_event_lets_the_next_one_pass_after_an_hour(world, store, endpoint, queue):
    first, second, _ = queue(3)
    store.save(store.claim(endpoint, 10)[0], NO)
    assert world.deliveries(endpoint)[1]["due_in_s"] == pytest.approx(3600, abs=60)
    assert world.deliveries(endpoint)[2]["is_blocked"]
    world.set_delivery(first, "first_attempt_at = now() - interval '1 hour', due_at = now() + interval '2 hours'")
    world.set_delivery(second, "due_at = now()")  # as it is an hour later
    (passing,) = store.claim(endpoint, 10)
    assert passing.message_id == second
    world.set_delivery(first, "due_at = now()")
    world.set_endpoint(endpoint, "failing_since = NULL")  # so that it may have several in flight
    assert store.claim(endpoint, 10) == []  # still one at a time
    store.save(passing, YES)
    assert set(ids(store.claim(endpoint, 10))) == {first}


@pytest.mark.parametrize("arrives", ["before", "later"])
def test_failed_event_has_one_more_attempt_before_the_next_one_passes(world, store, endpoint, arrives):
    """The receiver may be back. The regular attempt would come long after the next event."""
    order = world.order()
    first = world.event(order, 1)
    if arrives == "before":
        world.event(order, 2)
    store.fan_out()
    world.set_delivery(first, "attempts = 3")
    store.save(store.claim(endpoint, 10)[0], NO)
    if arrives == "later":
        assert world.deliveries(endpoint)[0]["due_in_s"] > 3600
        world.event(order, 2)
        store.fan_out()
    blocking, waiting = world.deliveries(endpoint)
    assert waiting["due_in_s"] - 2 <= blocking["due_in_s"] < waiting["due_in_s"] <= 3600
    world.set_delivery(first, "first_attempt_at = now() - interval '1 hour', due_at = now()")
    world.set_delivery(waiting["event_id"], "due_at = now()")
    (again,) = store.claim(endpoint, 10)
    assert again.message_id == first
    store.save(again, NO)
    assert world.deliveries(endpoint)[0]["due_in_s"] > 3600, "then its schedule goes on"
    assert ids(store.claim(endpoint, 10)) == [waiting["event_id"]]


def test_event_that_arrives_behind_a_failed_one_waits_for_it(world, store, endpoint):
    order = world.order()
    world.event(order, 1)
    store.fan_out()
    store.save(store.claim(endpoint, 10)[0], NO)
    world.event(order, 2)
    store.fan_out()
    assert world.deliveries(endpoint)[1]["due_in_s"] == pytest.approx(3600, abs=60)
    world.set_delivery(world.deliveries(endpoint)[0]["event_id"], "due_at = now()")
    store.save(store.claim(endpoint, 10)[0], YES)
    assert world.deliveries(endpoint)[1]["is_due"]


def test_attempts_follow_the_schedule(world, store, endpoint, queue):
    (event,) = queue(1)
    for number, delay_s in enumerate(DELAYS_S[1:], 1):
        store.save(store.claim(endpoint, 10)[0], NO)
        (row,) = world.deliveries(endpoint)
        assert (row["status"], row["attempts"]) == ("pending", number)
        assert delay_s * 0.9 - 60 <= row["due_in_s"] <= delay_s * 1.1
        world.set_delivery(event, "due_at = now()")
    store.save(store.claim(endpoint, 10)[0], NO)
    (row,) = world.deliveries(endpoint)
    assert (row["status"], row["attempts"], row["due_at"]) == ("failed", 10, None)


def test_event_that_failed_for_good_does_not_block_its_order(world, store, endpoint, queue):
    first, second = queue(2)
    world.set_delivery(first, "attempts = 9")
    store.save(store.claim(endpoint, 10)[0], NO)
    assert ids(store.claim(endpoint, 10)) == [second]


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [(Answer(500, "broken"), (500, "broken", None)), (NoAnswer("No answer came."), (None, None, "No answer came."))],
)
def test_what_the_receiver_answered_is_kept(world, store, endpoint, queue, outcome, kept):
    queue(1)
    store.save(store.claim(endpoint, 10)[0], outcome)
    (row,) = world.deliveries(endpoint)
    assert (row["response_status"], row["response_body"], row["error"]) == kept


# Claims


def test_outcome_of_a_lost_claim_is_not_saved(world, store, other_store, endpoint, queue):
    (event,) = queue(1)
    (mine,) = store.claim(endpoint, 10)
    world.set_delivery(event, "claimed_until = now(), due_at = now()")
    (theirs,) = other_store.claim(endpoint, 10)
    assert not store.save(mine, YES)
    assert world.deliveries(endpoint)[0]["claimed_by"] == "other"
    assert other_store.save(theirs, NO)
    assert world.deliveries(endpoint)[0]["attempts"] == 1


def test_expired_claim_costs_no_attempt(world, store, other_store, endpoint, queue):
    (event,) = queue(1)
    store.claim(endpoint, 10)
    assert other_store.claim(endpoint, 10) == []
    world.set_delivery(event, "claimed_until = now(), due_at = now()")
    assert [delivery.attempts for delivery in other_store.claim(endpoint, 10)] == [0]


def test_an_endpoint_has_a_bounded_number_in_flight_in_all_processes(store, other_store, endpoint, queue):
    for _ in range(6):
        queue(1)
    assert len(store.claim(endpoint, 3)) == 3
    assert len(other_store.claim(endpoint, 10)) == 1
    assert store.claim(endpoint, 10) == []


def test_an_endpoint_that_fails_has_one_in_flight(store, endpoint, queue):
    for _ in range(3):
        queue(1)
    store.save(store.claim(endpoint, 1)[0], NO)
    (claimed,) = store.claim(endpoint, 10)
    assert claimed.is_failing
    store.save(claimed, YES)
    queue(1)
    assert len(store.claim(endpoint, 10)) == 2


def test_a_new_endpoint_has_one_in_flight_until_its_first_success(world, store, endpoint, queue):
    world.set_endpoint(endpoint, "last_success_at = NULL")
    for _ in range(3):
        queue(1)
    (claimed,) = store.claim(endpoint, 10)
    assert store.claim(endpoint, 10) == []
    store.save(claimed, YES)
    assert len(store.claim(endpoint, 10)) == 2


def test_two_processes_never_have_two_events_of_one_order(world, store, other_store, endpoint, queue):
    """Both claim at the same time, while each event becomes due again."""
    events, together = queue(4), threading.Barrier(2)
    claimed = {"me": [], "other": []}

    def claim(which):
        together.wait()
        claimed[which.claimant] = which.claim(endpoint, 10)

    for _ in range(20):
        for event in events:
            world.set_delivery(event, f"due_at = now(), {IN_FOR_LONG}, claimed_by = NULL, claimed_until = NULL")
        threads = [threading.Thread(target=claim, args=(which,)) for which in (store, other_store)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(claimed["me"] + claimed["other"]) <= 1


def test_claim_takes_nothing_while_another_process_changes_the_queue(store, other_store, endpoint, queue):
    queue(1)

    def claim_meanwhile(tx):
        assert tx.one(statements.LOCK, endpoint_id=endpoint)
        return other_store.claim(endpoint, 10)

    assert list(store.database.transact(claim_meanwhile)) == []
    assert len(other_store.claim(endpoint, 10)) == 1


def test_claims_that_the_process_knows_nothing_of_are_released(world, store, endpoint, queue):
    queue(1)
    queue(1)
    known, _lost = store.claim(endpoint, 10)
    store.release_stranded([known.id])
    assert {row["id"] for row in world.deliveries(endpoint) if row["claimed_by"]} == {known.id}


def test_longest_overdue_endpoint_and_delivery_come_first(world, store, endpoint, queue, due):
    """A retry is not held up by new events, however many there are."""
    others = [world.endpoint(f"https://flooded-{number}.example/") for number in range(3)]
    last, first, second = others
    for _ in range(10):
        queue(1)
    overdue_s = {endpoint: 1, first: 9, second: 5, last: 0}
    for each, seconds in overdue_s.items():
        world.database.all(
            f"UPDATE webhook_deliveries SET due_at = now() - interval '{seconds} s' WHERE endpoint_id = %(id)s", id=each
        )
    retry = world.deliveries(first)[7]["event_id"]
    world.set_delivery(retry, "attempts = 2, first_attempt_at = now(), due_at = due_at - interval '1 s'")
    assert due() == [first, second, endpoint, last]
    assert ids(store.claim(first, 1)) == [retry]


# The state of an endpoint


def test_410_disables_the_endpoint_and_keeps_its_events(world, store, endpoint, queue, due, shown):
    queue(1)
    store.save(store.claim(endpoint, 10)[0], Answer(410))
    disabled, (delivery,) = shown(endpoint)
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "the receiver answered 410 Gone")
    assert disabled["disabled_at"] is not None
    assert (delivery["status"], delivery["response_status"], delivery["next_attempt_at"]) == ("pending", 410, None)
    world.set_delivery(world.deliveries(endpoint)[0]["event_id"], "due_at = now()")
    assert due() == [] == store.claim(endpoint, 10)
    assert world.deliveries(endpoint)[0]["status"] == "pending"
    world.set_endpoint(endpoint, "status = 'enabled', disabled_at = NULL, disabled_reason = NULL")
    assert len(store.claim(endpoint, 10)) == 1


def test_failures_begin_with_the_first_one_and_end_with_a_success(world, store, endpoint, queue):
    (event,) = queue(1)
    store.save(store.claim(endpoint, 10)[0], NO)
    since = world.row(endpoint)["failing_since"]
    world.set_delivery(event, "due_at = now()")
    store.save(store.claim(endpoint, 10)[0], NO)
    assert world.row(endpoint)["failing_since"] == since is not None
    world.set_endpoint(endpoint, "warnings = 2, last_success_at = NULL")
    world.set_delivery(event, "due_at = now()")
    store.save(store.claim(endpoint, 10)[0], YES)
    row = world.row(endpoint)
    assert (row["failing_since"], row["warnings"]) == (None, 0)
    assert row["last_success_at"] is not None


def test_warnings_come_before_an_endpoint_is_disabled(world, store, endpoint, caplog):
    caplog.set_level("WARNING")
    for after, warnings in [("59 minutes", 0), ("1 hour", 1), ("1 day", 2), ("4 days", 3)]:
        world.set_endpoint(endpoint, f"failing_since = now() - interval '{after}'")
        store.look_after_endpoints()
        store.look_after_endpoints()
        assert len([each for each in caplog.records if "will be disabled" in each.message]) == warnings
        assert world.row(endpoint)["status"] == "enabled"


def test_five_days_without_a_success_disable_an_endpoint(world, store, endpoint, caplog, database, shown):
    caplog.set_level("WARNING")
    world.set_endpoint(endpoint, "failing_since = now() - interval '5 days'")
    store.look_after_endpoints()
    disabled, _ = shown(endpoint)
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "no delivery succeeded for five days")
    assert "was disabled" in caplog.text
    (noted,) = database.all(
        "SELECT details FROM operator_log WHERE action = 'webhook_endpoint.disabled' AND details ->> 'id' = %(id)s",
        id=endpoint,
    )
    assert noted["details"]["client"] == "shop"
