"""The judge of operators: what the console told them, one broken promise at a time. And the pages as they read them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from console.inventory import key_of
from console.writes import NotKnown
from tests.chaos.conftest import Judge
from tests.chaos.operator_promises import DETAILS
from tests.chaos.page import Page
from tests.chaos.planted import COMPLETED, RIGHT, Lines
from tests.database.valid_rows import ID, NOW, OTHER_ID

OPERATOR, FORM = "operator.1", "5" * 8
REFUND = "33333333-3333-4333-8333-333333333333"
NOTES, REFUNDS, CANCEL = (f"/orders/{ID}/{action}" for action in ("notes", "refunds", "cancel"))
STOCK = f"/products/{ID}/stock"
JOB = "55555555-5555-4555-8555-555555555555"
LINE = {"at": 5.0, "sent": 4.9, "operator": OPERATOR}


def click(
    path: str, answer: int | None = 303, location: str = f"/orders/{ID}", problem: str = "", **fields: str
) -> dict[str, Any]:
    """A form, as the log has it."""
    told = {"location": location} if answer == 303 else {"problem": problem}
    return {**LINE, "call": "click", "key": path, "fields": {"key": FORM, **fields}, "answer": answer, **told}


def seen(answer: int | None) -> dict[str, Any]:
    """A page, as the log has it."""
    return {**LINE, "call": "see", "key": "/", "fields": None, "answer": answer}


def recorded(action: str, subject: str, **details: str) -> str:
    details[DETAILS.get(action.removesuffix(".refused"), "job_id")] = subject
    values = f"'{OPERATOR}', '{action}', '{json.dumps(details)}'"
    return f"INSERT INTO operator_log (actor, action, details) VALUES ({values});"


NOTED = recorded("order.note", ID)
RESEND, RESENT = "/webhooks/we_1/resend", recorded("webhooks.resend_since", "we_1")
NOT_KNOWN = NotKnown().message
REFUND_ROW = f"""
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id, status,
  due_at)
VALUES ('{REFUND}', '{ID}', '{key_of(OPERATOR, f"{FORM}:refund:{ID}")}', 400, false, 'other', 'r1', 'SUCCEEDED', NULL);
INSERT INTO payment_refunds (id, authorization_id, idempotency_key, amount_cents)
VALUES ('re_1', 'auth_1', 'refund:{REFUND}', 400);
UPDATE payment_authorizations SET refunded_amount_cents = 400;
UPDATE order_ledger SET refunded_cents = 400, refund_reserved_cents = 400;
"""
REFUNDED = REFUND_ROW + recorded("order.refund", ID)
ASKED = {"what": "amount", "amount": "4.00", "reason": "other"}
CANCEL_WISH = "UPDATE order_ledger SET cancel_requested_at = now(), cancel_reason = 'other';"
TOO_LATE = {"cancellation": {"status": "refused"}}
CANCELLED = CANCEL_WISH + recorded("order.cancel", ID)
A_JOB = f"""
INSERT INTO bulk_jobs (id, author, key, fingerprint, action, filter, reason, rate_per_s, state, total, next_number,
  done, ended_at)
