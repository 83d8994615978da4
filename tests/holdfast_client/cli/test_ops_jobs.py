"""`holdfast ops orders`: a list of the orders of all clients, and one action on all that fit, as a job."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import responses

from tests.audit.small_world import SmallWorld
from tests.holdfast_client.cli.conftest import Command, Server

RETRY = ("retry", "--reason", "the gateway is back", "--rate", "50")
CANCEL = ("cancel", "--reason", "out_of_stock", "--rate", "50")


@pytest.fixture
def orders(world: SmallWorld) -> Callable[[int], list[str]]:
    """`orders(3)`: new orders that are authorized, and wait an hour."""

    def place(number: int) -> list[str]:
        product = world.product(stock=1000)
        found = [str(world.order(product).json["order_ledger_id"]) for _ in range(number)]
        world.sql("UPDATE order_ledger SET due_at = now() + interval '1 h', next_retry_at = now() + interval '1 h'")
        return found

    return place


def test_list_has_the_orders_that_fit(ops: Command, world: SmallWorld, orders: Callable[[int], list[str]]) -> None:
    open_ = orders(2)
    world.sql("UPDATE order_ledger SET reference = 'A & B 1' WHERE id = %(id)s", id=open_[0])

    def found(query: str) -> set[str]:
        told = ops("orders", "--query", query, "-o", "json", role="viewer")
        assert told.exit_code == 0, told.stderr
        return {each["order_ledger_id"] for each in json.loads(told.stdout)}

    assert found("status=AUTHORIZED client=shop") == set(open_)
    assert found("status=AUTHORIZED&created_from=1h") == set(open_)
    assert found("status=AUTHORIZED created_before=2026-01-01T00:00:00Z") == set()
    assert found("reference='A & B 1'") == {open_[0]}
    assert found("status=FAILED,AUTHORIZED needs_attention=false") == set(open_)


def test_empty_list_is_an_empty_array(ops: Command) -> None:
    told = {output: ops("orders", "-o", output) for output in ("json", "jsonl", "table")}
    assert [told[output].stdout for output in told] == ["[]\n", "", ""]
    assert told["table"].stderr == "None found.\n"
    assert {result.exit_code for result in told.values()} == {0}


def test_list_says_that_there_is_more(ops: Command, orders: Callable[[int], list[str]]) -> None:
    orders(3)
    told = ops("orders", "--limit", "2")
    assert len(told.stdout.splitlines()) == 3  # with the headings
    assert "more than these 2" in told.stderr
    assert len(ops("orders", "-o", "jsonl").stdout.splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("orders", "--query", "FAILED"),
        ("orders", "--query", "colour=red"),
        ("orders", "--query", "status=FAILED status=AUTHORIZED"),
        ("orders", "--query", "created_from=yesterday"),
        ("orders", "--query", "reference='A"),
        ("orders", *RETRY, "--yes"),
        ("orders", "--query", "status=FAILED", "cancel", "--reason", "because", "--yes"),
        ("orders", "--query", "status=FAILED", "retry", "--yes"),
        ("orders", "--query", "status=FAILED", "retry", "--reason", "why", "--rate", "51"),
    ],
)
def test_wrong_use_ends_with_2_and_does_nothing(ops: Command, world: SmallWorld, words: tuple[str, ...]) -> None:
    told = ops(*words)
    assert (told.exit_code, told.stdout) == (2, ""), told.output
    assert world.sql("SELECT 1 FROM bulk_jobs") == []


@pytest.mark.usefixtures("worker")
def test_job_acts_on_all_that_fit(ops: Command, world: SmallWorld, orders: Callable[[int], list[str]]) -> None:
    orders(3)
    told = ops("orders", "--query", "status=AUTHORIZED", *RETRY, "--yes", "-o", "json")
    assert told.exit_code == 0, told.stderr
    job = json.loads(told.stdout)
    assert (job["state"], job["total"], job["done"], job["refused_orders"]) == ("done", 3, 3, [])
    assert f"Job {job['job_id']}, with the idempotency key " in told.stderr
    assert world.sql("SELECT count(*) FROM order_ledger WHERE due_at <= now()") == [(3,)]
    told = ops("orders", "--query", "status=AUTHORIZED", *CANCEL, "--note", "by phone", "--yes")
    assert (told.exit_code, told.stdout) == (0, "done: 3 of 3 orders: 3 done, 0 refused\n")
    assert world.sql("SELECT DISTINCT cancel_reason, cancel_note FROM order_ledger") == [("out_of_stock", "by phone")]


@pytest.mark.usefixtures("worker")
def test_number_and_money_are_asked_for_first(
    ops: Command, world: SmallWorld, orders: Callable[[int], list[str]]
) -> None:
    orders(2)
    words = ("orders", "--query", "status=AUTHORIZED", *CANCEL)
    told = ops(*words, input="n\n")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "Cancel 2 orders (50.00 USD)?" in told.stderr
    assert world.sql("SELECT 1 FROM bulk_jobs") == []
    assert ops(*words, input="y\n").exit_code == 0


@pytest.mark.usefixtures("worker")
def test_refused_orders_are_listed_and_end_with_1(ops: Command, world: SmallWorld, completed: str) -> None:
    told = ops("orders", "--query", "client=shop", *CANCEL, "--yes")
    assert told.exit_code == 1
    assert completed in told.stdout
    assert "order_not_cancellable" in told.stdout
    assert "1 of 1 orders were refused." in told.stderr
    told = ops("orders", "--query", "client=shop", *CANCEL, "--yes", "-o", "json")
    assert [each["order_ledger_id"] for each in json.loads(told.stdout)["refused_orders"]] == [completed]


@pytest.mark.parametrize("job", [RETRY, CANCEL])
@pytest.mark.parametrize("status", ["COMPLETED", "FAILED,COMPLETED"])
def test_orders_that_have_ended_are_not_asked_about(
    ops: Command, world: SmallWorld, completed: str, status: str, job: tuple[str, ...]
) -> None:
    told = ops("orders", "--query", f"status={status}", *job, input="y\n")
    assert (told.exit_code, told.stdout) == (1, "")
    expected = f"Error: Orders that are {status} have ended: none of them can be retried or cancelled.\n"
    assert told.stderr == expected
    told = ops("orders", "--query", f"status={status}", *job, "--yes", "--idempotency-key", "k")
    assert told.exit_code == 1
    assert "These orders have ended: none of them can be retried or cancelled." in told.stderr
    assert world.sql("SELECT 1 FROM bulk_jobs") == []


@pytest.mark.usefixtures("worker")
def test_repeat_with_the_same_key_is_the_same_job(
    ops: Command, world: SmallWorld, orders: Callable[[int], list[str]]
) -> None:
    orders(2)
    words = ("orders", "--query", "status=AUTHORIZED", *CANCEL, "--yes", "--idempotency-key", "k", "-o", "json")
    first = json.loads(ops(*words).stdout)
    world.work()
    assert json.loads(ops(*words).stdout) == first


@pytest.mark.parametrize(("output", "text"), [("table", ""), ("json", "null\n"), ("jsonl", "")])
def test_nothing_that_fits_is_said(ops: Command, world: SmallWorld, output: str, text: str) -> None:
    told = ops("orders", "--query", "status=COMPENSATING", *RETRY, "--yes", "-o", output)
    assert (told.exit_code, told.stdout, told.stderr) == (0, text, "No matching orders.\n")
    assert world.sql("SELECT 1 FROM bulk_jobs") == []


def test_stopped_job_ends_with_1(ops: Command, world: SmallWorld, orders: Callable[[int], list[str]]) -> None:
    orders(1)
    words = ("orders", "--query", "status=AUTHORIZED", *CANCEL, "--yes", "--idempotency-key", "k")
    # Nobody works on jobs here: the job is stopped before the command looks again.
    world.sql(
        "CREATE OR REPLACE FUNCTION stop_at_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " NEW.state := 'stopped'; NEW.stop_reason := 'operator'; NEW.stopped_by := 'grace'; NEW.ended_at := now();"
        " RETURN NEW; END $$; CREATE TRIGGER stop_at_once BEFORE INSERT ON bulk_jobs FOR EACH ROW"
        " EXECUTE FUNCTION stop_at_once()"
    )
    try:
        told = ops(*words)
    finally:
        world.sql("DROP TRIGGER stop_at_once ON bulk_jobs; DROP FUNCTION stop_at_once")
    assert told.exit_code == 1
    assert "The job was stopped by grace, after 0 of 0 orders." in told.stderr


@pytest.mark.usefixtures("worker")
def test_more_orders_than_were_seen_are_refused(
    ops: Command, server: Server, orders: Callable[[int], list[str]]
) -> None:
    orders(2)
    seen = {"orders": 1, "is_more": False, "amounts": [{"currency": "USD", "amount_cents": 2500}]}
    with responses.RequestsMock() as mock:
        mock.add_passthru(server.url)
        mock.get(f"{server.url}/api/jobs/count", json=seen)
        told = ops("orders", "--query", "status=AUTHORIZED", *CANCEL, "--yes")
    assert told.exit_code == 1
    assert "more_orders_fit" in told.stderr


def test_job_goes_on_when_the_console_falls_silent(
    ops: Command, server: Server, world: SmallWorld, orders: Callable[[int], list[str]]
) -> None:
    orders(1)
    with responses.RequestsMock() as mock:
        mock.add_passthru(f"{server.url}/api/jobs/count")
        mock.add_passthru(re.compile(f"{server.url}/api/jobs$"))
        told = ops("orders", "--query", "status=AUTHORIZED", *CANCEL, "--yes")
    assert told.exit_code == 3
    assert "It goes on without this command" in told.stderr
    assert world.sql("SELECT state FROM bulk_jobs") == [("filling",)]


def test_viewer_cannot_begin_a_job(ops: Command, world: SmallWorld, orders: Callable[[int], list[str]]) -> None:
    orders(1)
    told = ops("orders", "--query", "status=AUTHORIZED", *RETRY, "--yes", role="viewer")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "This needs the role operator" in told.stderr
    assert world.sql("SELECT 1 FROM bulk_jobs") == []


def a_job(world: SmallWorld) -> str:
    ((id_,),) = world.sql(
        "INSERT INTO bulk_jobs (author, key, fingerprint, action, filter, reason, rate_per_s)"
        " VALUES ('grace', 'k', repeat('0', 64), 'retry', '{}', 'the gateway is back', 5) RETURNING id::text"
    )
    return str(id_)


def test_jobs_are_listed(ops: Command, world: SmallWorld) -> None:
    told = ops("jobs", "-o", "json", role="viewer")
    assert (told.exit_code, told.stdout) == (0, "[]\n")
    job = a_job(world)
    told = ops("jobs", role="viewer")
    assert told.exit_code == 0, told.stderr
    for part in (job, "retry", "filling", "grace", "the gateway is back"):
        assert part in told.stdout


def test_one_job_is_shown_and_stopped(ops: Command, world: SmallWorld) -> None:
    job = a_job(world)
    assert ops("jobs", job, role="viewer").stdout.startswith("filling: retry, 0 of 0 orders: 0 done, 0 refused\n")
    assert ops("jobs", job, "stop", role="viewer").exit_code == 1
    told = ops("jobs", job, "stop")
    assert told.exit_code == 0, told.stderr
    assert f"Job {job} is stopped." in told.stderr
    assert world.sql("SELECT state, stopped_by FROM bulk_jobs") == [("stopped", "ada.operator")]
    told = ops("jobs", job, "stop")
    assert (told.exit_code, "job_has_ended" in told.stderr) == (1, True)
    assert json.loads(ops("jobs", job, "-o", "json").stdout)["refused_orders"] == []


@pytest.mark.parametrize(("id_", "code"), [("stop", 2), ("x" * 36, 2), ("00000000-0000-0000-0000-000000000000", 1)])
def test_unknown_job_is_an_error(ops: Command, id_: str, code: int) -> None:
    assert ops("jobs", id_).exit_code == code


def test_id_of_something_else_is_named(ops: Command, world: SmallWorld) -> None:
    job = a_job(world)
    told = ops("order", job)
    assert told.exit_code == 1
    assert f"{job} is the id of a job, and not of an order." in told.stderr
