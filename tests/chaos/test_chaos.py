"""The short form of a chaos run, and its judge, which must find each kind of broken promise."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from common.webhooks.secrets import new_secret, signature
from tests.chaos.__main__ import main
from tests.chaos.options import Options
from tests.chaos.plan import Plan
from tests.database.valid_rows import DIGEST, ID, NOW, OTHER_ID
from tests.system.running import PROJECT, Running, descendants, is_alive
from tests.waiting import eventually

SHORT = {
    "SEED": "48",
    "ORDERS": "120",
    "RATE": "10",
    "KILL_EVERY_S": "1.5",
    "RESTART_EVERY_S": "6",
    "FREEZE_EVERY_S": "6",
    "LOCK_EVERY_S": "6",
    "HANG_EVERY_S": "12",
    "POISON_EVERY_S": "6",
    "LEASE_S": "2",
    "RETRY_BASE_S": "0.1",
    "ABANDONED_AFTER_S": "5",
    "POLL_INTERVAL_S": "0.5",
    "WEBHOOK_TIMEOUT_S": "1",
    "WEBHOOK_LEASE_S": "2",
    "WEBHOOK_POLL_INTERVAL_S": "0.2",
    "RECEIVER_EVERY_S": "6",
}
AGAIN = """ORDERS SEED RATE KILL_EVERY_S RESTART_EVERY_S FREEZE_EVERY_S LOCK_EVERY_S HANG_EVERY_S RECEIVER_EVERY_S
    POISON_EVERY_S RETRY_BASE_S LEASE_S ABANDONED_AFTER_S POLL_INTERVAL_S WEBHOOK_TIMEOUT_S WEBHOOK_LEASE_S
    WEBHOOK_POLL_INTERVAL_S""".split()
ENDS_WITHIN_S = 600  # a minute, and much longer on a busy machine
Lines = list[dict[str, Any]]
KEY, LATER = "chaos-1-000001", "chaos-1-000002"
ACCEPTED = {"call": "place", "key": KEY, "answer": 202, "order_ledger_id": ID, "total_amount_cents": 999}
COMPLETED = {"call": "look", "key": ID, "sent": 1.0, "at": 1.1, "answer": 200, "status": "COMPLETED"}
LATER_LOOK = COMPLETED | {"sent": 2.0, "at": 2.1}
CONCURRENT_LOOK = COMPLETED | {"sent": 1.05, "at": 1.15}


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`storm(ORDERS="10")`: the running command; its folder is in `tmp_path`."""
    started: list[Running] = []

    def begin(**environ: str) -> Running:
        command = [sys.executable, "-m", "tests.chaos"]
        environ = {**SHORT, "PYTHONPATH": str(PROJECT), **environ}
        started.append(Running(command, tmp_path / "output", cwd=tmp_path, **environ))
        return started[-1]

    yield begin
    for each in started:
        each.clean_up()


def figures(folder: Path) -> dict[str, Any]:
    (found,) = folder.glob("var/chaos/*/figures.json")
    return dict(json.loads(found.read_text()))


def test_disturbed_system_keeps_every_promise(storm: Callable[..., Running], tmp_path: Path) -> None:
    running = storm()
    code = running.process.wait(ENDS_WITHIN_S)
    assert code == 0, running.output
    found = figures(tmp_path)
    assert found["orders"] == 120
    assert found["findings"] == []
    assert found["unanswered"] == found["audit_rows"] == 0
    assert found["settle_s"]["n"] == sum(found["states"].values()) >= 120 - found["given_up"]
    assert found["states"]["COMPLETED"] > 0  # how many depends on the machine: when it is slow, more are abandoned
    assert sum(sum(ways.values()) for ways in found["kills"].values()) >= 3
    assert found["restarts"] >= 1
    assert found["freezes"] >= 1
    assert found["locks"] >= 1
    assert found["hangs"] >= 1
    assert found["poisoned"] >= 1
    assert sum(found["mishaps"].values()) >= 3
    assert found["answers"]["503"] >= 3
    assert found["audits_in_storm"] >= 1
    assert found["cancels"]["accepted"] >= 1
    assert found["refunds"]["SUCCEEDED"] >= 1
    assert found["events"] == found["delivery_s"]["n"]
    assert found["deliveries"]["204"] >= found["events"]
    assert found["receiver_deaths"] >= 1
    again = running.output.partition("again  ")[2].splitlines()[0]
    assert again == "make chaos " + " ".join(f"{name}={SHORT[name]}" for name in AGAIN)


