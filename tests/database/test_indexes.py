"""After 100,000 finished orders, no statement reads a whole table, and a claim costs no more than after 1,000."""

import json
from functools import partial

import pytest

import edge_api.events
import edge_api.limits
import edge_api.rates
import edge_api.refund_store
import edge_api.store
import edge_api.webhook_statements
import inventory_service.operations
import ops.reconciled_books
import orchestrator.gateway_statements
import orchestrator.refund_statements
import orchestrator.statements
import orders_service.operations
import payments_service.remote_statements
import payments_service.statements
import webhooks.statements
from common.api import idempotency
from domain.states import authorize_key
from tests.database.crowd import DUE, fill, fill_refunds, known_id
from tests.database.statements import statements_of

FEW, MANY = 1_000, 100_000
CLAIMED = 16  # as many as WORKER_THREADS
DUE_INDEX = "ix_order_ledger_due_at"
# One row for each client or unwritable entry, and a few for each client.
DOES_NOT_GROW = {
    "rate_limits",
    "set_aside_entries",
    "set_aside_refunds",
    "deleted_events",
    "webhook_endpoints",
    "webhook_secrets",
}
OF_OPEN_ROWS = {
    DUE_INDEX, "ix_refunds_due_at", "ix_payment_refunds_pending", "ix_payment_refunds_failed",
    "ix_webhook_deliveries_claimed",
}  # fmt: skip
"""The indexes that hold open orders, open, pending and failed refunds and what is in flight only."""
DIGEST = "0" * 32
ORDER, PRODUCT = known_id("order", 5), known_id("product", 5)
KEY = authorize_key(ORDER)
NEW = known_id("new", 1)
REFUND = known_id("refund", 5)
LINES = {"product_ids": [PRODUCT, known_id("product", 6)], "quantities": [1, 2], "prices": [999, 999]}

ENTRIES = json.dumps(
    [{"id": ORDER, "claim_number": 0, "expected_status": "AUTHORIZED", "status": "FAILED", "is_terminal": True}]
)

ENDED = json.dumps(
    [{"id": REFUND, "claim_number": 0, "expected_status": "REQUESTED", "status": "FAILED", "is_terminal": True}]
)

