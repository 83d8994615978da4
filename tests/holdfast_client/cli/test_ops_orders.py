"""`holdfast ops` on one order: what it shows, what it does, and what it refuses."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest

from tests.audit.small_world import SmallWorld
from tests.holdfast_client.cli.conftest import Command

ACTIONS = [
    ("retry", "ID", "--reason", "why"),
    ("cancel", "ID", "--reason", "other", "--yes"),
    ("refund", "ID", "--reason", "other", "--yes"),
    ("note", "ID", "words"),
    ("dealt-with", "ID", "--reason", "why"),
]


def words_for(words: tuple[str, ...], order: str) -> list[str]:
    return [order if word == "ID" else word for word in words]


def failed_order(world: SmallWorld) -> str:
    order = str(world.order(world.product(), token="fail_capture").json["order_ledger_id"])
    world.work()
    return order


def retrying_order(world: SmallWorld) -> str:
    """An order of which one call was not answered."""
    world.faults = {"reserve": ["request"]}
    order = str(world.order(world.product()).json["order_ledger_id"])
    world.run_once()
    return order


# What is shown


def test_completed_order_is_shown_on_one_screen(ops: Command, completed: str) -> None:
    told = ops("order", completed, role="viewer")
    assert told.exit_code == 0, told.output
    first, second, third, *_ = told.stdout.splitlines()
    assert first == f"Order {completed}  COMPLETED  25.00 USD"
    assert second == "Money: 25.00 USD was charged."
    assert third == "Next: nothing. The order has ended."
    for part in ("[x] confirm order", "Do the books agree? yes", "a@b.example", "Widget", "2 sold"):
        assert part in told.stdout
    assert told.stderr == ""


def test_failed_order_shows_why_and_what_was_undone(ops: Command, world: SmallWorld) -> None:
    told = ops("order", failed_order(world)).stdout
    assert "Why: payment_declined: The payment was declined: capture_refused." in told
    assert "[!] capture payment" in told
    assert "[x] undo: void payment" in told
    assert "capture payment, attempt 1: refused  402, payment_declined, The payment was declined" in told
    assert " took " in told


def test_retrying_order_shows_its_attempt_and_its_next_one(ops: Command, world: SmallWorld) -> None:
    order = retrying_order(world)
    world.sql("UPDATE order_ledger SET due_at = now() + interval '1 h' WHERE id = %(id)s", id=order)
    told = ops("order", order).stdout
    assert "Next: reserve inventory, due " in told
    assert ", in 60 min, after 1 failed try (" in told
    assert "ConnectionError, took " in told
    assert "reserve inventory, attempt 1: unanswered" in told
    assert "[>] reserve inventory" in told


def test_claim_that_has_run_out_is_not_in_flight(ops: Command, world: SmallWorld, waiting: str) -> None:
    claim = "UPDATE order_ledger SET claimed_by = 'o-1', claimed_until = now() + %(until)s::interval, due_at = now()"
    world.sql(claim, until="1 h")
    assert "in flight at o-1" in ops("order", waiting).stdout
    world.sql(claim, until="-1 h")
    assert ", for " in ops("order", waiting).stdout


def test_attention_cancellation_and_note_are_shown(ops: Command, waiting: str) -> None:
    assert "Needs attention: since " in ops("order", waiting).stdout
    assert "Dealt with: by ada.operator: known. " in ops("dealt-with", waiting, "--reason", "known").stdout
    cancelled = ops("cancel", waiting, "--reason", "duplicate", "--note", "By phone", "--yes").stdout
    assert ", duplicate: By phone" in cancelled
    told = ops("note", waiting, "Told the shop").stdout
    assert told.count("Told the shop") == 1
    assert "note of ada.operator" in told


def test_entry_that_cannot_be_written_says_so(ops: Command, world: SmallWorld, waiting: str) -> None:
    world.sql(
        "INSERT INTO set_aside_entries (order_ledger_id, reason, retry_at) VALUES (%(id)s, 'CheckViolation', now())",
        id=waiting,
    )
    assert "Cannot be written: since " in ops("order", waiting).stdout


def test_words_of_a_customer_do_not_move_the_cursor(ops: Command, waiting: str) -> None:
    assert "\x1b" not in ops("note", waiting, "\x1b[2Jgone").stdout


def test_json_is_what_the_console_answers(ops: Command, completed: str) -> None:
    shown = json.loads(ops("order", completed, "-o", "json").stdout)
    assert (shown["order_ledger_id"], shown["status"]) == (completed, "COMPLETED")
    lines = ops("order", completed, "-o", "jsonl").stdout.splitlines()
    assert json.loads(lines[0])["timeline"] == shown["timeline"]
    assert len(lines) == 1


# Which order


def test_order_is_found_by_any_of_its_ids(ops: Command, world: SmallWorld, completed: str) -> None:
    ((payment, key),) = world.sql(
        "SELECT payment_authorization_id, client_request_id FROM order_ledger WHERE id = %(id)s", id=completed
    )
    for text in (completed.upper(), payment, key, "a@b.example"):
        assert f"Order {completed}" in ops("order", text).stdout


@pytest.mark.parametrize("words", [("order", "ID"), *ACTIONS])
def test_unknown_id_is_refused(ops: Command, words: tuple[str, ...]) -> None:
    told = ops(*words_for(words, str(uuid.uuid4())), "-o", "json")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "Nothing belongs to " in told.stderr


@pytest.mark.parametrize("words", [("order", "ID"), *ACTIONS])
def test_several_orders_are_listed_and_none_is_touched(
    ops: Command, world: SmallWorld, record: Callable[[], list[object]], words: tuple[str, ...]
) -> None:
    product = world.product()
    orders = [world.order(product).json["order_ledger_id"] for _ in range(2)]
    told = ops(*words_for(words, "a@b.example"))
    assert (told.exit_code, told.stdout) == (1, "")
    assert all(order in told.stderr for order in orders)
    assert "Several orders belong to a@b.example." in told.stderr
    assert record() == []


# What is done


def test_retry_makes_the_order_due(ops: Command, world: SmallWorld, waiting: str) -> None:
    assert ops("retry", waiting, "--reason", "the gateway is back").exit_code == 0
    assert world.sql("SELECT due_at <= now() FROM order_ledger") == [(True,)]


def test_cancel_names_the_money_and_asks(ops: Command, world: SmallWorld, waiting: str) -> None:
    words = ("cancel", waiting, "--reason", "other")
    asked = f"Cancel order {waiting} (AUTHORIZED) and give 25.00 USD back?"
    for answer in ("n\n", ""):
        told = ops(*words, input=answer)
        assert (told.exit_code, told.stdout) == (1, "")
        assert asked in told.stderr
    assert world.sql("SELECT cancel_requested_at FROM order_ledger") == [(None,)]
    told = ops(*words, input="y\n")
    assert told.exit_code == 0
    assert "Cancellation: asked for at " in told.stdout
    assert asked not in ops(*words, "--yes").stderr


def test_refund_names_the_money_and_asks(ops: Command, world: SmallWorld, completed: str) -> None:
    ((product,),) = world.sql("SELECT product_id::text FROM order_ledger_items")
    words = ("refund", completed, "--item", f"{product}:1", "--restock", "--reason", "other", "-o", "json")
    told = ops(*words, input="n\n")
    assert (told.exit_code, told.stdout) == (1, "")
    assert f"Refund 12.50 USD of order {completed} to the customer, and put the pieces back into stock?" in told.stderr
    assert f"of order {completed} to the customer?" in ops("refund", completed, "--reason", "other", input="n\n").stderr
    assert world.sql("SELECT 1 FROM refunds") == []
    made = json.loads(ops(*words, input="y\n").stdout)
    assert (made["amount_cents"], made["status"]) == (1250, "PENDING")


def test_refund_is_made_once_for_its_key(ops: Command, world: SmallWorld, completed: str) -> None:
    words = ("refund", completed, "--reason", "other", "--idempotency-key", "k", "-o", "json")
    made = [json.loads(ops(*words, "--yes").stdout)["refund_id"] for _ in range(2)]
    told = ops(*words, input="y\n")  # nothing is left now, and the question says so
    assert "Was this the refund with this key?" in told.stderr
    assert {*made, json.loads(told.stdout)["refund_id"]} == {made[0]}
    assert world.sql("SELECT count(*) FROM refunds") == [(1,)]


def test_refund_beyond_what_is_left_is_refused_before_the_question(ops: Command, completed: str) -> None:
    told = ops("refund", completed, "--amount-cents", "2501", "--reason", "other")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "Error: Only 25.00 USD is left to refund. (refund_exceeds_remaining, request id " in told.stderr
    assert "remaining_cents" not in told.stderr
    assert "holdfast ops order ORDER_LEDGER_ID" in told.stderr
    assert "Refund" not in told.stderr.splitlines()[-1]


@pytest.mark.parametrize("yes", [("--yes",), ()])
def test_refund_of_too_many_pieces_names_the_product(
    ops: Command, world: SmallWorld, completed: str, yes: tuple[str, ...]
) -> None:
    ((product,),) = world.sql("SELECT product_id::text FROM order_ledger_items")
    told = ops("refund", completed, "--item", f"{product}:3", "--reason", "other", *yes)
    assert told.exit_code == 1
    assert "Error: Only 2 pieces of Widget are left to refund. (refund_exceeds_remaining" in told.stderr
    assert ops("refund", completed, "--item", f"{product}:1", "--reason", "other", "--yes").exit_code == 0
    told = ops("refund", completed, "--item", f"{product}:2", "--reason", "other", *yes)
    assert "Error: Only 1 piece of Widget is left to refund. (" in told.stderr
    assert ops("refund", completed, "--reason", "other", "--yes").exit_code == 0
    told = ops("refund", completed, "--item", f"{product}:1", "--reason", "other", *yes)
    assert "Error: No piece of Widget is left to refund. (" in told.stderr
    told = ops("refund", completed, "--reason", "other", *yes)
    assert "Error: Nothing is left to refund. (" in told.stderr


@pytest.mark.parametrize(
    "item", ["MUG:1", "00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000:0"]
)
def test_item_that_is_not_a_product_and_a_quantity_is_wrong_use(ops: Command, completed: str, item: str) -> None:
    told = ops("refund", completed, "--item", item, "--reason", "other", "--yes")
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"--item: {item} is not PRODUCT_ID:QUANTITY." in told.stderr


def test_refund_is_retried_and_dealt_with_by_its_own_id(ops: Command, world: SmallWorld, completed: str) -> None:
    refund = json.loads(ops("refund", completed, "--reason", "other", "--yes", "-o", "json").stdout)["refund_id"]
    world.sql(
        "UPDATE refunds SET due_at = now() + interval '1 h', next_retry_at = now() + interval '1 h', retry_count = 5,"
        " needs_attention_at = now(), attention_reason = 'no answer'"
    )
    assert "no answer" in ops("attention").stdout
    assert refund in ops("dealt-with", refund, "--reason", "known").stdout
    assert ops("attention", "-o", "json").stdout == "[]\n"
    assert refund in ops("retry", refund, "--reason", "the gateway is back").stdout
    assert world.sql("SELECT due_at <= now() FROM refunds") == [(True,)]
    assert completed in ops("order", refund).stdout


def test_other_arguments_with_the_same_key_are_refused(ops: Command, waiting: str) -> None:
    words = ("retry", waiting, "--idempotency-key", "k", "--reason")
    assert [ops(*words, "a").exit_code, ops(*words, "a").exit_code] == [0, 0]
    told = ops(*words, "b")
    assert told.exit_code == 1
    assert "idempotency_key_reused" in told.stderr


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("retry", "ID", "--reason", "why"), "holdfast ops order "),
        (("cancel", "ID", "--reason", "other", "--yes"), "holdfast ops order "),
        (("dealt-with", "ID", "--reason", "why"), "holdfast ops attention"),
    ],
)
def test_refusal_says_what_to_do(ops: Command, completed: str, words: tuple[str, ...], advice: str) -> None:
    told = ops(*words_for(words, completed))
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith("Error: ")
    assert advice in told.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", ACTIONS)
def test_viewer_may_look_and_not_act(
    ops: Command, waiting: str, record: Callable[[], list[object]], words: tuple[str, ...]
) -> None:
    assert ops("order", waiting, role="viewer").exit_code == 0
    told = ops(*words_for(words, waiting), role="viewer")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "This needs the role operator, and ada.viewer has the role viewer." in told.stderr
    assert told.stderr.splitlines()[-1] == "Ask an admin for a key with that role."
    assert record() == []