def test_ctrl_c_stops_everything(storm: Callable[..., Running], tmp_path: Path) -> None:
    running = storm()
    running.says("orders begun")
    started = descendants(running.process.pid)
    assert len(started) > 10
    assert running.ends(signal.SIGINT) == 130, running.output
    eventually(lambda: not any(map(is_alive, started)), 60)


def test_invalid_setting_is_named(storm: Callable[..., Running]) -> None:
    running = storm(KILL_EVERY_S="often")
    assert running.ends() == 2
    assert running.output == "KILL_EVERY_S must be a number from 0 to 86400\n"


def test_seed_alone_makes_the_plan() -> None:
    def plan(seed: str) -> tuple[Any, ...]:
        made = Plan(Options.load({"SEED": seed, "ORDERS": "50"}))
        planned = [made.kills(), made.freezes(), made.restarts(), made.locks(), made.hangs(), made.poisons()]
        planned.append(made.receiver_deaths())
        return made.products, tuple(made.orders()), *(list(islice(each, 9)) for each in planned)

    assert plan("7") == plan("7")
    for of_one, of_another in zip(plan("7"), plan("8"), strict=True):
        assert of_one != of_another


# The judge: one order that is right, then one broken promise at a time.


@pytest.fixture
def judge(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`judge(lines, sql, received)`: exit code and output for these logs and a database that `sql` changes."""

    def check(lines: Lines, sql: str = "", received: Lines | None = None) -> tuple[int, str]:
        (tmp_path / "clients.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / "received.1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in received or ()))
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "SET session_replication_role = replica"
            )  # without triggers, so that anything can be planted
            cursor.execute(COMPLETED_ORDER)
            cursor.execute(sql or "SELECT 1")
        code = main(["check", str(tmp_path), "--database", url])
        return code, " ".join(capsys.readouterr().out.split())

    return check


ENTRY = f"""
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
  request_id, status, payment_authorization_id, order_id)
VALUES ('{{id}}', '{{client}}', '{{key}}', '{DIGEST}', '{ID}', 'a@b.example', 999, 'USD', 'r1', 'COMPLETED', 'auth_1',
  '{ID}');
"""
PAID = f"""
INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status, capture_id,
  captured_amount_cents, captured_at)
