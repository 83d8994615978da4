"""`python -m ops audit`: check that the books agree. All checks see one snapshot, while orders run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg2

from common.database.database import Row, Transaction
from domain.states import HOLD_ENDS
from ops.attention import attention_table
from ops.database import connected, within
from ops.table import table

HEALTHY, UNHEALTHY = 0, 1
TIMEOUT_S = 600  # 100,000 orders take about 5 s
SHOWN = 20  # rows of each check; the rest are counted

CHECKS = "SELECT check_number, check_name FROM audit_checks ORDER BY check_number"
VIOLATIONS = """
SELECT check_number, check_name, subject, detail, found, number FROM (
  SELECT *, row_number() OVER (PARTITION BY check_number ORDER BY subject, detail) AS number,
    count(*) OVER (PARTITION BY check_number) AS found
  FROM audit_violations) AS violations
WHERE number <= %(shown)s ORDER BY check_number, number
"""
SUMMARY = "SELECT *, extract(epoch FROM now())::float AS at FROM audit_summary"
HOLDS_ENDING = "SELECT count(*) AS orders FROM audit_attention WHERE starts_with(attention_reason, %(reason)s)"
RECORD = """
INSERT INTO audit_runs (took_ms, healthy, violations, rows_found, examples)
VALUES (%(took_ms)s, %(healthy)s, %(violations)s::jsonb, %(rows_found)s, %(examples)s::jsonb)
"""
RECORD_WITHIN_S = 5
RECORDED = 100  # violations, the first ones of each rule
ATTENTION = "SELECT * FROM audit_attention ORDER BY needs_attention_at LIMIT %(shown)s"


@dataclass(frozen=True)
class Report:
    found: Mapping[str, int]
    """The number of violations of every check, including zero."""
    violations: list[Row]
    """The first violations of each check."""
    examples: list[Row]
    """What the console shows: as many of each check, whatever the report shows."""
    attention: list[Row]
    holds_ending: int
    """Orders whose hold a remote gateway ends within a day."""
    summary: Row
    seconds: float

    @property
    def total(self) -> int:
        return sum(self.found.values())


def audit(environ: Mapping[str, str] | None, shown: int = SHOWN) -> Report:
    """Check one snapshot of the books. :raises Unusable:"""
    began = time.monotonic()
    with connected(environ, isolation_level="REPEATABLE READ", readonly=True) as (_, connection):
        with within(connection, timeout_s=TIMEOUT_S) as tx:
            report = _read(tx, shown, began)
        # The role may only read, the server is a standby, or the database is older: the audit is worth the same.
        with suppress(psycopg2.Error):
            _record(connection, report)
    return report


def _record(connection: Any, report: Report) -> None:
    connection.set_session(readonly=False)
    with within(connection, timeout_s=RECORD_WITHIN_S) as tx:
        tx.execute(
            RECORD,
            took_ms=round(report.seconds * 1000),
            healthy=not report.total,
            violations=json.dumps(report.found),
            rows_found=report.total,
            examples=json.dumps(report.examples),
        )


def _read(tx: Transaction, shown: int, began: float) -> Report:
    # Sort and hash in memory. Compiling the plan (JIT) would take longer than running it.
    tx.execute("SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")
    names = [row["check_name"] for row in tx.all(CHECKS)]
    violations = tx.all(VIOLATIONS, shown=max(shown, SHOWN))
    found = dict.fromkeys(names, 0) | {row["check_name"]: row["found"] for row in violations}
    (summary,) = tx.all(SUMMARY)
    attention = tx.all(ATTENTION, shown=shown)
    (ending,) = tx.all(HOLDS_ENDING, reason=HOLD_ENDS)
    first = [row for row in violations if row["number"] <= shown]
    return Report(found, first, _examples(violations), attention, ending["orders"], summary, time.monotonic() - began)


def _examples(violations: list[Row]) -> list[Row]:
    """No rule leaves out another one, whatever it found."""
    chosen = sorted(violations, key=lambda row: row["number"])[:RECORDED]
    chosen.sort(key=lambda row: (row["check_number"], row["number"]))
    return [{"rule": row["check_name"], "subject": row["subject"], "text": row["detail"]} for row in chosen]


def as_text(report: Report) -> str:
    orders = f"{report.summary['orders']:,} orders checked in {report.seconds:.1f} s"
    orders += f", {report.summary['open_orders']:,} of them still open"
    if not report.total:
        return f"healthy: {orders}\n" + _attention(report)
    text = f"NOT healthy: {_count(report.total, 'violation')}; {orders}\n\n"
    text += table(
        ("check", "subject", "what is wrong"),
        ((f"{row['check_number']} {row['check_name']}", row["subject"], row["detail"]) for row in report.violations),
    )
    if report.total > len(report.violations):
        text += f"… and {report.total - len(report.violations):,} more:\n"
        text += "".join(f"  {name}: {found:,} in all\n" for name, found in report.found.items() if found)
    return text + _attention(report)


def as_json(report: Report) -> str:
    attention = [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
        for row in report.attention
    ]
    rows = [
        {name: row[name] for name in ("check_number", "check_name", "subject", "detail")} for row in report.violations
    ]
    document = {
        "healthy": not report.total,
        "orders_checked": report.summary["orders"],
        "open_orders": report.summary["open_orders"],
        "seconds": round(report.seconds, 3),
        "found": report.found,
        "violations": rows,
        "needs_attention": report.summary["needs_attention"],
        "attention": attention,
    }
    return json.dumps(document, indent=2) + "\n"


def as_metrics(report: Report) -> str:
    """Prometheus text format, for a textfile collector."""
    text = _help("violations", "Violations found by the audit, by rule.")
    text += "".join(f'holdfast_audit_violations{{rule="{name}"}} {found}\n' for name, found in report.found.items())
    for name, value, about in (
        ("orders_checked", report.summary["orders"], "Ledger entries that were checked."),
        ("needs_attention", report.summary["needs_attention"], "Open orders and refunds that need a person."),
        ("holds_ending", report.holds_ending, "Orders whose hold the payment gateway ends within a day."),
        ("duration_seconds", f"{report.seconds:.3f}", "How long the audit took."),
        ("timestamp_seconds", f"{report.summary['at']:.3f}", "Time of the snapshot, in Unix time."),
    ):
        text += f"{_help(name, about)}holdfast_audit_{name} {value}\n"
    return text


FORMATS = {"text": as_text, "json": as_json, "prometheus": as_metrics}


def run(environ: Mapping[str, str] | None, form: str, shown: int) -> int:
    """Print the report. :returns: 0 if the books agree, else 1 :raises Unusable:"""
    report = audit(environ, shown)
    sys.stdout.write(FORMATS[form](report))
    sys.stdout.flush()  # an error in writing must change the exit code
    return UNHEALTHY if report.total else HEALTHY


def _attention(report: Report) -> str:
    found = report.summary["needs_attention"]
    if not found:
        return ""
    text = f"\n{_count(found, 'order or refund', 'orders and refunds')} in need of attention (not a violation):\n\n"
    text += attention_table(report.attention)
    more = found - len(report.attention)
    return text + (f"… and {more:,} more\n" if more else "")


def _count(number: int, of: str, plural: str = "") -> str:
    return f"{number:,} {of if number == 1 else plural or f'{of}s'}"


def _help(name: str, about: str) -> str:
    return f"# HELP holdfast_audit_{name} {about}\n# TYPE holdfast_audit_{name} gauge\n"
