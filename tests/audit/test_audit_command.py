"""`python -m ops audit` as an operator runs it: a process, its exit code and its output."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.database.database import Row, Transaction
from common.schema.accounts import address_of
from domain.states import HOLD_ENDS
from local.postgres import EmbeddedPostgres
from ops.audit import RECORDED, _examples, audit
from tests.audit.small_world import SmallWorld

PROJECT = Path(__file__).resolve().parents[2]
# The views that the audit's role must be able to read, according to docs/operate.md.
VIEWS = "audit_checks, audit_violations, audit_summary, audit_attention"
MARK = "UPDATE order_ledger SET needs_attention_at = now(), attention_reason = 'why not' WHERE due_at IS NOT NULL"


def run(url: str, *arguments: str, module: str = "ops") -> tuple[int, str, str]:
    """:returns: the exit code, and what was written to stdout and stderr"""
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    command = [sys.executable, "-m", module, *arguments]
    environ["DATABASE_URL"] = url
    done = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_failure_of_the_command_is_not_reported_as_a_violation(url: str, tmp_path: Path) -> None:
    (tmp_path / "psycopg2.py").write_text("raise ImportError('no such package')")
    command = [sys.executable, "-m", "ops", "audit", "--format", "prometheus"]
    environ = {**os.environ, "DATABASE_URL": url}
    without = {**environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=PROJECT, env=without, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "no such package: run it with the Python of .venv/bin\n"
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, cwd=PROJECT, env=environ, stdout=full, timeout=60, check=False).returncode == 2


def test_healthy_books(url: str, world: SmallWorld) -> None:
    for quantity in (2, 99):
        world.order(world.product(), quantity=quantity)
        world.work()
    world.order(world.product())
    code, out, err = run(url, "audit")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"healthy: 3 orders checked in [0-9.]+ s, 1 of them still open\n", out)


def test_long_table_of_violations_is_cut_and_counted(url: str, world: SmallWorld) -> None:
    for _ in range(4):
        world.sql("UPDATE products SET stock_quantity = 9 WHERE id = %(id)s", id=world.product())
    world.order(world.product())
    world.sql("DELETE FROM outbox")
    code, out, _ = run(url, "audit", "--show", "2")
    assert code == 1
    lines = out.splitlines()
    assert re.fullmatch(r"NOT healthy: 5 violations; 1 orders checked in .* s, 1 of them still open", lines[0])
    assert lines[2].split() == ["check", "subject", "what", "is", "wrong"]
    assert [line.split("  ")[0] for line in lines[4:7]] == ["1 stock", "1 stock", "8 outbox"]
    assert "the stock is 9, and 10 adjusted less 0 reserved is not that" in lines[4]
    assert [line.strip() for line in lines[7:]] == ["… and 2 more:", "stock: 4 in all", "outbox: 1 in all"]


def test_record_has_the_first_violations_of_each_rule(url: str, world: SmallWorld) -> None:
    """However few the report shows, and however many another rule has found."""
    orders = [world.order(world.product()).json["order_ledger_id"] for _ in range(2)]
    world.work()
    world.sql("DELETE FROM outbox")
    world.sql("DELETE FROM order_ledger_history WHERE order_ledger_id = %(id)s", id=orders[0])
    report = audit({"DATABASE_URL": url, "APP_ENV": "test"}, shown=1)
    ((examples,),) = world.sql("SELECT examples FROM audit_runs ORDER BY at DESC LIMIT 1")
    assert report.total == len(examples) > len(report.violations)
    assert {each["rule"] for each in examples} == {rule for rule, found in report.found.items() if found}
    lost = [each["subject"] for each in examples if each["rule"] == "outbox"]
    assert sorted(lost) == sorted(f"order_ledger {id_}" for id_ in orders)


def test_record_is_limited_and_no_rule_is_left_out() -> None:
    violations = [
        {"check_number": rule, "check_name": str(rule), "subject": "s", "detail": "d", "number": number}
        for rule in range(14)
        for number in range(1, 21)
    ]
    examples = _examples(violations)
    assert len(examples) == RECORDED
    assert {each["rule"] for each in examples} == {str(rule) for rule in range(14)}


def test_order_that_needs_attention_is_shown_without_a_violation(url: str, world: SmallWorld) -> None:
    world.order(world.product())
    world.sql(MARK)
    ((order_ledger_id,),) = world.sql("SELECT id::text FROM order_ledger")
    code, out, _ = run(url, "audit")
    assert code == 0
    assert out.startswith("healthy: ")
    assert "1 order or refund in need of attention" in out
    assert re.search(rf"^{order_ledger_id}  AUTHORIZED  .*  why not$", out, re.MULTILINE)


def test_metrics_name_every_check(url: str, world: SmallWorld) -> None:
    world.order(world.product())
    world.sql(MARK)
    world.sql("UPDATE products SET stock_quantity = 9")
    code, out, _ = run(url, "audit", "--format", "prometheus")
    assert code == 1
    values = dict(line.rsplit(" ", 1) for line in out.splitlines() if not line.startswith("#"))
    checks = {name for (name,) in world.sql("SELECT check_name FROM audit_checks")}
    assert {f'holdfast_audit_violations{{rule="{name}"}}' for name in checks} < set(values)
    assert {name: value for name, value in values.items() if value == "1"} == {
        'holdfast_audit_violations{rule="stock"}': "1",
        "holdfast_audit_orders_checked": "1",
        "holdfast_audit_needs_attention": "1",
    }
    assert float(values["holdfast_audit_duration_seconds"]) > 0
    ((now,),) = world.sql("SELECT extract(epoch FROM now())::float")
    assert 0 <= now - float(values["holdfast_audit_timestamp_seconds"]) < 600
    assert out.count("# HELP ") == out.count("# TYPE ") == 6


def test_metrics_count_the_orders_whose_hold_ends_soon(url: str, world: SmallWorld) -> None:
    world.order(world.product())
    for reason, orders in (("why not", 0), (f"{HOLD_ENDS} 2026-12-01T00:00:00Z", 1)):
        world.sql(MARK.replace("why not", reason))
        _, out, _ = run(url, "audit", "--format", "prometheus")
        assert f"\nholdfast_audit_holds_ending {orders}\n" in out


def test_json_has_every_violation(url: str, world: SmallWorld) -> None:
    world.order(world.product())
    world.sql(MARK)
    world.sql("UPDATE products SET stock_quantity = 9")
    code, out, _ = run(url, "audit", "--format", "json")
    report = json.loads(out)
    assert code == 1
    assert not report["healthy"]
    assert (report["orders_checked"], report["open_orders"], report["needs_attention"]) == (1, 1, 1)
    assert {name for name, found in report["found"].items() if found} == {"stock"}
    assert len(report["found"]) == 14
    assert [row["check_name"] for row in report["violations"]] == ["stock"]
    assert [row["attention_reason"] for row in report["attention"]] == ["why not"]


@pytest.fixture
def reader(url: str, world: SmallWorld) -> Iterator[str]:
    """The address of a role that may read only the audit's views."""
    role = f"auditor_{uuid.uuid4().hex[:8]}"
    world.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT SELECT ON {VIEWS} TO {role}")
    yield address_of(url, role, role)
    world.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_role_that_may_only_read_the_views_suffices(reader: str, world: SmallWorld) -> None:
    world.order(world.product())
    world.work()
    assert run(reader, "audit")[0] == 0
    assert run(reader, "attention")[0] == 0
    world.sql("UPDATE products SET stock_quantity = 9")
    assert run(reader, "audit")[0] == 1
    assert [tables for (tables,) in world.sql("SELECT count(*) FROM order_ledger")] == [1]


