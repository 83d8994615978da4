"""`python -m ops attention`: lists the orders that need attention, and retries them at once."""

from __future__ import annotations

import re
import uuid
from contextlib import closing

import psycopg2
import pytest

from domain.states import CHANNEL
from orchestrator.store import MAX_UNPRODUCTIVE_CLAIMS
from tests.audit.small_world import SmallWorld
from tests.audit.test_audit_command import run
from tests.waiting import eventually

WAITING = """
UPDATE order_ledger SET due_at = now() + interval '5 min', next_retry_at = now() + interval '5 min', retry_count = 6,
  needs_attention_at = now() - interval '1 hour', attention_reason = 'void_payment got no answer'
WHERE due_at IS NOT NULL
"""
NOT_YET = "SELECT count(*) FROM order_ledger WHERE due_at > now()"


@pytest.fixture
def waiting(world: SmallWorld) -> str:
    """The id of an order that needs attention and is retried in five minutes."""
    world.order(world.product())
    world.sql(WAITING)
    return str(world.sql("SELECT id FROM order_ledger WHERE due_at IS NOT NULL")[0][0])


def test_nothing_to_list(url: str) -> None:
    assert run(url, "attention") == (0, "Nothing needs attention.\n", "")


def test_list_names_order_reason_and_time(url: str, waiting: str) -> None:
    code, out, _ = run(url, "attention")
    assert code == 0
    heading, _, line = out.splitlines()
    assert heading.split("  ")[0] == "order or refund"
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"{waiting}  AUTHORIZED  {time}  6      {time}  void_payment got no answer", line)


def test_multiline_reason_stays_in_its_row(url: str, waiting: str, world: SmallWorld) -> None:
    world.sql("UPDATE order_ledger SET attention_reason = E'one\\ntwo'")
    assert run(url, "attention")[1].splitlines()[2].endswith("  one two")


def test_retry_makes_the_order_due_and_notifies_the_orchestrators(url: str, waiting: str, world: SmallWorld) -> None:
    with closing(psycopg2.connect(url)) as listener:
        listener.autocommit = True
        listener.cursor().execute(f"LISTEN {CHANNEL}")
        code, out, _ = run(url, "attention", "retry", waiting.upper())
        assert (code, out) == (0, f"{waiting} is AUTHORIZED and due now. The orchestrators have been notified.\n")
        listener.poll()
        assert [notify.channel for notify in listener.notifies] == [CHANNEL]
    assert world.sql("SELECT due_at <= now(), next_retry_at <= now(), retry_count FROM order_ledger") == [
        (True, True, 6)
    ]
    assert world.sql("SELECT action FROM operator_log WHERE details ->> 'order_ledger_id' = %(id)s", id=waiting) == [
        ("attention.retry",)
    ]
    world.work()
    assert world.sql("SELECT status, needs_attention_at FROM order_ledger") == [("COMPLETED", None)]


def test_order_that_is_due_already_keeps_its_place(url: str, waiting: str, world: SmallWorld) -> None:
    world.sql("UPDATE order_ledger SET due_at = now() - interval '1 min'")
    due = world.sql("SELECT due_at FROM order_ledger")
    assert run(url, "attention", "retry", waiting)[0] == 0
    assert world.sql("SELECT due_at FROM order_ledger") == due


def refusal(url: str, id_: str, action: str = "retry") -> str:
    code, out, err = run(url, "attention", action, id_)
    assert (code, out) == (1, "")
    assert err.startswith(f"{id_} ")
    return err.removeprefix(f"{id_} ").rstrip()


def test_unknown_order_is_refused(url: str) -> None:
    assert refusal(url, str(uuid.uuid4())) == "is not an order_ledger_id or refund_id of this database"


def test_order_that_has_ended_is_refused(url: str, waiting: str, world: SmallWorld) -> None:
    world.sql("UPDATE order_ledger SET due_at = now()")
    world.work()
    assert refusal(url, waiting) == "is COMPLETED: it has ended, and there is nothing left to try"


def test_order_in_flight_is_refused(url: str, waiting: str, world: SmallWorld) -> None:
    world.sql("UPDATE order_ledger SET claimed_by = 'host:1:x', claimed_until = now() + interval '5 min'")
    assert re.fullmatch(r"is claimed by host:1:x until .*Z: it is being processed now", refusal(url, waiting))
    assert world.sql(NOT_YET) == [(1,)]


def test_order_of_a_dead_worker_can_be_retried_at_once(url: str, waiting: str, world: SmallWorld) -> None:
    world.sql("UPDATE order_ledger SET claimed_by = 'host:1:x', claimed_until = now()")
    assert run(url, "attention", "retry", waiting)[0] == 0
    assert world.sql(NOT_YET) == [(0,)]


def test_set_aside_order_can_be_retried_after_its_last_claim(url: str, world: SmallWorld) -> None:
    world.order(world.product())
    world.sql(f"UPDATE order_ledger SET unproductive_claims = {MAX_UNPRODUCTIVE_CLAIMS}")
    world.crashes_at = {"create_order"}
    world.run_once()
    assert world.crashes_at == set()
    eventually(lambda: world.sql("SELECT id FROM order_ledger WHERE claimed_until <= now()"))
    assert world.sql(NOT_YET) == [(1,)]
    assert run(url, "attention", "retry", str(world.sql("SELECT id FROM order_ledger")[0][0]))[0] == 0
    world.work()
    assert world.sql("SELECT status, needs_attention_at FROM order_ledger") == [("COMPLETED", None)]


