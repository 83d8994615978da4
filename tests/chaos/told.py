"""What the clients were told: their log, sorted by order, cancellation and refund."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.clientlog import BEGIN, CANCEL, ENDPOINT, FEED, LOOK, LOOK_AT_REFUND, PLACE, REFUND, WISH, read
from tests.chaos.findings import CHANGED, LOST, WRONG, Finding

Line = dict[str, Any]
TERMINAL = frozenset({"AUTHORIZATION_FAILED", "COMPLETED", "FAILED"})
# Answers that never change.
FINAL = frozenset({200, 202, 402, 422})
ABANDONED = (409, "request_abandoned")  # final too: nothing is held, and a new order needs a new key
NOT_CANCELLABLE = (409, "order_not_cancellable")
# Later the same refund may be accepted under the same key.
REFUSED_REFUNDS = frozenset({(409, "order_not_refundable"), (409, "refund_exceeds_remaining")})
FINAL_REFUSALS = {PLACE: {ABANDONED}, CANCEL: {NOT_CANCELLABLE}}
EXPECTED = frozenset({200, 201, 202, 402, 503})
EXPECTED_PAIRS = REFUSED_REFUNDS | {ABANDONED, NOT_CANCELLABLE, (None, None), (409, "request_in_progress")}


@dataclass
class Told:
    """The answers that a client got about one order, or one cancellation or refund of it."""

    begin: Line = field(default_factory=dict)
    """The order as it was intended, or the wish."""
    final: list[Line] = field(default_factory=list)
    """Answers that must never change."""
    refusals: list[Line] = field(default_factory=list)
    """Answers that refused a refund for the time being."""
    looks: list[Line] = field(default_factory=list)

    def ids(self, name: str = "order_ledger_id") -> set[str]:
        """The ids in the answers that accepted the request."""
        return {answer[name] for answer in self.final if answer["answer"] == 202}

    @property
    def words(self) -> set[str]:
        """The final answers, without what may differ. More than one: they were changed."""
        return {_words(answer) for answer in self.final}


@dataclass
class Promises:
    """The log. `answers`: count by status; `findings`: answers outside the contract."""

    told: dict[str, Told] = field(default_factory=lambda: defaultdict(Told))
    """Orders by key."""
    cancels: dict[str, Told] = field(default_factory=lambda: defaultdict(Told))
    refunds: dict[str, Told] = field(default_factory=lambda: defaultdict(Told))
    feed: dict[str, Line] = field(default_factory=dict)
    """The events of the feed, by id."""
    secrets: list[str] = field(default_factory=list)
    """Of the webhook endpoint."""
    answers: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


def promises(log: Path) -> Promises:
    found = Promises()
    keys: dict[str, str] = {}
    for line in read(log):
        call, key = line["call"], line["key"]
        if call == BEGIN:
            found.told[key].begin = line
        elif call == WISH:
            (found.cancels if line["what"] == CANCEL else found.refunds)[key].begin = line
        else:
            _note(found, keys, line)
    return found


def _note(found: Promises, keys: dict[str, str], line: Line) -> None:
    """:param keys: of the orders and refunds, by their ids"""
    call, key, status, code = line["call"], line["key"], line["answer"], line.get("error")
    found.answers[f"{status or line['why']}{' replayed' if line.get('replayed') else ''}"] += 1
    asked = {PLACE: found.told, CANCEL: found.cancels, REFUND: found.refunds}.get(call)
    if asked is not None and (status in FINAL or (status, code) in FINAL_REFUSALS.get(call, ())):
        asked[key].final.append(line)
        if call != CANCEL:  # whose answer has the order's id
            keys.setdefault(str(line.get("refund_id" if call == REFUND else "order_ledger_id")), key)
    elif call == REFUND and (status, code) in REFUSED_REFUNDS:
        found.refunds[key].refusals.append(line)
    elif call in (LOOK, LOOK_AT_REFUND) and status == 200:
        (found.told if call == LOOK else found.refunds)[keys.get(key, key)].looks.append(line)
    elif call == FEED and status == 200:
        _note_events(found, line)
    elif call == ENDPOINT and "secret" in line:
        found.secrets.append(line["secret"])
    if status == 404:
        found.findings.append(Finding(LOST, keys.get(key, key), f"404 to {call}, of what was accepted"))
    elif "unreadable" in line or not (status in EXPECTED or (status, code) in EXPECTED_PAIRS):
        found.findings.append(Finding(WRONG, key, f"unexpected answer {status} to {call}: {line}"))


def _note_events(found: Promises, line: Line) -> None:
    for event in line["events"]:
        if found.feed.setdefault(event["id"], event) != event:
            found.findings.append(Finding(CHANGED, event["id"], "the feed showed this event in two forms"))


def _words(answer: Line) -> str:
    names = """answer order_ledger_id total_amount_cents error decline_code refund_id amount_cents items restock
        present_status use remaining cancellation""".split()
    return " ".join(str(answer[name]) for name in names if name in answer)
