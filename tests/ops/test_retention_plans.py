"""No statement of `ops retain` or `ops erase` reads a whole table."""

from __future__ import annotations

import pytest

from domain.events import EventType
from ops import erasure, ledger_walk, retained_events, retained_keys, retention
from tests.database.crowd import fill, fill_record, fill_refunds, known_id
from tests.database.test_indexes import explain, whole_readings

MANY = 20_000
IDS = [known_id("order", number) for number in range(1, 201)]
KEYS = [f"authorize:{id_}" for id_ in IDS]
PARAMETERS = {
    "ids": IDS,
    "order_ids": IDS,
    "refund_ids": [known_id("refund", number) for number in range(1, 201)],
    "payment_ids": [f"auth_{number}" for number in range(1, 201)],
    "keys": KEYS,
    **{f"{scope}_keys": KEYS for scope in retention.PAYMENT_KEYS},
    "days": 30,
    "client": "shop",
    "types": list(EventType),
    "body": retention.EXPIRED,
    "code": retention.EXPIRED_CODE,
    "after": known_id("order", 5),
    "before": ledger_walk.LAST,
    "size": 200,
    "user_id": known_id("row", 5),
    "email": "a@b.example",
    "nobody": erasure.NOBODY,
    "no_address": erasure.NO_ADDRESS,
}
OF_KEYS = {"after_first": "shop", "after_second": "refused100", "first": "shop", "second": "refused150"}
STATEMENTS = (
    ledger_walk.PAGE,
    retention.OLD_ENTRIES,
    retention.KEEP_KEYS,
    retention.PAYMENTS,
    *retention.DELETES,
    retention.DELETE_HISTORY,
    retention.DELETE_ATTEMPTS,
    retention.DELETE_OUTBOX,
    retained_events.CLIENTS,
    retained_events.DELETE_OLD,
    retention.DELETE_ANSWERS,
    erasure.FIND,
    erasure.REQUEST,
    *erasure.ELSEWHERE,
    erasure.LOCK,
    *erasure.ERASE,
)
# These have a row for each open erasure, each entry or refund that cannot be written, and each product.
SMALL = {"pending_erasures", "set_aside_entries", "set_aside_refunds", "deleted_reservations"}


@pytest.fixture(scope="module")
def crowded(new_migrated_database, connect):
    sql = connect(new_migrated_database())
    fill(sql, finished=MANY)
    fill_refunds(sql)
    fill_record(sql)
    return sql


def whole_tables(plan):
    return [each for each in whole_readings(plan) if each.removeprefix("all of ") not in SMALL]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_statement_on_orders_reads_a_whole_table(crowded, statement):
    assert whole_tables(explain(crowded, statement, **PARAMETERS)) == []


@pytest.mark.parametrize("keys", retained_keys.WITH_ANSWERS, ids=lambda keys: keys.table)
def test_no_statement_on_keys_reads_a_whole_table(crowded, keys):
    page = retained_keys.Page(keys, OF_KEYS)
    ran = []

    class Plans:
        def execute(self, statement, **parameters):
            ran.append(whole_tables(explain(crowded, statement, **parameters)))
            return 0

    retained_keys.delete_answers(Plans(), page, 30)
    retained_keys.forget(Plans(), page, 400)
    end = retained_keys.PAGE_END.format(**keys._asdict())
    ran.append(whole_tables(explain(crowded, end, **OF_KEYS, size=200)))
    assert ran == [[], [], []]