VALUES ('{JOB}', '{OPERATOR}', 'k', 'f', 'cancel', '{{}}', 'other', 5, 'done', 1, 2, 1, '{NOW}');
INSERT INTO bulk_job_items (job_id, number, order_ledger_id, result, ended_at)
VALUES ('{JOB}', 1, '{ID}', 'done', '{NOW}');
{CANCEL_WISH}
"""
BY_JOB = recorded("order.cancel", ID, job_id=JOB)
MADE = recorded("job.create", JOB)
A_JOB_CLICK = click("/jobs", location=f"/jobs/{JOB}")
OTHER_JOB_CLICK = click("/jobs", location=f"/jobs/{OTHER_ID}")
LATER = {"sent": 8.0, "at": 8.1}
STOPPED_LATER = A_JOB.replace("'done', 1, 2, 1, '" + NOW + "'", "'running', 1, 2, 1, NULL")

KEPT: dict[str, tuple[Lines, str]] = {
    "pages while the database is down": ([seen(503), seen(200), seen(None)], ""),
    "a note, sent twice": ([click(NOTES, None), click(NOTES), click(NOTES)], NOTED),
    "a note that was refused": ([click(NOTES, 409)], ""),
    "a refund": ([click(REFUNDS, **ASKED)], REFUNDED),
    "a cancellation that came too late": ([click(CANCEL)], CANCELLED),
    "stock that the service refused once": (
        [click(STOCK, 422)], recorded("products.stock", ID) + recorded("products.stock.refused", ID)
    ),
    "a double click, and an outcome that is not known": (
        [click(RESEND, 409, problem=NOT_KNOWN), click(RESEND)], RESENT
    ),
    "an outcome that stays unknown": ([click(RESEND, None), click(RESEND, 409, problem=NOT_KNOWN)], RESENT),
    "a note that was refused, and accepted later": ([click(NOTES, 409), click(NOTES) | LATER], NOTED),
    "a job": ([A_JOB_CLICK, A_JOB_CLICK], A_JOB + BY_JOB + MADE),
    "a job for more orders than were seen": ([click("/jobs", location="/jobs/new?action=retry")], ""),
}  # fmt: skip
BROKEN: dict[str, tuple[Lines, str, str]] = {
    "a page is an error": ([seen(500)], "", "console answered 500"),
    "a link leads nowhere": ([seen(404)], "", "console answered 404"),
    "a form is an error": ([click(NOTES, 500), click(NOTES)], NOTED, "console answered 500"),
    "a form has no answer": ([click(NOTES, None), click(NOTES, 503)], "", "never answered"),
    "accepted, then refused": ([click(NOTES), click(NOTES, 409) | LATER], NOTED, "accepted, and refused later"),
    "not in the record": ([click(NOTES)], "", "told 1, recorded 0"),
    "twice in the record": ([click(NOTES), click(NOTES)], NOTED + NOTED, "told 1, recorded 2"),
    "twice in the record, and one of unknown outcome": (
        [click(RESEND), click(RESEND, 409, problem=NOT_KNOWN)], RESENT + RESENT, "told 1, recorded 2"
    ),
    "in the record of another order": ([click(NOTES)], recorded("order.note", OTHER_ID), "told 1, recorded 0"),
    "in the record, though refused": ([click(NOTES, 409)], NOTED, "told 0, recorded 1"),
    "no such refund": ([click(REFUNDS, **ASKED)], recorded("order.refund", ID), "the books have no such refund"),
    "a refund of another amount": (
        [click(REFUNDS, **ASKED | {"amount": "3.99"})], REFUNDED, "asked for 399 cents, and it is for 400"
    ),
    "a refund, though refused": ([click(REFUNDS, 409, **ASKED)], REFUND_ROW, "which no client asked for"),
    "no such cancellation": ([click(CANCEL)], recorded("order.cancel", ID), "the ledger does not have it"),
    "a cancellation, though refused": (
        [click(CANCEL, 409)], CANCEL_WISH, "that no answer accepted"
    ),
    "a job made twice": ([A_JOB_CLICK, OTHER_JOB_CLICK], A_JOB + BY_JOB + MADE, "led to two places"),
    "a job that is not there": ([A_JOB_CLICK], MADE, "in the books: False"),
    "a job that nobody asked for": ([], A_JOB + BY_JOB + MADE, "promised: False"),
    "a job that is not in the record": ([A_JOB_CLICK], A_JOB + BY_JOB, "recorded 0 times"),
    "a job does not end": ([], STOPPED_LATER + BY_JOB, "the job has not ended"),
    "a job's result is not in the record": ([], A_JOB, "the record has it 0 times"),
    "a job is in the record for another order": (
        [], A_JOB + BY_JOB + recorded("order.cancel", OTHER_ID, job_id=JOB), "which did not act on it"
    ),
    "a job's sum is not that of its results": (
        [], A_JOB + BY_JOB + "DELETE FROM bulk_job_items", "has done 1 orders, and lists 0"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_kept_promise_is_no_finding(judge: Judge, case: str) -> None:
    clicks, sql = KEPT[case]
    seen_by_client = [line | TOO_LATE if line is COMPLETED and CANCEL_WISH in sql else line for line in RIGHT]
    code, output = judge(seen_by_client, sql, clicks=clicks)
    assert code == 0, output


@pytest.mark.parametrize("case", BROKEN)
def test_broken_promise_is_found(judge: Judge, case: str) -> None:
    clicks, sql, told = BROKEN[case]
    code, output = judge(RIGHT, sql, clicks=clicks)
    assert code == 1
    assert told in output


FORMS = """
<a href="/orders">Orders</a><a href="https://elsewhere.example/">Elsewhere</a>
<form action="/orders"><input name="email"></form>
<form method="post" action="/orders/1/refunds"><input type="hidden" name="key" value="k1">
<input type="radio" name="what" value="whole"><input type="radio" name="what" value="items">
<input type="number" name="pieces:p1"><input type="checkbox" name="restock"><textarea name="note"></textarea>
<select name="reason"><option value="other">Other</option><option value="fraud">Fraud</option></select></form>
"""


def test_page_is_read_as_a_browser_shows_it() -> None:
    page = Page(FORMS)
    assert page.links == ["/orders"]
    (form,) = page.forms
    assert form.action == "/orders/1/refunds"
    filled = [form.filled(random.Random(seed)) for seed in range(50)]
    assert {each["what"] for each in filled} == {"whole", "items"}
    assert all(each["key"] == "k1" and each["reason"] in ("other", "fraud") for each in filled)
    assert {each["pieces:p1"] for each in filled if each["what"] == "items"} == {"1"}
    assert {each["pieces:p1"] for each in filled if each["what"] == "whole"} == {""}
