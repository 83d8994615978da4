"""Compare what the console told its operators with the books and with the record of actions.

What operators cancelled and refunded joins what clients asked for, so that all other comparisons know of it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from console.inventory import key_of
from console.writes import NotKnown
from tests.chaos.books import Books, Row
from tests.chaos.clientlog import read
from tests.chaos.findings import CHANGED, DOUBLED, LOST, OPEN, WRONG, Finding
from tests.chaos.operators import ANSWERED, CLICK, NAME
from tests.chaos.page import PIECES
from tests.chaos.told import Line, Promises, Told

FILE = "operators.jsonl"
# A path → what the record calls the action, and which detail has its subject.
ACTIONS = {
    "/orders/([^/]+)/retry": ("order.retry", "order_ledger_id"),
    "/orders/([^/]+)/cancel": ("order.cancel", "order_ledger_id"),
    "/orders/([^/]+)/refunds": ("order.refund", "order_ledger_id"),
    "/orders/([^/]+)/notes": ("order.note", "order_ledger_id"),
    "/orders/([^/]+)/dealt-with": ("order.dealt_with", "order_ledger_id"),
    "/refunds/([^/]+)/retry": ("refund.retry", "refund_id"),
    "/refunds/([^/]+)/dealt-with": ("refund.dealt_with", "refund_id"),
    "/products/([^/]+)/stock": ("products.stock", "product_id"),
    "/webhooks/([^/]+)/enable": ("webhooks.enable", "webhook_endpoint_id"),
    "/webhooks/([^/]+)/resend": ("webhooks.resend_since", "webhook_endpoint_id"),
    "/webhooks/[^/]+/deliveries/([^/]+)/resend": ("webhooks.resend", "delivery_id"),
}
DETAILS = dict(ACTIONS.values())
JOBS = "/jobs"
ACTIONS_OF_JOBS = ("order.retry", "order.cancel")
REFUSED = frozenset({400, 409, 422})
UNANSWERED = frozenset({None, 503})  # a process or the database is down
SEEN = UNANSWERED | {200}
NOTHING_DONE = "/jobs/new"  # where the console leads if more orders match than the operator has seen
Click = tuple[str, str, str]
"""Operator, path, and key of the form."""


class Clicks:
    """What operators clicked, and how it was answered. :param log: empty if there is no such file"""

    def __init__(self, log: Path) -> None:
        self.pages = 0
        self.findings: list[Finding] = []
        self._answers: dict[Click, list[Line]] = defaultdict(list)
        for line in read(log) if log.exists() else ():
            if line["call"] == CLICK:
                self._answers[line["operator"], line["key"], line["fields"].get("key", "")].append(line)
            else:
                self.pages += 1
                self._check(line, SEEN)

    def done(self) -> list[tuple[Click, Line]]:
        """The clicks with a key that were carried out."""
        found = ((click, [line for line in lines if _is_done(line)]) for click, lines in self._answers.items())
        return [(click, lines[0]) for click, lines in found if lines and click[2]]

    def unknown(self) -> list[Click]:
        """Clicks whose outcome the console does not know: it died during a call that it must not repeat."""
        done = {click for click, _ in self.done()}
        return [click for click, lines in self._answers.items() if click not in done and any(map(_is_unknown, lines))]

    def counts(self) -> dict[str, int]:
        """How many pages were opened, and how many forms of each kind were accepted or refused."""
        found: Counter[str] = Counter(pages=self.pages)
        done = {click for click, _ in self.done()}
        for click in self._answers:
            name = _subject(click[1])[0] or "jobs"
            end = "" if click in done else " refused" if any(map(_is_refused, self._answers[click])) else " unanswered"
            found[f"{name}{end}"] += 1
        return dict(found)

    def judge(self) -> Iterator[Finding]:
        """Whether each form had one answer, and no page was an error."""
        for click, lines in self._answers.items():
            for line in lines:
                self._check(line, REFUSED | UNANSWERED | {303})
            answered = [line for line in lines if line["answer"] is not None and line["answer"] < ANSWERED]
            if not answered:
                yield Finding(OPEN, click[1], f"the form of {click[0]} was never answered")
            done_at = min((line["at"] for line in answered if _is_done(line)), default=float("inf"))
            if click[2] and any(line["sent"] > done_at and not _is_done(line) for line in answered):
                yield Finding(CHANGED, click[1], f"the form of {click[0]} was accepted, and refused later")
            if len({line["location"] for line in answered if _is_done(line)}) > 1:
                yield Finding(DOUBLED, click[1], f"the form of {click[0]} led to two places")
        yield from self.findings

    def _check(self, line: Line, expected: frozenset[int | None]) -> None:
        if line["answer"] not in expected:
            text = f"the console answered {line['answer']} to {line['operator']}"
            self.findings.append(Finding(WRONG, line["key"], text))


def about_record(clicks: Clicks, books: Books) -> Iterator[Finding]:
    """Each action that was told as done is in the record once, and nothing else is."""
    told = Counter((operator, *_subject(path)) for (operator, path, _), _ in clicks.done())
    unknown = Counter((operator, *_subject(path)) for operator, path, _ in clicks.unknown())
    recorded: Counter[tuple[str, str, str]] = Counter()
    for row in books.record:
        action, is_refused, _ = row["action"].partition(".refused")
        if row["actor"].startswith(NAME) and action in DETAILS and "job_id" not in row["details"]:
            recorded[row["actor"], action, str(row["details"].get(DETAILS[action]))] += -1 if is_refused else 1
    for each in told.keys() | recorded.keys():
        operator, action, subject = each
        if action and not told[each] <= recorded[each] <= told[each] + unknown[each]:
            kind = LOST if recorded[each] < told[each] else DOUBLED
            yield Finding(kind, subject, f"{action} by {operator}: told {told[each]}, recorded {recorded[each]} times")


def about_jobs(clicks: Clicks, books: Books) -> Iterator[Finding]:
    """Each job that was promised is there, has ended, and the record has it and each of its results once."""
    promised = {line["location"].rpartition("/")[2] for click, line in clicks.done() if click[1] == JOBS}
    made = Counter(row["details"]["job_id"] for row in books.record if row["action"] == "job.create")
    known = {job["id"] for job in books.jobs}
    for job_id in promised | known | made.keys():
        if not (job_id in promised and job_id in known and made[job_id] == 1):
            text = f"promised: {job_id in promised}, in the books: {job_id in known}, recorded {made[job_id]} times"
            yield Finding(WRONG, job_id, f"a job. {text}")
    acted = [row["details"] for row in books.record if row["action"] in ACTIONS_OF_JOBS]
    recorded = Counter((details["job_id"], details["order_ledger_id"]) for details in acted if "job_id" in details)
    for job in books.jobs:
        if not job["has_ended"]:
            yield Finding(OPEN, job["id"], "the job has not ended")
        if job["done"] != len(job["orders"]):
            yield Finding(WRONG, job["id"], f"the job has done {job['done']} orders, and lists {len(job['orders'])}")
        for order in job["orders"]:
            if (times := recorded.pop((job["id"], order), 0)) != 1:
                yield Finding(WRONG, order, f"the job {job['id']} acted on it, and the record has it {times} times")
    for (job_id, order), times in recorded.items():
        yield Finding(WRONG, order, f"the record has it {times} times for the job {job_id}, which did not act on it")


def with_wishes(promised: Promises, clicks: Clicks, books: Books) -> Promises:
    """What clients asked for, and what operators cancelled and refunded."""
    cancels, refunds = dict(promised.cancels), dict(promised.refunds)
    keys = {entry["id"]: entry["key"] for entry in books.entries}
    for (operator, path, key), line in clicks.done():
        action, subject = _subject(path)
        if action == "order.cancel":
            cancels[f"{operator}: {key}"] = _cancel(keys, subject)
        elif action == "order.refund":
            stored = key_of(operator, f"{key}:refund:{subject}")
            rows = books.refunds_by_key.get(stored, [])
            refunds[stored] = _refund(keys, subject, line, rows)
    for job in books.jobs:
        for order in job["orders"] if job["action"] == "cancel" else ():
            cancels[f"job {job['id']}: {order}"] = _cancel(keys, order)
    return replace(promised, cancels=cancels, refunds=refunds)


def _cancel(keys: dict[str, str], order: str) -> Told:
    return Told({"order": keys.get(order, order)}, [{"answer": 202, "order_ledger_id": order}])


def _refund(keys: dict[str, str], order: str, line: Line, rows: list[Row]) -> Told:
    """The form's page does not say which refund it made, so the books say it."""
    made: Row = rows[0] if rows else {"id": "of a form", "amount_cents": 0, "items": {}, "restock": False}
    items = [{"product_id": id_, "quantity": quantity} for id_, quantity in made["items"].items()]
    answer = {"answer": 202, "at": line["at"], "refund_id": made["id"], "amount_cents": made["amount_cents"]}
    wish = {"order": keys.get(order, order), "asked": _asked(line["fields"])}
    return Told(wish, [{**answer, "items": items, "restock": made["restock"]}])


def _asked(fields: dict[str, str]) -> dict[str, Any]:
    pieces = {name.removeprefix(PIECES): value for name, value in fields.items() if name.startswith(PIECES) and value}
    return {
        "amount_cents": round(float(fields["amount"]) * 100) if fields["what"] == "amount" else None,
        "items": [{"product_id": id_, "quantity": int(value)} for id_, value in pieces.items()] or None,
    }


def _is_unknown(line: Line) -> bool:
    """A double click gets this, too, while the first one is at work."""
    return line.get("problem") == NotKnown().message


def _is_refused(line: Line) -> bool:
    return line["answer"] in REFUSED or (line["answer"] == requests.codes.see_other and not _is_done(line))


def _is_done(line: Line) -> bool:
    return line["answer"] == requests.codes.see_other and not line["location"].startswith(NOTHING_DONE)


def _subject(path: str) -> tuple[str, str]:
    """The action that a form asks for, and its subject. Empty: the form is about a job."""
    for form, (action, _) in ACTIONS.items():
        if found := re.fullmatch(form, path):
            return action, found[1]
    return "", ""