# The names of the parameters of each module's statements, with values that exist in the database.
PARAMETERS = {
    edge_api.store: LINES
    | {"id": ORDER, "client": "shop", "key": "k5", "fingerprint": DIGEST, "user_id": NEW, "email": "a@b.example"}
    | {"total": 2997, "currency": "USD", "request_id": "r", "claimant": "edge", "claim_number": 0, "lease_s": 30}
    | {"abandoned_after_s": 60, "authorization_id": "auth_5", "status": 202, "body": "{}", "limit": 100}
    | {"reference": "r-5", "metadata": "{}"}
    | {"failure_code": "payment_declined", "failure_message": "no", "notify": True, "ids": [ORDER]}
    | {"subjects": ["key:k", "address:a"], "key_subject": "key:k", "address_subject": "", "max_declines": 20},
    edge_api.events: {"client": "shop", "types": ["order.completed", "order.failed"], "xid": "3", "position": 1}
    | {"limit": 20, "order_ledger_id": ORDER, "id": "evt_5"},
    edge_api.limits: {"batch": 1000},
    edge_api.rates: {"subject": "key:k", "limit": 600, "wanted": 10},
    orchestrator.statements: {"id": ORDER, "claim_number": 0, "entries": ENTRIES, "lease_s": 30, "delay_s": 0}
    | {"in_flight": [ORDER], "reason": "why", "ids": [ORDER]}
    | {"renew_below_s": 22, "limit": CLAIMED, "claimant": "worker", "max_claims": 5, "set_aside_s": 300}
    | {"abandoned": "abandoned", "abandoned_message": "the client did not return"},
    edge_api.refund_store: {"id": REFUND, "ids": [REFUND], "client": "shop", "order_ledger_id": ORDER, "key": "k5"}
    | {"amount_cents": 1, "restock": False, "reason": "other", "note": None, "request_id": "r"}
    | {"product_ids": [PRODUCT], "quantities": [1]},
    orchestrator.refund_statements: {"id": REFUND, "claim_number": 0, "entries": ENDED, "lease_s": 30, "delay_s": 0}
    | {"in_flight": [REFUND], "reason": "why", "ids": [REFUND], "renew_below_s": 22, "limit": CLAIMED}
    | {"claimant": "worker", "max_claims": 5, "set_aside_s": 300},
    inventory_service.operations: LINES
    | {"sku": "sku-5", "name": "Widget", "price_cents": 999, "currency": "USD"}
    | {"initial_stock": 1, "product_id": PRODUCT, "is_active": True}
    | {"ids": LINES["product_ids"], "cursor": PRODUCT, "limit": 51, "quantity": 1, "reason": "correction"}
    | {"reference_id": None, "notes": None, "order_id": ORDER, "fingerprint": DIGEST},
    orders_service.operations: LINES
    | {"id": ORDER, "order_ledger_id": ORDER, "user_id": NEW, "total_amount_cents": 999, "currency": "USD"}
    | {"fingerprint": DIGEST},
    webhooks.statements: {"endpoint_id": "we_1", "order_ledger_ids": [ORDER], "limit": 500, "event_ids": ["evt_1"]}
    | {"set_aside": []}
    | {"types": ["order.failed"], "sequences": [1], "xid": "1", "position": 1, "in_flight": [], "claimant": "worker"}
    | {"lease_s": 60, "ids": ["evt_5"], "id": ORDER, "claim_number": 0, "reason": "why", "delay_s": 0}
    | {"after_s": [3600], "disable_after_s": 432_000},
    edge_api.webhook_statements: {"id": "we_1", "client": "shop", "url": "https://shop.example", "event_types": ["*"]}
    | {"description": None, "max_endpoints": 50, "status": "enabled", "number": 2, "secret": "whsec_"}
    | {"message_id": "evt_test", "delivery_id": ORDER, "endpoint_id": "we_1", "order_ledger_ids": [ORDER]}
    | {"ids": [ORDER], "created_at": "2026-01-01T00:00:00Z", "after": ORDER, "until": "2100-01-01T00:00:00Z"}
    | {"limit": 100},
    payments_service.statements: {"id": "auth_5", "key": KEY, "idempotency_key": KEY, "user_id": NEW}
    | {"amount_cents": 1, "currency": "USD", "status": "AUTHORIZED", "decline_code": None, "refuses_capture": False}
    | {"refuses_refund": False, "delays_refund": False, "ids": ["auth_5"], "body": "{}"}
    | {"reason": None, "capture_id": "cap_new", "authorization_id": "auth_5", "gateway": None}
    | {"capture_before": None, "answer_status": 402},
    payments_service.remote_statements: {"key": KEY, "id": "auth_5", "gateway": "stripe", "gateway_id": "pi_5"}
    | {"amount_cents": 1, "currency": "USD", "fingerprint": DIGEST, "authorization_id": "auth_5"}
    | {"limit": 100, "taken": "2026-01-01T00:00:00Z", "ids": ["re_5"]},
    orchestrator.gateway_statements: {"id": REFUND, "ids": [REFUND], "code": "refund_failed_later", "message": "why"}
    | {"reason": "why"},
    ops.reconciled_books: {"after": ORDER, "end": f"{ORDER[:8]}-ffff-ffff-ffff-ffffffffffff", "size": 500}
    | {"keys": [KEY, f"refund:{REFUND}"], "gateway_ids": ["pi_5"], "ids": ["re_5"]},
}


class Recorder:
    """Records statements instead of running them; each pretends to change `found` rows."""

    def __init__(self, found):
        self.found, self.statements = found, []

    def execute(self, sql, **params):
        self.statements.append((sql, params))
        return self.found

    execute_at_the_end = execute

    def one(self, sql, **params):
        self.statements.append((sql, params))
        return {"fingerprint": idempotency.fingerprint_of({}), "status": 200, "body": "{}"}


def statements_of_idempotency():
    """Return the statements that `once` runs for a new key and for a known one."""
    first, again = Recorder(found=1), Recorder(found=0)
    for recorder in (first, again):
        answer = idempotency.StoredResponse.of(200, {})
        fingerprint = idempotency.Fingerprint({})
        idempotency.once(
            recorder, "payment_idempotency_keys", "capture", "k5", fingerprint, lambda answer=answer: answer
        )
    return first.statements + again.statements


# Of another type than elsewhere.
OWN = {claim: {"in_flight": 4} for claim in (webhooks.statements.CLAIM, webhooks.statements.CLAIM_ONE)} | {
    webhooks.statements.SAVE: {"ids": [ORDER], "claim_numbers": [0], "statuses": ["failed"], "retries_in_s": [None]}
    | {"response_statuses": [500], "response_bodies": ["no"], "errors": [None]}
}
CASES = [
    pytest.param(text, parameters | OWN.get(text, {}), id=f"{module.__name__}.{name}")
    for module, parameters in PARAMETERS.items()
    for name, text in statements_of(module).items()
]
CASES += [
    pytest.param(
        edge_api.webhook_statements.page_of_deliveries(status, is_after=is_after),
        PARAMETERS[edge_api.webhook_statements],
        id=f"page_of_deliveries.{status}.{is_after}",
    )
    for status in (None, "pending", "failed", "succeeded")
    for is_after in (False, True)
]
CASES += [
    pytest.param(text, params, id=f"idempotency.once.{number}")
    for number, (text, params) in enumerate(statements_of_idempotency())
]


