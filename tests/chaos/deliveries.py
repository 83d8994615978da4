"""Compare the events in the books with the feed that a client followed, and with the webhooks that arrived."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast_client import InvalidWebhook, verify_webhook
from tests.chaos.books import Books, Row
from tests.chaos.findings import CHANGED, LOST, OPEN, WRONG, Finding
from tests.chaos.receiver import ACCEPTED

COMPARED = ("order_ledger_id", "sequence", "status", "refunded_cents")


@dataclass(frozen=True)
class Receipt:
    """A webhook as it arrived. `at`: from `time.time()`; `fate`: how it was answered."""

    at: float
    fate: str
    headers: Mapping[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers.get("webhook-id", "")


def receipts(folder: Path) -> list[Receipt]:
    """All that the receiver wrote down, in order. A line that a kill cut off was never answered."""
    return [
        Receipt(**json.loads(line))
        for file in sorted(folder.glob("received.*.jsonl"))
        for line in file.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def compare_events(
    received: Sequence[Receipt], feed: Mapping[str, Row], secrets: list[str], books: Books
) -> list[Finding]:
    findings = [*_feed(feed, books.events), *_forged(received, secrets), *_bodies(received, feed, books.events)]
    findings += _in_order(received, books.events)
    arrived = {receipt.id for receipt in received}
    for id_, event in books.events.items() if secrets else ():
        if id_ not in arrived:
            findings.append(Finding(LOST, id_, f"{_name(event)} was not received"))
    for row in books.undelivered:
        findings.append(Finding(OPEN, row["id"], f"its delivery is {row['status']}"))
    return findings


def _feed(feed: Mapping[str, Row], events: Mapping[str, Row]) -> Iterator[Finding]:
    for id_ in events.keys() - feed.keys():
        yield Finding(LOST, id_, f"{_name(events[id_])} did not appear in the feed")
    for id_ in feed.keys() - events.keys():
        yield Finding(WRONG, id_, "the feed showed an event that is not in the books")
    for id_ in feed.keys() & events.keys():
        if _differs(feed[id_], events[id_]):
            yield Finding(WRONG, id_, f"the feed showed {feed[id_]}, and the books have {events[id_]}")


def _forged(received: Sequence[Receipt], secrets: list[str]) -> Iterator[Finding]:
    for receipt in received:
        try:
            verify_webhook(receipt.headers, receipt.body.encode("latin-1"), secrets, now=lambda at=receipt.at: at)
        except InvalidWebhook as error:
            yield Finding(WRONG, receipt.id, f"a webhook without a valid signature: {error}")


def _bodies(received: Sequence[Receipt], feed: Mapping[str, Row], events: Mapping[str, Row]) -> Iterator[Finding]:
    """Whatever has an id always has the same body: that of the event in the books, as the feed shows it."""
    bodies: dict[str, str] = {}
    for receipt in received:
        is_new = receipt.id not in bodies
        if bodies.setdefault(receipt.id, receipt.body) != receipt.body:
            yield Finding(CHANGED, receipt.id, "it was received with two bodies")
        elif is_new and receipt.id not in events:
            yield Finding(WRONG, receipt.id, "a webhook was received of an event that is not in the books")
        elif is_new and {"id": receipt.id, **_json(receipt.body)} != feed.get(receipt.id):
            yield Finding(WRONG, receipt.id, f"received was {receipt.body}, and the feed has {feed.get(receipt.id)}")


def _in_order(received: Sequence[Receipt], events: Mapping[str, Row]) -> Iterator[Finding]:
    """Each event of an order is first sent after the one before it was accepted."""
    accepted: dict[str, int] = defaultdict(int)
    for receipt in received:
        if receipt.id not in events:
            continue
        order, sequence = events[receipt.id]["order_ledger_id"], events[receipt.id]["sequence"]
        if sequence > accepted[order] + 1:
            yield Finding(WRONG, order, f"out of order: event {sequence} came when {accepted[order]} were accepted")
        elif receipt.fate == ACCEPTED:
            accepted[order] = max(accepted[order], sequence)


def _differs(shown: Row, event: Row) -> bool:
    data = shown["data"]
    code = (data["failure"] or {}).get("code")
    told = (shown["type"], code, data.get("refund_id"), *(data[name] for name in COMPARED))
    return told != (event["type"], event["failure_code"], event["refund_id"], *(event[name] for name in COMPARED))


def _json(body: str) -> dict[str, Any]:
    try:
        return dict(json.loads(body))
    except ValueError:
        return {}


def _name(event: Row) -> str:
    return f"{event['type']} of order {event['order_ledger_id']} (number {event['sequence']})"


def fates(received: Sequence[Receipt]) -> dict[str, int]:
    return dict(Counter(receipt.fate for receipt in received))


def delays(received: Sequence[Receipt], events: Mapping[str, Row]) -> list[float]:
    """Seconds from each event until it was received for the first time."""
    first: dict[str, float] = {}
    for receipt in received:
        first.setdefault(receipt.id, receipt.at)
    return [at - events[id_]["at"] for id_, at in first.items() if id_ in events]
