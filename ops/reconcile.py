"""`python -m ops reconcile`: compare our books with those of the gateway."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg2

from ops.database import Unusable, connected, reason
from ops.differences import Line, as_dict
from ops.gateway_statements import PAUSES_S, SIMULATED, GatewayStatements, Unanswered
from ops.reconciled_books import Books
from ops.reconciliation import Reconciliation, Report
from ops.service_token import token_keys
from ops.table import table

EQUAL, DIFFERENT, INCOMPLETE = 0, 1, 2
HEADINGS = ("what", "kind", "at the gateway", "authorization", "order", "refund", "our books", "the gateway")
OF_SIMULATED = "The simulated gateway has no books but ours: the payments were compared with the ledger only.\n"


def run(
    environ: Mapping[str, str] | None,
    start: datetime,
    end: datetime | None,
    form: str,
    pauses_s: Sequence[float] = PAUSES_S,
) -> int:
    """Print the report, also after an interruption. :returns: 0, 1 or 2 :raises Unusable: nothing was compared"""
    with connected(environ, readonly=True) as (settings, connection):
        books = Books(connection)
        now = books.now()
        end = min(end or now, now)
        if start >= end:
            raise Unusable(f"--from must be before --to, and before now: {rfc3339(start)} is not before {rfc3339(end)}")
        _check_retained(start, now, settings.retain_orders_days)
        report = Report(start, end, done_until=start)
        gateway = GatewayStatements(settings, token_keys(environ), pauses_s)
        try:
            with _interruptible():
                Reconciliation(books, gateway, report).run()
        except Unanswered as error:
            report.stopped_by = f"the payments service, or the gateway behind it, gave no answer ({error})"
        except psycopg2.Error as error:
            if report.done_until == start:
                raise
            report.stopped_by = reason(error)
        except KeyboardInterrupt:
            report.stopped_by = "it was interrupted"
    sys.stdout.write(FORMATS[form](report))
    sys.stdout.flush()  # an error in writing must change the exit code
    if report.stopped_by:
        sys.stderr.write(f"Stopped, because {report.stopped_by}. Go on with: {_rest(report, form)}\n")
        return INCOMPLETE
    return DIFFERENT if report.differences else EQUAL


def as_text(report: Report) -> str:
    sides = "our books with the ledger" if report.gateway == SIMULATED else f"our books with {report.gateway or 'it'}"
    text = (
        f"{_verdict(report)}: {_count(report.compared['payments'], 'payment')} and"
        f" {_count(report.compared['refunds'], 'refund')} compared, {sides},"
        f" {rfc3339(report.start)} to {rfc3339(report.done_until)}\n"
    )
    text += OF_SIMULATED if report.gateway == SIMULATED else ""
    if report.of_other_gateway:
        text += f"{report.of_other_gateway:,} of another gateway were compared with the ledger only.\n"
    text += f"\n{_table(report.differences)}" if report.differences else ""
    if report.in_flight:
        text += f"\n{len(report.in_flight):,} in flight (not a difference):\n\n{_table(report.in_flight)}"
    return text


def as_json(report: Report) -> str:
    document = {
        "equal": not report.differences and not report.stopped_by,
        "complete": not report.stopped_by,
        "from": rfc3339(report.start),
        "to": rfc3339(report.end),
        "resume_from": rfc3339(report.done_until) if report.stopped_by else None,
        "stopped_by": report.stopped_by or None,
        "gateway": report.gateway or None,
        "payments_compared": report.compared["payments"],
        "refunds_compared": report.compared["refunds"],
        "of_other_gateway": report.of_other_gateway,
        "differences": [as_dict(line) for line in report.differences],
        "in_flight": [as_dict(line) for line in report.in_flight],
    }
    return json.dumps(document, indent=2) + "\n"


FORMATS = {"text": as_text, "json": as_json}


def rfc3339(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _verdict(report: Report) -> str:
    if report.differences:
        return f"NOT equal: {_count(len(report.differences), 'difference')}"
    return "no difference so far" if report.stopped_by else "equal"


def _table(lines: Sequence[Line]) -> str:
    return table(HEADINGS, map(_cells, lines))


def _cells(line: Line) -> Sequence[object]:
    ids = (line.gateway_id, line.authorization_id, line.order_ledger_id, line.refund_id)
    return (line.about, line.kind, *(id_ or "-" for id_ in ids), line.ours, line.theirs)


def _rest(report: Report, form: str) -> str:
    span = ["--from", rfc3339(report.done_until), "--to", rfc3339(report.end)]
    return shlex.join(["python", "-m", "ops", "reconcile", *span, *(["--format", form] if form != "text" else [])])


def _check_retained(start: datetime, now: datetime, days: int) -> None:
    """:raises Unusable: the span begins with orders that `ops retain` may have deleted"""
    kept_since = now - timedelta(days=days)
    if days and start < kept_since:
        raise Unusable(
            f"RETAIN_ORDERS_DAYS is {days}, so older orders are deleted and would be missed: take a --from after"
            f" {rfc3339(kept_since)}"
        )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the comparison, not the report."""
    former = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _count(number: int, of: str) -> str:
    return f"{number:,} {of if number == 1 else f'{of}s'}"
