"""Compare the answers in the clients' own log with the contents of the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from tests.chaos.clientlog import BEGIN, LOOK, PLACE, read
from tests.chaos.plan import GIVES_UP

FINAL = frozenset({200, 202, 402, 422})  # answers that never change
ABANDONED = (409, "request_abandoned")  # final too: nothing is held, and a new order needs a new key
TERMINAL = frozenset({"AUTHORIZATION_FAILED", "COMPLETED", "FAILED"})
LOST, DOUBLED, CHANGED, WRONG, OPEN = "lost", "doubled", "changed", "wrong", "open"
AUDIT, RUN, LEFT, STOP = "audit", "run", "left", "stop"  # the books; the run itself; processes that exited, or did not

# One row for each ledger entry, with the sums of its customer's payments and orders.
# (Every order of a run has its own customer.)
LEDGER = """
SELECT l.id::text, l.client_request_id AS key, l.status, l.total_amount_cents,
  COALESCE(p.live, 0) AS live_authorizations, COALESCE(p.held, 0) AS held_cents, COALESCE(p.paid, 0) AS paid_cents,
  COALESCE(o.confirmed, 0) AS confirmed_orders
FROM order_ledger l
LEFT JOIN (
  SELECT user_id, count(*) FILTER (WHERE status NOT IN ('DECLINED', 'VOIDED')) AS live,
    sum(amount_cents) FILTER (WHERE status = 'AUTHORIZED') AS held,
    sum(captured_amount_cents - refunded_amount_cents) AS paid
  FROM payment_authorizations GROUP BY user_id) p USING (user_id)
LEFT JOIN (
  SELECT user_id, count(*) FILTER (WHERE status = 'CONFIRMED') AS confirmed
  FROM orders GROUP BY user_id) o USING (user_id)
"""
# Payments and orders of customers without a ledger entry.
STRANGERS = """
SELECT 'payment ' || a.id FROM payment_authorizations a WHERE a.status NOT IN ('DECLINED', 'VOIDED')
  AND NOT EXISTS (SELECT FROM order_ledger l WHERE l.user_id = a.user_id)
UNION ALL SELECT 'order ' || o.id FROM orders o WHERE o.user_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM order_ledger l WHERE l.user_id = o.user_id)
"""


@dataclass(frozen=True)
class Finding:
    """A broken promise. `subject`: the order's key, or another subject."""

    kind: str
    subject: str
    detail: str


@dataclass
class Told:
    """The answers that a client got about one order."""

    begin: dict[str, Any] = field(default_factory=dict)
    final: list[dict[str, Any]] = field(default_factory=list)
    """Answers that must never change."""
    looks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ids(self) -> set[str]:
        return {answer["order_ledger_id"] for answer in self.final if answer["answer"] == 202}


@dataclass
class Promises:
    """The log by key. `answers`: count by status; `findings`: answers outside the contract."""

    told: dict[str, Told]
    answers: Counter[str]
    findings: list[Finding]


def promises(log: Path) -> Promises:
    found = Promises(defaultdict(Told), Counter(), [])
    key_of: dict[str, str] = {}
    for line in read(log):
        if line["call"] == BEGIN:
            found.told[line["key"]].begin = line
            continue
        status = line["answer"]
        found.answers[f"{status or line['why']}{' replayed' if line.get('replayed') else ''}"] += 1
        if line["call"] == PLACE and (status in FINAL or (status, line.get("error")) == ABANDONED):
            found.told[line["key"]].final.append(line)
            key_of.setdefault(line.get("order_ledger_id", ""), line["key"])
        elif line["call"] == LOOK and status == 200:
            found.told[key_of.get(line["key"], line["key"])].looks.append(line)
        elif line["call"] == LOOK and status == 404:
            found.findings.append(
                Finding(LOST, key_of.get(line["key"], line["key"]), "404 for an order that was accepted")
            )
        if not _is_expected(line):
            found.findings.append(Finding(WRONG, line["key"], f"unexpected answer {status} to {line['call']}: {line}"))
    return found


def compare(promised: Promises, url: str) -> list[Finding]:
    """Compare promises and ledger in both directions. Empty: all promises were kept."""
    entries, strangers = _books(url)
    by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        by_key[entry["key"]].append(entry)
    findings = [*promised.findings, *_shared(promised.told)]
    for key, told in promised.told.items():
        findings += _about(key, told, by_key.get(key, []), entries_by_id={entry["id"]: entry for entry in by_key[key]})
    findings += [
        Finding(WRONG, key, "the ledger has an order that no client sent") for key in by_key.keys() - promised.told
    ]
    return findings + [Finding(WRONG, what, "of a customer without a ledger entry") for what in strangers]