@pytest.fixture(scope="module")
def crowded(new_migrated_database, connect):
    sql = connect(new_migrated_database())
    fill(sql, finished=MANY)
    fill_refunds(sql)
    return sql


@pytest.fixture(scope="module")
def quiet(new_migrated_database, connect):
    sql = connect(new_migrated_database())
    fill(sql, finished=FEW, elsewhere=FEW)
    return sql


@pytest.fixture(scope="module")
def behind(new_migrated_database, connect):
    """A database in which the orchestrators have not kept up with the orders."""
    sql = connect(new_migrated_database())
    fill(sql, finished=FEW, elsewhere=FEW, due=100 * DUE)
    return sql


def explain(sql, statement, *options, **params):
    """Return the plan as data. With ANALYZE the statement is run and rolled back."""
    sql("BEGIN")
    try:
        found = sql(f"EXPLAIN ({', '.join((*options, 'FORMAT JSON'))}) {statement}", **params)[0][0]
    finally:
        sql("ROLLBACK")
    return (found if isinstance(found, list) else json.loads(found))[0]["Plan"]


def nodes(plan):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def whole_readings(plan):
    """Yield each complete scan of something that grows: a table, or an index without a condition."""
    for node in nodes(plan):
        table = node.get("Relation Name")
        if node["Node Type"] == "Seq Scan" and table not in DOES_NOT_GROW:
            yield f"all of {table}"
        is_index = "Index" in node["Node Type"] and "Scan" in node["Node Type"]
        if (
            is_index
            and "Index Cond" not in node
            and node["Index Name"] not in OF_OPEN_ROWS
            and table not in DOES_NOT_GROW
        ):
            yield f"all of {node['Index Name']}"


@pytest.mark.parametrize(("statement", "params"), CASES)
def test_no_statement_reads_a_whole_table(crowded, statement, params):
    assert list(whole_readings(explain(crowded, statement, **params))) == []


def test_check_detects_a_whole_table(crowded):
    plan = explain(crowded, "SELECT * FROM order_ledger WHERE email = %(email)s", email="x")
    assert list(whole_readings(plan)) == ["all of order_ledger"]


def claim(sql):
    params = PARAMETERS[orchestrator.statements]
    return partial(explain, sql, orchestrator.statements.CLAIM, **params)


def test_claim_uses_the_index_of_due_entries(crowded):
    assert DUE_INDEX in {node.get("Index Name") for node in nodes(claim(crowded)())}


def test_claim_takes_only_the_longest_overdue(crowded):
    plan = claim(crowded)("ANALYZE", "BUFFERS")
    read_by_index = [node for node in nodes(plan) if node.get("Index Name") == DUE_INDEX]
    assert [node["Actual Rows"] for node in read_by_index] == [CLAIMED]
    assert plan["Actual Rows"] == CLAIMED < DUE


def buffers(plan):
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def test_claim_reads_no_more_with_a_hundred_times_the_finished_orders(quiet, crowded):
    # Of three, because one may also clear away what an earlier claim, rolled back, has left in the indexes.
    few, many = (min(buffers(claim(sql)("ANALYZE", "BUFFERS")) for _ in range(3)) for sql in (quiet, crowded))
    # A larger index may be a level deeper: one more block for each claimed entry to find it, to find its lines, and to
    # insert its new version into the six indexes. The 99,000 orders themselves take about 4,000 blocks.
    assert many <= few + 8 * CLAIMED


@pytest.mark.parametrize(
    ("module", "name"),
    [(orchestrator.statements, "CLAIM"), (orchestrator.statements, "NEXT_DUE"), (edge_api.store, "BACKLOG_AGE")],
)
def test_statement_reads_no_more_with_a_hundred_times_the_backlog(quiet, behind, module, name):
    statement, params = getattr(module, name), PARAMETERS[module]
    few, many = (buffers(explain(sql, statement, "ANALYZE", "BUFFERS", **params)) for sql in (quiet, behind))
    assert many <= few + 5 * CLAIMED  # as above: the indexes may be a level deeper
