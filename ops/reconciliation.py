"""Compares our books with the gateway's lists, an hour after the other.

A payment belongs to the time in the id of its order, and a refund to the time in its own id. What the gateway lists is
looked up in our books by its id, and what it does not list is asked for by its id. So no clock decides what is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from common.database.database import Row
from ops import differences
from ops.differences import Kind, Line
from ops.gateway_statements import GatewayStatements
from ops.reconciled_books import OF_PAYMENTS, OF_REFUNDS, Books, Subject, time_of

SLICE = timedelta(hours=1)  # the lines of one are kept in memory, and an interruption loses no more
MARGIN = timedelta(minutes=5)
"""The list is longer than its slice, because the gateway's clock is another one. What it misses is asked for singly."""
LOOKS = 3  # at a payment that changes while we look


class Comparison(NamedTuple):
    subject: Subject
    of: Callable[..., Line | None]
    unknown: Callable[[Row], Line | None]


PAYMENTS = Comparison(OF_PAYMENTS, differences.of_payment, differences.unknown_payment)
REFUNDS = Comparison(OF_REFUNDS, differences.of_refund, differences.unknown_refund)


@dataclass
class Report:
    start: datetime
    end: datetime
    done_until: datetime
    gateway: str = ""
    compared: Counter[str] = field(default_factory=Counter)
    """Of each subject."""
    of_other_gateway: int = 0
    differences: list[Line] = field(default_factory=list)
    in_flight: list[Line] = field(default_factory=list)
    stopped_by: str = ""
    """Why the rest of the span was not compared. Empty: all of it was."""


class Reconciliation:
    def __init__(self, books: Books, gateway: GatewayStatements, report: Report) -> None:
        self._books, self._gateway, self._report = books, gateway, report

    def run(self) -> None:
        """Fill the report. :raises Unanswered: after the slices until `done_until`"""
        report = self._report
        while report.done_until < report.end:
            end = min(report.done_until + SLICE, report.end)
            found = [each for comparison in (PAYMENTS, REFUNDS) for each in self._slice(comparison, end)]
            report.differences += [each for each in found if each.kind != Kind.IN_FLIGHT]
            report.in_flight += [each for each in found if each.kind == Kind.IN_FLIGHT]
            report.done_until = end

    def _slice(self, comparison: Comparison, end: datetime) -> list[Line]:
        """Compare the slice that begins at `done_until`."""
        start, subject = self._report.done_until, comparison.subject
        listed = {line["gateway_id"]: line for line in self._gateway.listed(subject.name, start - MARGIN, end + MARGIN)}
        self._report.gateway = self._gateway.gateway
        keys = self._books.keys(subject, list(listed.values()))
        by_key, surplus = _matched(comparison, listed, keys)
        found = []
        for page in self._books.of_span(subject, start, end):
            found += self._compared(comparison, page, by_key)
        # The rest belongs to the slice by the gateway's clock.
        for id_, line in listed.items():
            if start <= line["created_at"] < end:
                key = keys.get(id_, "")
                time = time_of(key)
                if key and time is None:
                    found += self._compared(comparison, self._books.rows(subject, [key]), by_key)
                is_elsewhere = time is not None and not start <= time < end
                if id_ not in keys or id_ in surplus or (is_elsewhere and self._is_doubled(line)):
                    found += [unknown] if (unknown := comparison.unknown(line)) else []
        return found

    def _compared(self, comparison: Comparison, rows: Iterable[Row], by_key: dict[str, Row]) -> list[Line]:
        found = []
        for row in rows:
            is_asked = self._gateway.is_remote and row["gateway"] == self._gateway.gateway
            theirs = by_key.get(row["key"])
            if is_asked and theirs is None:
                theirs = self._look(comparison, row)
            line = comparison.of(row, theirs, is_asked=is_asked)
            if line and is_asked and line.kind != Kind.IN_FLIGHT:
                line = self._look_again(comparison, row, line)
            found += [line] if line else []
            self._report.compared[comparison.subject.name] += 1
            # A payment of the simulated gateway has no `gateway`.
            has_other = row["authorization_id"] if self._gateway.is_remote else row["gateway"]
            self._report.of_other_gateway += bool(has_other) and not is_asked
        return found

    def _look(self, comparison: Comparison, row: Row) -> Row | None:
        """What the gateway says of one row. None: it does not know it."""
        if row["payment_gateway_id"] is None:
            return None
        payment, refunds = self._gateway.look(row["payment_gateway_id"])
        if comparison is PAYMENTS:
            return payment
        ids = {row["asked_id"], row["gateway_id"]} - {None}
        ours = [line for line in refunds if {line["refund_id"], line["gateway_id"]} & ids]
        paid = [line for line in ours if comparison.unknown(line)]
        return next(reversed(paid or ours), None)  # the oldest

    def _is_doubled(self, line: Row) -> bool:
        """Whether the gateway has returned the money of a refund twice. (No payment is listed twice.)"""
        if line.get("refund_id") is None or line["payment_gateway_id"] is None:
            return False
        _, refunds = self._gateway.look(line["payment_gateway_id"])
        same = [each for each in refunds if each["refund_id"] == line["refund_id"] and each["state"] != "failed"]
        return len(same) > 1

    def _look_again(self, comparison: Comparison, row: Row, line: Line) -> Line | None:
        """A difference is one if our books say the same before and after the gateway is asked."""
        for _ in range(LOOKS):
            theirs = self._look(comparison, row)
            (now,) = self._books.rows(comparison.subject, [row["key"]])
            if now == row:
                return comparison.of(now, theirs, is_asked=True)
            row = now
        return differences.in_flight(line)


def _matched(comparison: Comparison, listed: dict[str, Row], keys: dict[str, str]) -> tuple[dict[str, Row], set[str]]:
    """Key → its line. The ids of further lines with money of the same key."""
    by_key: dict[str, Row] = {}
    surplus = set()
    for id_, line in reversed(listed.items()):  # the oldest first
        if key := keys.get(id_):
            if key in by_key and comparison.unknown(by_key[key]):
                surplus.add(id_)
            else:
                by_key[key] = line
    return by_key, surplus
