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

from tests.chaos.__main__ import main
from tests.chaos.options import Options
from tests.chaos.plan import Plan
from tests.database.valid_rows import DIGEST, ID, NOW, OTHER_ID
from tests.system.running import PROJECT, Running, descendants, is_alive
from tests.waiting import eventually

SHORT = {
    "SEED": "7",
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
}
AGAIN = """ORDERS SEED RATE KILL_EVERY_S RESTART_EVERY_S FREEZE_EVERY_S LOCK_EVERY_S HANG_EVERY_S POISON_EVERY_S
    RETRY_BASE_S LEASE_S ABANDONED_AFTER_S""".split()
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
    code = running.process.wait(300)
    assert code == 0, running.output
    found = figures(tmp_path)
    assert found["orders"] == 120
    assert found["findings"] == []
    assert found["unanswered"] == found["audit_rows"] == 0
    assert found["settle_s"]["n"] == sum(found["states"].values()) >= 120 - found["given_up"]
    assert found["states"]["COMPLETED"] > 60
    assert sum(sum(ways.values()) for ways in found["kills"].values()) >= 3
    assert found["restarts"] >= 1
    assert found["freezes"] >= 1
    assert found["locks"] >= 1
    assert found["hangs"] >= 1
    assert found["poisoned"] >= 1
    assert sum(found["mishaps"].values()) >= 3
    assert found["answers"]["503"] >= 3
    assert found["audits_in_storm"] >= 1
    again = running.output.partition("again  ")[2].splitlines()[0]
    assert again == "make chaos " + " ".join(f"{name}={SHORT[name]}" for name in [*AGAIN, "POLL_INTERVAL_S"])


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
        return made.products, tuple(made.orders()), *(list(islice(each, 9)) for each in planned)

    assert plan("7") == plan("7")
    for of_one, of_another in zip(plan("7"), plan("8"), strict=True):
        assert of_one != of_another


# The judge: one order that is right, then one broken promise at a time.


@pytest.fixture
def judge(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`judge(lines, sql)`: exit code and output for a log and a database that `sql` changes."""

    def check(lines: list[dict[str, Any]], sql: str = "") -> tuple[int, str]:
        (tmp_path / "clients.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
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
def test_judge_finds_broken_promise(
    judge: Callable[..., tuple[int, str]], lines: list[dict[str, Any]], sql: str, kind: str
) -> None:
    code, words = judge(lines, sql)
    assert code == 1
    table = words.partition("What")[2]
    assert kind in table, words
