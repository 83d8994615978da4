"""All that is left of a run, and what the comparison of it finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.chaos.books import Books, read_books
from tests.chaos.deliveries import Receipt, compare_events, receipts
from tests.chaos.findings import Finding
from tests.chaos.money_at_gateway import FILE, about_gateway
from tests.chaos.operator_promises import FILE as CLICKS
from tests.chaos.operator_promises import Clicks, about_jobs, about_record, with_wishes
from tests.chaos.promises import compare
from tests.chaos.told import Promises, promises


@dataclass(frozen=True)
class Evidence:
    """What clients, the receiver and operators were told, and the books. Each was written without the others."""

    folder: Path
    promised: Promises
    received: list[Receipt]
    clicks: Clicks
    books: Books


def read_evidence(folder: Path, url: str) -> Evidence:
    """:param folder: of the run :param url: of its database"""
    promised, books = promises(folder / "clients.jsonl"), read_books(url)
    return Evidence(folder, promised, receipts(folder), Clicks(folder / CLICKS), books)


def judge(evidence: Evidence) -> list[Finding]:
    """Empty: every promise was kept."""
    promised, books, clicks = evidence.promised, evidence.books, evidence.clicks
    return [
        *compare(with_wishes(promised, clicks, books), books),
        *compare_events(evidence.received, promised.feed, promised.secrets, books),
        *about_gateway(evidence.folder / FILE, books),
        *clicks.judge(),
        *about_record(clicks, books),
        *about_jobs(clicks, books),
    ]