VALUES ('auth_{{n}}', 'k{{n}}', '{ID}', 999, 'USD', 'CAPTURED', 'cap_{{n}}', 999, '{NOW}');
"""
CONFIRMED = f"""
INSERT INTO orders (id, order_ledger_id, user_id, status, total_amount_cents, currency, fingerprint)
VALUES ('{{id}}', '{{id}}', '{ID}', 'CONFIRMED', 999, 'USD', '{DIGEST}');
"""
COMPLETED_ORDER = ENTRY.format(id=ID, client="shop", key=KEY) + PAID.format(n=1) + CONFIRMED.format(id=ID)
SENT = {
    "call": "begin",
    "key": KEY,
    "user_id": ID,
    "total_amount_cents": 999,
    "token": "tok_visa",
    "behaviour": "patient",
}
RIGHT = [SENT, ACCEPTED, COMPLETED, ACCEPTED | {"replayed": True}]
DECLINED = {"call": "place", "key": KEY, "answer": 402, "error": "payment_declined"}

PLANTED = {
    "lost: its entry is gone": (RIGHT, "DELETE FROM order_ledger", "lost"),
    "lost: its entry has another key": (RIGHT, f"UPDATE order_ledger SET client_request_id = '{LATER}'", "lost"),
    "lost: not found when looked at": ([*RIGHT, COMPLETED | {"answer": 404, "status": None}], "", "lost"),
    "lost: one entry for two": ([*RIGHT, SENT | {"key": LATER}, ACCEPTED | {"key": LATER}], "", "lost"),
    "doubled: two entries": (RIGHT, ENTRY.format(id=OTHER_ID, client="other", key=KEY), "doubled"),
    "doubled: two promises": ([*RIGHT, ACCEPTED | {"order_ledger_id": OTHER_ID}], "", "doubled"),
    "doubled: charged twice": (RIGHT, PAID.format(n=2), "doubled"),
    "doubled: two confirmed orders": (RIGHT, CONFIRMED.format(id=OTHER_ID), "doubled"),
    "changed: another total": ([*RIGHT, ACCEPTED | {"total_amount_cents": 1}], "", "changed"),
    "changed: declined, then accepted": ([SENT, DECLINED, ACCEPTED], "", "changed"),
    "changed: declined, and sold": ([SENT, DECLINED], "", "changed"),
    "changed: abandoned, and sold": ([SENT, DECLINED | {"answer": 409, "error": "request_abandoned"}], "", "changed"),
    "changed: another end": ([SENT, ACCEPTED, COMPLETED | {"status": "FAILED"}], "", "changed"),
    "changed: another end, later": ([SENT, ACCEPTED, COMPLETED | {"status": "FAILED"}, LATER_LOOK], "", "changed"),
    "changed: ended, then open": ([*RIGHT, LATER_LOOK | {"status": "AUTHORIZED"}], "", "changed"),
    "wrong: sold and not paid": (RIGHT, "DELETE FROM payment_authorizations", "wrong"),
    "wrong: sold and not confirmed": (RIGHT, "DELETE FROM orders", "wrong"),
    "wrong: another total than sent": ([SENT | {"total_amount_cents": 998}, *RIGHT[1:]], "", "wrong"),
    "wrong: a capture that was refused": ([SENT | {"token": "tok_fail_capture"}, *RIGHT[1:]], "", "wrong"),
    "wrong: nobody sent it": ([], "", "wrong"),
    "wrong: paid, and no entry": ([], "DELETE FROM order_ledger", "wrong"),
    "wrong: an answer that the contract does not have": ([*RIGHT, ACCEPTED | {"answer": 500}], "", "wrong"),
    "open: never answered": ([SENT], "", "open"),
    "open: not ended": (RIGHT, f"UPDATE order_ledger SET status = 'PAYMENT_CAPTURED', due_at = '{NOW}'", "open"),
}


def test_judge_accepts_kept_promises(judge: Callable[..., tuple[int, str]]) -> None:
    assert judge(RIGHT) == (0, "Every promise was kept.")


def test_judge_accepts_an_older_state_in_a_concurrent_answer(judge: Callable[..., tuple[int, str]]) -> None:
    assert judge([*RIGHT, CONCURRENT_LOOK | {"status": "PAYMENT_CAPTURED"}]) == (0, "Every promise was kept.")


@pytest.mark.parametrize(("lines", "sql", "kind"), PLANTED.values(), ids=PLANTED.keys())
def test_judge_finds_broken_promise(judge: Callable[..., tuple[int, str]], lines: Lines, sql: str, kind: str) -> None:
    code, words = judge(lines, sql)
    assert code == 1
    table = words.partition("What")[2]
    assert kind in table, words


# An order that is cancelled.

CANCELLED_ORDER = """
UPDATE order_ledger SET status = 'FAILED', failure_code = 'cancelled', failure_message = '', order_id = NULL,
  compensating_from = 'AUTHORIZED', undone = '{void_payment,cancel_order}',
  cancel_requested_at = now(), cancel_reason = 'other';
UPDATE payment_authorizations SET status = 'VOIDED', capture_id = NULL, captured_amount_cents = NULL,
  captured_at = NULL, voided_at = now();
