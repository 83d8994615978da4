"""The judge of events: an order's events arrive, then one broken promise at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.webhooks.secrets import new_secret, signature
from tests.chaos.conftest import Judge
from tests.chaos.planted import RIGHT, Lines
from tests.database.valid_rows import ID, NOW

SECRET = new_secret()
IDS = ("evt_000000000000000000000001", "evt_000000000000000000000002")
TYPES = ("order.authorized", "order.completed")


def event(number: int) -> dict[str, Any]:
    data = {"order_ledger_id": ID, "sequence": number, "status": "COMPLETED", "refunded_cents": 0, "failure": None}
    return {"type": TYPES[number - 1], "timestamp": NOW, "data": data}


def receipt(number: int, id_: str = "", secret: str = SECRET, **changes: Any) -> dict[str, Any]:
    """A webhook that was signed with the secret."""
    id_, body = id_ or IDS[number - 1], json.dumps(event(number) | changes)
    headers = {
        "webhook-id": id_,
        "webhook-timestamp": "1000",
        "webhook-signature": signature([secret], id_, 1000, body.encode()),
    }
    return {"at": 1000.0 + number, "fate": "204", "headers": headers, "body": body}


ENDPOINT = f"""
INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid) VALUES ('we_1', 'shop', 'x', '{{*}}', '7');
INSERT INTO events (id, client, order_ledger_id, sequence, type, status) VALUES
  ('{IDS[0]}', 'shop', '{ID}', 1, '{TYPES[0]}', 'COMPLETED'),
  ('{IDS[1]}', 'shop', '{ID}', 2, '{TYPES[1]}', 'COMPLETED');
INSERT INTO webhook_deliveries (endpoint_id, event_id, message_id, type, order_ledger_id, sequence, status, ended_at)
SELECT 'we_1', id, id, type, order_ledger_id, sequence, 'succeeded', now() FROM events;
"""
FED = [
    *RIGHT,
    {"call": "endpoint", "key": "webhook_endpoints", "answer": 201, "id": "we_1", "secret": SECRET},
    {"call": "feed", "key": "events", "answer": 200, "events": [{"id": IDS[0], **event(1)}]},
    {"call": "feed", "key": "events", "answer": 200, "events": [{"id": IDS[1], **event(2)}]},
]
RECEIVED = [receipt(1), receipt(1), receipt(2)]
FORGED = receipt(2) | {"body": json.dumps(event(2) | {"type": "order.failed"})}
PLANTED_DELIVERIES = {
    "lost: an event was not received": (FED, "", RECEIVED[:2], "lost"),
    "lost: an event is missing in the feed": (FED[:-1], "", RECEIVED, "lost"),
    "changed: two bodies": (FED, "", [*RECEIVED, receipt(2, timestamp="1")], "changed"),
    "changed: the feed shows it in two forms": (
        [*FED, FED[-1] | {"events": [{"id": IDS[1], **event(1)}]}], "", RECEIVED, "changed"
    ),
    "wrong: out of order": (FED, "", [receipt(2), receipt(1)], "out of order"),
    "wrong: before the first one was accepted": (FED, "", [receipt(1) | {"fate": "500"}, receipt(2)], "out of order"),
    "wrong: forged": (FED, "", [receipt(1), FORGED], "without a valid signature"),
    "wrong: signed with another secret": (
        FED, "", [*RECEIVED, receipt(2, secret=new_secret())], "without a valid signature"
    ),
    "wrong: not in the books": (FED, "", [*RECEIVED, receipt(2, "evt_3")], "not in the books"),
    "wrong: another body than in the feed": (FED, "", [receipt(1), receipt(2, timestamp="1")], "wrong"),
    "wrong: another type than in the books": (
        FED, "UPDATE events SET type = 'order.failed' WHERE sequence = 2", RECEIVED, "wrong"
    ),
    "wrong: an event of the feed is not in the books": (
        FED, "DELETE FROM webhook_deliveries; DELETE FROM events WHERE sequence = 2", RECEIVED, "wrong"
    ),
    "open: not delivered": (
        FED, "UPDATE webhook_deliveries SET status = 'pending', ended_at = NULL, due_at = now()", RECEIVED, "open"
    ),
}  # fmt: skip


def test_judge_accepts_deliveries(judge: Judge) -> None:
    assert judge(FED, ENDPOINT, RECEIVED) == (0, "Every promise was kept.")


@pytest.mark.parametrize(
    ("lines", "sql", "received", "words"), PLANTED_DELIVERIES.values(), ids=PLANTED_DELIVERIES.keys()
)
def test_judge_finds_broken_promise_of_a_delivery(
    judge: Judge, lines: Lines, sql: str, received: Lines, words: str
) -> None:
    code, found = judge(lines, ENDPOINT + sql, received)
    assert code == 1
    assert words in found.partition("What")[2], found
