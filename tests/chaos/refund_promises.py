"""Compare what clients were told about refunds with the books of the ledger, the payments and the stock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.chaos.cards import REFUSING_REFUNDS
from tests.chaos.findings import CHANGED, DOUBLED, LOST, OPEN, WRONG, Finding
from tests.chaos.told import Told

TERMINAL = frozenset({"SUCCEEDED", "FAILED"})
Row = dict[str, Any]
ByKey = Mapping[str, Sequence[Row]]


def returned_cents(refunds: Mapping[str, Told], rows: ByKey) -> int:
    """What the refunds that these answers accepted have returned, each once."""
    accepted = {id_: told for told in refunds.values() for id_ in told.ids("refund_id")}
    ended = {row["id"] for key in refunds for row in rows.get(key, ()) if row["status"] == "SUCCEEDED"}
    return sum(int(accepted[id_].final[0]["amount_cents"]) for id_ in ended & accepted.keys())


def about_refunds(refunds: Mapping[str, Told], order: Told, entry: Row, rows: ByKey) -> Iterator[Finding]:
    """:param refunds: what was answered under each key of a refund of the order"""
    for key, told in refunds.items():
        yield from _answered(key, told, rows.get(key, ()))
        for row in rows.get(key, ()):
            yield from _asked(key, told, row, entry)
            yield from _ended(key, told, row, order.begin.get("token", ""))
    yield from _refused(refunds, entry)
    returned = returned_cents(refunds, rows)
    if entry["refunded_cents"] != returned:
        kind = DOUBLED if entry["refunded_cents"] > returned else LOST
        told_of = f"{entry['refunded_cents']} cents are refunded, and the answers add up to {returned}"
        yield Finding(kind, entry["key"], told_of)
    if returned > entry["total_amount_cents"]:
        yield Finding(DOUBLED, entry["key"], f"refunds of {returned} of {entry['total_amount_cents']} cents succeeded")


def unasked(refunds: Mapping[str, Told], rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        if row["key"] not in refunds:
            yield Finding(WRONG, row["key"], f"the books have refund {row['id']}, which no client asked for")


def _answered(key: str, told: Told, rows: Sequence[Row]) -> Iterator[Finding]:
    ids = told.ids("refund_id")
    if not (told.final or told.refusals):
        yield Finding(OPEN, key, "the refund was never answered")
    accepted_at = min((answer["at"] for answer in told.final), default=float("inf"))
    if any(refusal["sent"] > accepted_at for refusal in told.refusals):
        yield Finding(CHANGED, key, "the refund was accepted, and refused later")
    if len(told.words) > 1:
        yield Finding(DOUBLED if len(ids) > 1 else CHANGED, key, "answers differ: " + " / ".join(sorted(told.words)))
    if len(rows) > 1:
        yield Finding(DOUBLED, key, f"{len(rows)} refunds under one key")
    for id_ in ids - {row["id"] for row in rows}:
        yield Finding(LOST, key, f"202 promised refund {id_}, and the books have no such refund under this key")
    if told.refusals and not ids and rows:
        yield Finding(CHANGED, key, f"refused with {told.refusals[-1]['error']}, and the books have it")


def _refused(refunds: Mapping[str, Told], entry: Row) -> Iterator[Finding]:
    """Whether the refusals were right: the order had not ended, or too little was left."""
    accepted = [told.final[0].get("amount_cents", 0) for told in refunds.values() if told.ids("refund_id")]
    left = entry["total_amount_cents"] - sum(accepted)
    for key, told in refunds.items():
        for refusal in told.refusals:
            if refusal["error"] == "order_not_refundable" and refusal.get("present_status") == "COMPLETED":
                yield Finding(WRONG, key, "not refundable, because it is COMPLETED")
            asked = told.begin.get("asked", {}).get("amount_cents")
            if refusal["error"] == "refund_exceeds_remaining" and asked and asked <= left:
                yield Finding(WRONG, key, f"refused {asked} cents, and never less than {left} were left")


def _asked(key: str, told: Told, row: Row, entry: Row) -> Iterator[Finding]:
    """The refund in the books is what was asked for and what was promised."""
    asked = told.begin.get("asked", {})
    if row["order_ledger_id"] != entry["id"]:
        yield Finding(WRONG, key, f"it refunds another order: {row['order_ledger_id']}")
    if asked.get("amount_cents") not in (None, row["amount_cents"]):
        yield Finding(WRONG, key, f"asked for {asked['amount_cents']} cents, and it is for {row['amount_cents']}")
    if asked.get("items") and _pieces(asked["items"]) != row["items"]:
        yield Finding(WRONG, key, f"asked for {_pieces(asked['items'])}, and it is for {row['items']}")
    for answer in told.final[:1]:
        promised = (answer.get("amount_cents"), _pieces(answer.get("items", [])), answer.get("restock"))
        if answer["answer"] == 202 and promised != (row["amount_cents"], row["items"], row["restock"]):
            yield Finding(CHANGED, key, f"promised {promised}, and the books have {row['amount_cents']} {row['items']}")


def _ended(key: str, told: Told, row: Row, token: str) -> Iterator[Finding]:
    status = row["status"]
    if status not in TERMINAL:
        yield Finding(OPEN, key, f"refund still {status}")
        return
    for seen in {look["status"] for look in told.looks if look["status"] in TERMINAL} - {status}:
        yield Finding(CHANGED, key, f"the client saw the refund as {seen}, and the books say {status}")
    if (status == "FAILED") != (token in REFUSING_REFUNDS):
        yield Finding(WRONG, key, f"refund {status} with {token}")
    succeeded = status == "SUCCEEDED"
    due = row["amount_cents"] if succeeded else 0
    if row["returned_cents"] != due:
        kind = DOUBLED if row["returned_cents"] > due > 0 else WRONG
        yield Finding(kind, key, f"refund {status}, and the gateway has returned {row['returned_cents']} not {due}")
    back = row["items"] if succeeded and row["restock"] else {}
    if row["restocked"] != back:
        is_more = any(pieces > back.get(product, 0) for product, pieces in row["restocked"].items())
        text = f"refund {status}, and the stock got {row['restocked']} instead of {back}"
        yield Finding(DOUBLED if is_more and back else WRONG, key, text)


def _pieces(items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {item["product_id"]: item["quantity"] for item in items}