DELETE FROM orders;
"""
WANTED = {"call": "wish", "key": "cancel-1", "order": KEY, "what": "cancel"}
AGREED = {"call": "cancel", "key": "cancel-1", "answer": 202, "order_ledger_id": ID}
TOO_LATE = AGREED | {"answer": 409, "error": "order_not_cancellable", "present_status": "COMPLETED", "use": "refunds"}
SEEN_CANCELLED = COMPLETED | {"status": "FAILED", "cancellation": {"status": "done"}}
CANCELLED = [SENT, WANTED, AGREED, ACCEPTED, SEEN_CANCELLED, AGREED]
REFUSED = "UPDATE order_ledger SET cancel_requested_at = now(), cancel_reason = 'other'"
HELD = "UPDATE payment_authorizations SET status = 'AUTHORIZED', voided_at = NULL"
RESERVED = f"""
INSERT INTO order_reservations (order_id, status, fingerprint) VALUES ('{ID}', 'RESERVED', '{DIGEST}');
INSERT INTO inventory_reservations (id, order_id, product_id, quantity) VALUES ('{ID}', '{ID}', '{ID}', 1);
UPDATE order_ledger SET order_id = '{ID}';
"""
PLANTED_CANCELS = {
    "lost: accepted, and not in the ledger": ([*RIGHT, WANTED, AGREED], "", "lost"),
    "changed: accepted, and ended otherwise": (
        CANCELLED, CANCELLED_ORDER + "UPDATE order_ledger SET failure_code = 'payment_declined'", "changed"
    ),
    "changed: accepted, then refused": ([*CANCELLED, TOO_LATE], CANCELLED_ORDER, "changed"),
    "changed: too late, and cancelled": (
        [SENT, ACCEPTED, WANTED, TOO_LATE, WANTED | {"key": "cancel-2"}, AGREED | {"key": "cancel-2"}],
        CANCELLED_ORDER,
        "changed",
    ),
    "changed: seen as done, and refused": (
        [SENT, WANTED, AGREED, ACCEPTED, COMPLETED | {"cancellation": {"status": "done"}}], REFUSED, "changed"
    ),
    "wrong: money is still held": (CANCELLED, CANCELLED_ORDER + HELD, "wrong"),
    "wrong: pieces are still reserved": (CANCELLED, CANCELLED_ORDER + RESERVED, "wrong"),
    "wrong: the order is confirmed": (CANCELLED, CANCELLED_ORDER + CONFIRMED.format(id=ID), "wrong"),
    "wrong: nobody cancelled it": ([SENT, ACCEPTED], CANCELLED_ORDER, "wrong"),
    "wrong: too late without advice": ([*RIGHT, WANTED, TOO_LATE | {"use": None}], "", "wrong"),
    "open: never answered": ([*RIGHT, WANTED], "", "open"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "sql"),
    [
        (CANCELLED, CANCELLED_ORDER),
        ([*RIGHT, WANTED, TOO_LATE], ""),
        ([SENT, WANTED, AGREED, ACCEPTED, COMPLETED | {"cancellation": {"status": "refused"}}], REFUSED),
    ],
    ids=["done", "too late", "refused"],
)
def test_judge_accepts_the_ends_of_a_cancellation(
    judge: Callable[..., tuple[int, str]], lines: Lines, sql: str
) -> None:
    assert judge(lines, sql) == (0, "Every promise was kept.")


@pytest.mark.parametrize(("lines", "sql", "kind"), PLANTED_CANCELS.values(), ids=PLANTED_CANCELS.keys())
def test_judge_finds_broken_promise_of_a_cancellation(
    judge: Callable[..., tuple[int, str]], lines: Lines, sql: str, kind: str
) -> None:
    code, words = judge(lines, sql)
    assert code == 1
    assert kind in words.partition("What")[2], words


# An order of 999 cents of which two pieces are refunded for 400, and put back into stock.

REFUND = "33333333-3333-4333-8333-333333333333"
OTHER_REFUND = "44444444-4444-4444-8444-444444444444"
REFUND_ROW = f"""
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id, status, due_at)
VALUES ('{{id}}', '{ID}', '{{key}}', 400, true, 'other', 'r1', 'SUCCEEDED', NULL);
INSERT INTO refund_items (refund_id, product_id, quantity) VALUES ('{{id}}', '{ID}', 2);
"""
RETURNED = """
INSERT INTO payment_refunds (id, authorization_id, idempotency_key, amount_cents)
VALUES ('re_{n}', 'auth_1', 'refund:{id}', 400);
UPDATE payment_authorizations SET refunded_amount_cents = refunded_amount_cents + 400;
"""
RESTOCKED = f"""
INSERT INTO inventory_adjustments (id, product_id, quantity, reason, reference_id)
VALUES (gen_random_uuid(), '{ID}', 2, 'return_to_stock', '{REFUND}');
"""
COUNTED = "UPDATE order_ledger SET refunded_cents = 400, refund_reserved_cents = 400;"
COUNTED_TWICE = COUNTED.replace("400", "800")
FAILED_REFUND = "UPDATE refunds SET status = 'FAILED', failure_code = 'x', failure_message = 'x'"
REFUNDED = REFUND_ROW.format(id=REFUND, key="refund-1") + RETURNED.format(n=1, id=REFUND) + RESTOCKED + COUNTED
ITEMS = [{"product_id": ID, "quantity": 2}]
ASKED = {
    "call": "wish",
    "key": "refund-1",
    "order": KEY,
    "what": "refund",
    "asked": {"amount_cents": None, "items": ITEMS, "restock": True},
}
GRANTED = {
    "call": "refund",
    "key": "refund-1",
    "sent": 3.0,
    "at": 3.1,
    "answer": 202,
    "refund_id": REFUND,
    "amount_cents": 400,
    "items": ITEMS,
    "restock": True,
}
EXCEEDED = GRANTED | {"sent": 2.0, "at": 2.1, "answer": 409, "error": "refund_exceeds_remaining", "refund_id": None}
ENDED = {"call": "look at refund", "key": REFUND, "answer": 200, "status": "SUCCEEDED"}
WITH_REFUND = [*RIGHT, ASKED, EXCEEDED, GRANTED, ENDED, GRANTED | {"replayed": True}]
PLANTED_REFUNDS = {
    "lost: not in the books": (WITH_REFUND, "", "lost"),
    "lost: not counted": (WITH_REFUND, REFUNDED + "UPDATE order_ledger SET refunded_cents = 0", "lost"),
    "doubled: two refunds under one key": (
        WITH_REFUND, REFUNDED + REFUND_ROW.format(id=OTHER_REFUND, key="refund-1"), "doubled"
    ),
    "doubled: two promises under one key": ([*WITH_REFUND, GRANTED | {"refund_id": OTHER_REFUND}], REFUNDED, "doubled"),
    "doubled: counted twice": (WITH_REFUND, REFUNDED + COUNTED_TWICE, "doubled"),
    "doubled: the gateway returned it twice": (
        WITH_REFUND, REFUNDED + "UPDATE payment_refunds SET amount_cents = 800", "doubled"
    ),
    "doubled: put back twice": (WITH_REFUND, REFUNDED + RESTOCKED, "doubled"),
    "changed: another amount": (WITH_REFUND, REFUNDED + "UPDATE refunds SET amount_cents = 399", "changed"),
    "changed: another end": ([*WITH_REFUND, ENDED | {"status": "FAILED"}], REFUNDED, "changed"),
    "changed: accepted, then refused": ([*WITH_REFUND, EXCEEDED | {"sent": 4.0}], REFUNDED, "changed"),
    "changed: refused, and in the books": ([*RIGHT, ASKED, EXCEEDED], REFUNDED, "changed"),
    "wrong: nobody asked for it": (RIGHT, REFUNDED, "wrong"),
    "wrong: another product": (WITH_REFUND, REFUNDED + f"UPDATE refund_items SET product_id = '{OTHER_ID}'", "wrong"),
    "doubled: the customer has paid more than is due": (
        WITH_REFUND, REFUNDED + "UPDATE payment_authorizations SET refunded_amount_cents = 0", "doubled"
    ),
    "wrong: nothing put back": (WITH_REFUND, REFUNDED + "DELETE FROM inventory_adjustments", "wrong"),
    "wrong: refused by the gateway for no reason": (
        [*RIGHT, ASKED, GRANTED], REFUND_ROW.format(id=REFUND, key="refund-1") + FAILED_REFUND,
        "wrong",
    ),
    "wrong: refused although enough was left": (
        [*RIGHT, ASKED | {"asked": {"amount_cents": 999}}, EXCEEDED], "", "wrong"
    ),
    "open: never answered": ([*RIGHT, ASKED], "", "open"),
    "open: not ended": (WITH_REFUND, REFUNDED + "UPDATE refunds SET status = 'RESTOCKED', due_at = now()", "open"),
}  # fmt: skip


def test_judge_accepts_a_refund(judge: Callable[..., tuple[int, str]]) -> None:
    assert judge(WITH_REFUND, REFUNDED) == (0, "Every promise was kept.")


@pytest.mark.parametrize(("lines", "sql", "kind"), PLANTED_REFUNDS.values(), ids=PLANTED_REFUNDS.keys())
def test_judge_finds_broken_promise_of_a_refund(
    judge: Callable[..., tuple[int, str]], lines: Lines, sql: str, kind: str
) -> None:
    code, words = judge(lines, sql)
    assert code == 1
    assert kind in words.partition("What")[2], words


# An order with two events, which were read from the feed and received.

SECRET = new_secret()
IDS = ("evt_000000000000000000000001", "evt_000000000000000000000002")
TYPES = ("order.authorized", "order.completed")


def event(number: int) -> dict[str, Any]:
    data = {"order_ledger_id": ID, "sequence": number, "status": "COMPLETED", "refunded_cents": 0, "failure": None}
    return {"type": TYPES[number - 1], "timestamp": NOW, "data": data}


def receipt(number: int, id_: str = "", secret: str = SECRET, **changes: Any) -> dict[str, Any]:
    """A webhook that was signed with the secret."""
    id_, body = id_ or IDS[number - 1], json.dumps(event(number) | changes)
    headers = {
        "webhook-id": id_,
        "webhook-timestamp": "1000",
        "webhook-signature": signature([secret], id_, 1000, body.encode()),
    }
    return {"at": 1000.0 + number, "fate": "204", "headers": headers, "body": body}


ENDPOINT = f"""
INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid) VALUES ('we_1', 'shop', 'x', '{{*}}', '7');
INSERT INTO events (id, client, order_ledger_id, sequence, type, status) VALUES
  ('{IDS[0]}', 'shop', '{ID}', 1, '{TYPES[0]}', 'COMPLETED'),
  ('{IDS[1]}', 'shop', '{ID}', 2, '{TYPES[1]}', 'COMPLETED');
