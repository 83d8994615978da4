"""Compare the answers in the clients' own log with the contents of the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.chaos.books import Books
from tests.chaos.cancel_promises import about_cancels
from tests.chaos.cards import REFUSED
from tests.chaos.findings import CHANGED, DOUBLED, LOST, OPEN, WRONG, Finding
from tests.chaos.plan import GIVES_UP
from tests.chaos.refund_promises import about_refunds, returned_cents, unasked
from tests.chaos.told import TERMINAL, Promises, Told


def compare(promised: Promises, books: Books) -> list[Finding]:
    """Compare promises and books in both directions. Empty: all promises were kept."""
    by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in books.entries:
        by_key[entry["key"]].append(entry)
    findings = [*promised.findings, *_shared(promised.told)]
    cancels, refunds = _by_order(promised.cancels), _by_order(promised.refunds)
    for key, told in promised.told.items():
        entries = by_key.get(key, [])
        findings += _about(key, told, entries)
        for entry in entries:
            findings += _money(key, entry, returned_cents(refunds[key], books.refunds_by_key))
            findings += _outcome(key, told, entry)
            findings += about_cancels(key, cancels[key], told, entry)
            findings += about_refunds(refunds[key], told, entry, books.refunds_by_key)
    findings += unasked(promised.refunds, books.refunds)
    findings += [
        Finding(WRONG, key, "the ledger has an order that no client sent") for key in by_key.keys() - promised.told
    ]
    return findings + [Finding(WRONG, what, "of a customer without a ledger entry") for what in books.strangers]


def _by_order(wishes: dict[str, Told]) -> dict[str, dict[str, Told]]:
    found: dict[str, dict[str, Told]] = defaultdict(dict)
    for key, told in wishes.items():
        found[told.begin.get("order", "")][key] = told
    return found


def _about(key: str, told: Told, entries: list[dict[str, Any]]) -> Iterator[Finding]:
    for id_ in told.ids() - {entry["id"] for entry in entries}:
        yield Finding(LOST, key, f"202 promised {id_}, and the ledger has no such entry under this key")
    if len(entries) > 1:
        yield Finding(DOUBLED, key, f"{len(entries)} ledger entries: {', '.join(entry['id'] for entry in entries)}")
    if len(told.words) > 1:
        kind = DOUBLED if len(told.ids()) > 1 else CHANGED
        yield Finding(kind, key, "answers differ: " + " / ".join(sorted(told.words)))
    if not told.final and told.begin and told.begin["behaviour"] != GIVES_UP:
        yield Finding(OPEN, key, "the client never got an answer")
    yield from _seen(key, told)


def _money(key: str, entry: dict[str, Any], returned: int) -> Iterator[Finding]:
    """:param returned: what the order's refunds have returned, in cents"""
    sold = entry["status"] == "COMPLETED"
    if entry["live_authorizations"] > 1:
        yield Finding(DOUBLED, key, f"{entry['live_authorizations']} authorizations that are not voided")
    if entry["confirmed_orders"] > 1:
        yield Finding(DOUBLED, key, f"{entry['confirmed_orders']} confirmed orders")
    if entry["status"] not in TERMINAL:
        return
    due = entry["total_amount_cents"] - returned if sold else 0
    if entry["paid_cents"] != due:
        kind = DOUBLED if entry["paid_cents"] > due > 0 else WRONG
        yield Finding(kind, key, f"{entry['status']}, and the customer has paid {entry['paid_cents']} instead of {due}")
    if entry["held_cents"]:
        yield Finding(WRONG, key, f"{entry['status']}, and {entry['held_cents']} cents are still held")
    if entry["reserved_pieces"] and not sold:
        yield Finding(WRONG, key, f"{entry['status']}, and {entry['reserved_pieces']} pieces are still reserved")
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
    if begin and status == "COMPLETED" and begin["token"] in REFUSED:
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
        for id_ in each.ids():
            owners[id_].add(key)
    for id_, keys in owners.items():
        if len(keys) > 1:
            yield Finding(LOST, ", ".join(sorted(keys)), f"one entry was promised to all of them: {id_}")