def test_retry_does_not_close_a_request_that_waits_for_its_client(url: str, world: SmallWorld) -> None:
    world.faults = {"authorize": ["answer"]}
    product = world.product()
    assert world.order(product, key="k").status_code == 503
    world.sql("UPDATE order_ledger SET due_at = now() + interval '1 min'")
    ((id_,),) = world.sql("SELECT id::text FROM order_ledger")
    assert re.match(r"waits for its client until .*Z: trying it again would close it for good", refusal(url, id_))
    assert world.order(product, key="k").status_code == 202, "its client can return and continue"


def test_request_being_closed_can_be_retried_at_once(url: str, world: SmallWorld) -> None:
    world.faults = {"authorize": ["answer"], "abandon": ["request"] * 6}
    world.order(world.product())
    eventually(lambda: (world.run_once() or True) and world.lost)
    world.sql("UPDATE order_ledger SET due_at = now() + interval '5 min'")
    ((id_,),) = world.sql("SELECT id::text FROM order_ledger")
    assert run(url, "attention", "retry", id_)[0] == 0
    world.faults = {}
    world.work()
    assert world.sql("SELECT status FROM order_ledger") == [("AUTHORIZATION_FAILED",)]


def test_retry_does_not_disturb_the_workers_writes(url: str, waiting: str, world: SmallWorld) -> None:
    """A retry changes neither the claim number nor the status, which every write of a worker names."""
    before = world.sql("SELECT claim_number, status, claimed_by FROM order_ledger")
    assert run(url, "attention", "retry", waiting)[0] == 0
    assert world.sql("SELECT claim_number, status, claimed_by FROM order_ledger") == before


@pytest.fixture
def waiting_refund(world: SmallWorld) -> str:
    """The id of a refund that needs attention: the gateway does not answer."""
    order = world.order(world.product()).json["order_ledger_id"]
    world.work()
    refund = str(world.refund(order).json["refund_id"])
    world.sql(
        "UPDATE refunds SET due_at = now() + interval '5 min', retry_count = 6, needs_attention_at = now(),"
        " attention_reason = 'refund_payment got no answer'"
    )
    return refund


def test_refund_is_listed_by_its_own_id_and_can_be_retried(url: str, waiting_refund: str, world: SmallWorld) -> None:
    line = run(url, "attention")[1].splitlines()[2]
    assert line.startswith(f"{waiting_refund}  REQUESTED  ")
    assert line.endswith("  refund_payment got no answer")
    code, out, _ = run(url, "attention", "retry", waiting_refund)
    assert (code, out) == (0, f"{waiting_refund} is REQUESTED and due now. The orchestrators have been notified.\n")
    assert world.sql("SELECT action FROM operator_log WHERE details ->> 'refund_id' = %(id)s", id=waiting_refund) == [
        ("attention.retry",)
    ]
    world.work()
    assert world.sql("SELECT status, needs_attention_at FROM refunds") == [("SUCCEEDED", None)]
    assert refusal(url, waiting_refund) == "is SUCCEEDED: it has ended, and there is nothing left to try"


WITHOUT_A_PRODUCT = "restock was refused: product_not_found: There is no such product. (product x)"


def test_refund_that_ended_without_a_product_stays_listed_until_it_is_done(
    url: str, waiting_refund: str, world: SmallWorld
) -> None:
    world.sql("UPDATE refunds SET due_at = now()")
    world.work()
    world.sql("UPDATE refunds SET needs_attention_at = now(), attention_reason = %(reason)s", reason=WITHOUT_A_PRODUCT)
    line = run(url, "attention")[1].splitlines()[2]
    assert line.startswith(f"{waiting_refund}  SUCCEEDED  ")
    assert line.endswith(f"  never     {WITHOUT_A_PRODUCT}")
    assert refusal(url, waiting_refund).endswith("nothing left to try. `attention done` takes it off the list")
    updated = world.sql("SELECT updated_at FROM refunds")
    code, out, _ = run(url, "attention", "done", waiting_refund.upper())
    assert (code, out) == (0, f"{waiting_refund} needs no attention any more.\n")
    assert run(url, "attention")[1] == "Nothing needs attention.\n"
    assert world.sql("SELECT updated_at FROM refunds") == updated
    assert world.sql("SELECT details ->> 'refund_id' FROM operator_log WHERE action = 'attention.done'")[-1:] == [
        (waiting_refund,)
    ]
    assert refusal(url, waiting_refund, "done") == "is SUCCEEDED, and does not need attention"


def test_only_what_has_ended_is_taken_off_the_list(url: str, waiting_refund: str, waiting: str) -> None:
    for id_, status in ((waiting_refund, "REQUESTED"), (waiting, "AUTHORIZED")):
        expected = f"is {status}: it has not ended, and leaves the list when its work succeeds"
        assert refusal(url, id_, "done") == expected
    unknown = "is not an order_ledger_id or refund_id of this database"
    assert refusal(url, str(uuid.uuid4()), "done") == unknown