def test_role_for_the_views_can_do_nothing_else(reader: str, world: SmallWorld) -> None:
    code, out, err = run(reader, "attention", "retry", str(uuid.uuid4()))
    assert (code, out) == (2, "")
    assert err.startswith("the role in DATABASE_URL may not do this: permission denied for table ")


def test_documented_role_is_the_tested_one() -> None:
    assert f"GRANT SELECT ON {VIEWS} TO" in (PROJECT / "docs" / "operate.md").read_text()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://me:hidden@127.0.0.1:1/shop", "the database cannot be reached: "),
        ("postgresql://me:hidden@127.0.0.1:1/shop?no=option", "DATABASE_URL must be an address without `no`"),
        ("mysql://me:hidden@127.0.0.1/shop", "DATABASE_URL must be a postgresql:// address"),
        ("", "DATABASE_URL is not set"),
    ],
)
@pytest.mark.parametrize("arguments", [("audit", "--format", "json"), ("attention",)])
def test_unreachable_database_is_reported_in_one_line(url: str, says: str, arguments: tuple[str, ...]) -> None:
    code, out, err = run(url, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(says)
    assert "hidden" not in err


def test_unmigrated_database_is_reported_in_one_line(new_database: Callable[[], str]) -> None:
    code, out, err = run(new_database(), "audit")
    assert (code, out) == (2, "")
    assert err == "the database is not migrated to this version: python -m ops migrate\n"


@pytest.mark.parametrize("arguments", [("audit", "--show", "0"), ("attention", "retry", "x"), ()])
def test_bad_arguments_exit_with_2(arguments: tuple[str, ...]) -> None:
    assert run("postgresql://127.0.0.1:1/x", *arguments)[0] == 2


def test_make_audit_without_a_running_system_says_how_to_start_one(tmp_path: Path) -> None:
    code, out, err = run("", "audit", "--data", str(tmp_path), module="local")
    assert (code, out) == (2, "")
    assert err == "No database is running here. Start it in another terminal with `make run`, or set DATABASE_URL.\n"


def test_the_audit_sees_one_moment(url: str, world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not see later commits, cannot write, and has a long statement timeout."""
    product = world.product()
    session = {"transaction_isolation": "", "transaction_read_only": "", "statement_timeout": ""}

    class Interrupted(Transaction):
        def all(self, sql: str, **params: Any) -> list[Row]:
            assert world.order(product).status_code == 202
            for name in session:
                session[name] = super().all(f"SHOW {name}")[0][name]
            return super().all(sql, **params)

    monkeypatch.setattr("ops.database.Transaction", Interrupted)
    assert audit({"DATABASE_URL": url}).summary["orders"] == 0
    assert world.sql("SELECT count(*) > 1 FROM order_ledger") == [(True,)]
    assert list(session.values()) == ["repeatable read", "on", "10min"]


def test_make_audit_finds_the_database_of_make_run(postgres: EmbeddedPostgres, url: str) -> None:
    code, out, _ = run("", "audit", "--data", str(postgres.folder), module="local")
    assert (code, out.split(":")[0]) == (0, "healthy")
    assert run("", "attention", "--data", str(postgres.folder), module="local")[0] == 0