INSERT INTO webhook_deliveries (endpoint_id, event_id, message_id, type, order_ledger_id, sequence, status, ended_at)
SELECT 'we_1', id, id, type, order_ledger_id, sequence, 'succeeded', now() FROM events;
"""
FED = [
    *RIGHT,
    {"call": "endpoint", "key": "webhook_endpoints", "answer": 201, "id": "we_1", "secret": SECRET},
    {"call": "feed", "key": "events", "answer": 200, "events": [{"id": IDS[0], **event(1)}]},
    {"call": "feed", "key": "events", "answer": 200, "events": [{"id": IDS[1], **event(2)}]},
]
RECEIVED = [receipt(1), receipt(1), receipt(2)]
FORGED = receipt(2) | {"body": json.dumps(event(2) | {"type": "order.failed"})}
PLANTED_DELIVERIES = {
    "lost: an event was not received": (FED, "", RECEIVED[:2], "lost"),
    "lost: an event is missing in the feed": (FED[:-1], "", RECEIVED, "lost"),
    "changed: two bodies": (FED, "", [*RECEIVED, receipt(2, timestamp="1")], "changed"),
    "changed: the feed shows it in two forms": (
        [*FED, FED[-1] | {"events": [{"id": IDS[1], **event(1)}]}], "", RECEIVED, "changed"
    ),
    "wrong: out of order": (FED, "", [receipt(2), receipt(1)], "out of order"),
    "wrong: forged": (FED, "", [receipt(1), FORGED], "without a valid signature"),
    "wrong: signed with another secret": (
        FED, "", [*RECEIVED, receipt(2, secret=new_secret())], "without a valid signature"
    ),
    "wrong: not in the books": (FED, "", [*RECEIVED, receipt(2, "evt_3")], "not in the books"),
    "wrong: another body than in the feed": (FED, "", [receipt(1), receipt(2, timestamp="1")], "wrong"),
    "wrong: another type than in the books": (
        FED, "UPDATE events SET type = 'order.failed' WHERE sequence = 2", RECEIVED, "wrong"
    ),
    "wrong: an event of the feed is not in the books": (
        FED, "DELETE FROM webhook_deliveries; DELETE FROM events WHERE sequence = 2", RECEIVED, "wrong"
    ),
    "open: not delivered": (
        FED, "UPDATE webhook_deliveries SET status = 'pending', ended_at = NULL, due_at = now()", RECEIVED, "open"
    ),
}  # fmt: skip


def test_judge_accepts_deliveries(judge: Callable[..., tuple[int, str]]) -> None:
    assert judge(FED, ENDPOINT, RECEIVED) == (0, "Every promise was kept.")


@pytest.mark.parametrize(
    ("lines", "sql", "received", "words"), PLANTED_DELIVERIES.values(), ids=PLANTED_DELIVERIES.keys()
)
def test_judge_finds_broken_promise_of_a_delivery(
    judge: Callable[..., tuple[int, str]], lines: Lines, sql: str, received: Lines, words: str
) -> None:
    code, found = judge(lines, ENDPOINT + sql, received)
    assert code == 1
    assert words in found.partition("What")[2], found
