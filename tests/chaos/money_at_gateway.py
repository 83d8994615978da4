"""Compare the gateway's own books with ours: payment by payment, refund by refund, and order by order.

The simulated gateway has none: its books are ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stripe_double.store import opened
from tests.chaos.books import Books
from tests.chaos.findings import DOUBLED, WRONG, Finding

FILE = "stripe.sqlite"
# What our requests write into the metadata: the payment's key, which names the order, its id, and the refund's id.
KEY, AUTHORIZATION, REFUND = "holdfast_key", "holdfast_authorization", "holdfast_refund"


class Money(NamedTuple):
    held: int = 0
    captured: int = 0
    refunded: int = 0

    def __str__(self) -> str:
        return f"{self.held} held, {self.captured} captured and {self.refunded} refunded"

    @property
    def paid(self) -> int:
        return self.captured - self.refunded


def about_gateway(file: Path, books: Books) -> Iterator[Finding]:
    """:param file: of the double. Without it there is nothing to compare"""
    if not file.exists():
        return
    with opened(file) as store:
        intents, refunds = store.all("payment_intent"), store.all("refund")
    returned = [each for each in refunds if each["status"] == "succeeded"]
    yield from _payments(_sums(intents, returned, AUTHORIZATION), books)
    yield from _orders(_sums(intents, returned, KEY), books)
    yield from _refunds(returned, books)


def _sums(intents: Iterable[Any], returned: Iterable[Any], name: str) -> dict[str, Money]:
    """The gateway's money, by what the metadata has under this name."""
    refunded: Counter[str] = Counter()
    for refund in returned:
        refunded[refund["payment_intent"]] += refund["amount"]
    sums: dict[str, Money] = defaultdict(Money)
    for each in intents:
        of = each["metadata"].get(name, each["id"])
        more = (each["amount_capturable"], each["amount_received"], refunded[each["id"]])
        sums[of] = Money(*(sum(pair) for pair in zip(sums[of], more, strict=True)))
    return sums


def _payments(theirs: Mapping[str, Money], books: Books) -> Iterator[Finding]:
    ours = {row["id"]: Money(row["held"], row["captured"], row["refunded"]) for row in books.payments}
    for id_ in sorted(theirs.keys() | ours.keys()):
        there, here = theirs.get(id_, Money()), ours.get(id_, Money())
        if there != here:
            kind = DOUBLED if there.paid > here.paid > 0 else WRONG
            yield Finding(kind, id_, f"money at the gateway: {there}, and in our books {here}")
        if there.held:
            yield Finding(WRONG, id_, f"money at the gateway: {there.held} cents are still held")


def _orders(theirs: Mapping[str, Money], books: Books) -> Iterator[Finding]:
    names = {f"authorize:{entry['id']}": entry["key"] for entry in books.entries}
    due = {
        f"authorize:{entry['id']}": entry["total_amount_cents"] - entry["refunded_cents"]
        for entry in books.entries
        if entry["status"] == "COMPLETED"
    }
    for key in sorted(theirs.keys() | due.keys()):
        paid, wanted = theirs.get(key, Money()).paid, due.get(key, 0)
        if paid != wanted:
            kind = DOUBLED if paid > wanted > 0 else WRONG
            yield Finding(kind, names.get(key, key), f"money at the gateway: {paid} cents paid, and {wanted} are due")


def _refunds(returned: Iterable[Any], books: Books) -> Iterator[Finding]:
    ours = {row["id"]: row["amount_cents"] for row in books.returned}
    seen: set[str] = set()
    for refund in returned:
        id_ = refund["metadata"].get(REFUND, refund["id"])
        if id_ in seen:
            yield Finding(DOUBLED, id_, f"money at the gateway: refunded again by {refund['id']}")
        elif ours.get(id_) != refund["amount"]:
            noted = ours.get(id_, "nothing")
            yield Finding(WRONG, id_, f"money at the gateway: {refund['amount']} cents refunded, and we noted {noted}")
        seen.add(id_)