def _about(
    key: str, told: Told, entries: list[dict[str, Any]], entries_by_id: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    for id_ in told.ids - entries_by_id.keys():
        yield Finding(LOST, key, f"202 promised {id_}, and the ledger has no such entry under this key")
    if len(entries) > 1:
        yield Finding(DOUBLED, key, f"{len(entries)} ledger entries: {', '.join(entry['id'] for entry in entries)}")
    if len({_words(answer) for answer in told.final}) > 1:
        kind = DOUBLED if len(told.ids) > 1 else CHANGED
        yield Finding(kind, key, "answers differ: " + " / ".join(sorted({_words(each) for each in told.final})))
    if not told.final and told.begin and told.begin["behaviour"] != GIVES_UP:
        yield Finding(OPEN, key, "the client never got an answer")
    yield from _seen(key, told)
    for entry in entries:
        yield from _money(key, entry)
        yield from _outcome(key, told, entry)


def _money(key: str, entry: dict[str, Any]) -> Iterator[Finding]:
    sold = entry["status"] == "COMPLETED"
    if entry["live_authorizations"] > 1:
        yield Finding(DOUBLED, key, f"{entry['live_authorizations']} authorizations that are not voided")
    if entry["confirmed_orders"] > 1:
        yield Finding(DOUBLED, key, f"{entry['confirmed_orders']} confirmed orders")
    if entry["status"] not in TERMINAL:
        return
    due = entry["total_amount_cents"] if sold else 0
    if entry["paid_cents"] != due:
        kind = DOUBLED if entry["paid_cents"] > due > 0 else WRONG
        yield Finding(kind, key, f"{entry['status']}, and the customer has paid {entry['paid_cents']} instead of {due}")
    if entry["held_cents"]:
        yield Finding(WRONG, key, f"{entry['status']}, and {entry['held_cents']} cents are still held")
    if entry["confirmed_orders"] != sold:
        yield Finding(WRONG, key, f"{entry['status']}, and {entry['confirmed_orders']} orders are confirmed")


def _outcome(key: str, told: Told, entry: dict[str, Any]) -> Iterator[Finding]:
    """Check the entry against what the client asked for and what it was told."""
    status, begin = entry["status"], told.begin
    if status not in TERMINAL:
        yield Finding(OPEN, key, f"still {status}")
    if begin and entry["total_amount_cents"] != begin["total_amount_cents"]:
        yield Finding(
            WRONG, key, f"the total is {entry['total_amount_cents']}, and should be {begin['total_amount_cents']}"
        )
    if begin and status == "COMPLETED" and ("decline" in begin["token"] or "fail" in begin["token"]):
        yield Finding(WRONG, key, f"COMPLETED with {begin['token']}")
    for answer in told.final[-1:]:
        if (answer["answer"] == 202) == (status == "AUTHORIZATION_FAILED"):
            yield Finding(CHANGED, key, f"answered {answer['answer']}, and the ledger says {status}")
    for look in told.looks[-1:]:
        if look["status"] in TERMINAL and look["status"] != status:
            yield Finding(CHANGED, key, f"the client saw {look['status']}, and the ledger says {status}")


def _seen(key: str, told: Told) -> Iterator[Finding]:
    """An order whose end a client has seen does not change.

    Two looks at once may be answered in any order, so only looks that were sent after the end was seen count as later.
    """
    ends = [look for look in told.looks if look["status"] in TERMINAL]
    if not ends:
        return
    first = min(ends, key=lambda look: float(look["at"]))
    later = {look["status"] for look in told.looks if look["sent"] > first["at"] or look in ends}
    if later != {first["status"]}:
        yield Finding(
            CHANGED, key, f"the client saw it end as {first['status']}, and later saw {', '.join(sorted(later))}"
        )


def _shared(told: dict[str, Told]) -> Iterator[Finding]:
    owners: dict[str, set[str]] = defaultdict(set)
    for key, each in told.items():
        for id_ in each.ids:
            owners[id_].add(key)
    for id_, keys in owners.items():
        if len(keys) > 1:
            yield Finding(LOST, ", ".join(sorted(keys)), f"one entry was promised to all of them: {id_}")


def _words(answer: dict[str, Any]) -> str:
    names = ("answer", "order_ledger_id", "total_amount_cents", "error", "decline_code")
    return " ".join(str(answer[name]) for name in names if name in answer)


def _is_expected(line: dict[str, Any]) -> bool:
    """Whether the contract allows this answer to a well-formed request."""
    status, error = line["answer"], line.get("error")
    if "unreadable" in line:
        return False
    return status in (None, 200, 202, 402, 404, 503) or (status, error) in {(409, "request_in_progress"), ABANDONED}


def _books(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        entries = list(_rows(cursor, LEDGER))
        return entries, [row[0] for row in _all(cursor, STRANGERS)]


def _rows(cursor: Any, sql: str) -> Iterable[dict[str, Any]]:
    rows = _all(cursor, sql)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _all(cursor: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor.execute(sql)
    return list(cursor.fetchall())
