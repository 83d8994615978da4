"""Compare what clients were told about cancellations with the ends of their orders.

That nothing is left of a cancelled order is checked as for every order that was not sold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.chaos.findings import CHANGED, LOST, OPEN, WRONG, Finding
from tests.chaos.told import TERMINAL, Told

CANCELLED = "cancelled"


def about_cancels(key: str, cancels: Mapping[str, Told], order: Told, entry: dict[str, Any]) -> Iterator[Finding]:
    """:param key: of the order; `cancels`: what was answered under each key of a cancellation"""
    for name, told in cancels.items():
        yield from _answered(name, told, entry)
    is_accepted = any(told.ids() for told in cancels.values())
    is_settled = all(told.final for told in cancels.values())
    if entry["is_cancelled"] and not is_accepted and is_settled:
        yield Finding(WRONG, key, "the ledger has a cancellation that no answer accepted")
    yield from _ended(key, order, entry, is_accepted=is_accepted)


def _answered(name: str, told: Told, entry: dict[str, Any]) -> Iterator[Finding]:
    if not told.final:
        yield Finding(OPEN, name, "the cancellation was never answered")
    if len(told.words) > 1:
        yield Finding(CHANGED, name, "answers differ: " + " / ".join(sorted(told.words)))
    for id_ in told.ids() - {entry["id"]}:
        yield Finding(WRONG, name, f"accepted for {id_}, and the order is {entry['id']}")
    if told.ids() and not entry["is_cancelled"]:
        yield Finding(LOST, name, "the cancellation was accepted, and the ledger does not have it")
    for answer in told.final[-1:]:
        if answer["answer"] == 409:
            yield from _refused(name, answer, entry)


def _refused(name: str, answer: dict[str, Any], entry: dict[str, Any]) -> Iterator[Finding]:
    present = answer.get("present_status")
    if present not in TERMINAL or present != entry["status"]:
        yield Finding(CHANGED, name, f"not cancellable because it is {present}, and the ledger says {entry['status']}")
    if (answer.get("use") == "refunds") != (present == "COMPLETED"):
        yield Finding(WRONG, name, f"not cancellable because it is {present}, and the advice is {answer.get('use')}")


def _ended(key: str, order: Told, entry: dict[str, Any], *, is_accepted: bool) -> Iterator[Finding]:
    status, code = entry["status"], entry["failure_code"]
    if is_accepted and status in TERMINAL and status != "COMPLETED" and code != CANCELLED:
        yield Finding(CHANGED, key, f"a cancellation was accepted, and it is {status} because of {code}")
    if code == CANCELLED and not entry["is_cancelled"]:
        yield Finding(WRONG, key, "it ended as cancelled, and nobody cancelled it")
    end = ("refused" if status == "COMPLETED" else "done") if entry["is_cancelled"] else None
    for look in order.looks:
        seen = (look.get("cancellation") or {}).get("status")
        if look["status"] in TERMINAL and seen != end:
            yield Finding(CHANGED, key, f"the client saw the cancellation as {seen} at the end, and it is {end}")
            return
