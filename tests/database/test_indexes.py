"""After 100,000 finished orders, no statement reads a whole table, and a claim costs no more than after 1,000."""

import json
from datetime import UTC, datetime
from functools import partial

import pytest

import common.attention.statements
import common.heartbeats.statements
import common.ledger.attempts
import common.ledger.statements
import console.action_statements
import console.attention_statements
import console.endpoint_statements
import console.job_statements
import console.key_statements
import console.listing
import console.operators
import console.order_statements
import console.product_statements
import console.search
import console.session_statements
import console.status_statements
import console.write_statements
import edge_api.events
import edge_api.limits
import edge_api.rates
import edge_api.refund_store
import edge_api.store
import edge_api.webhook_statements
import inventory_service.operations
import ops.reconciled_books
import orchestrator.figures_statements
import orchestrator.gateway_statements
import orchestrator.refund_statements
import orchestrator.statements
import orders_service.operations
import payments_service.remote_statements
import payments_service.statements
import webhooks.alert_statements
import webhooks.statements
from common.api import idempotency
from common.database.sessions import LIMITS
from common.ledger.durations import CLASSES
from console.listing import count_of_orders, fits, page_of_orders
from console.search import BY_PREFIX, BY_UUID, BY_WORDS, THINGS_BY_UUID, THINGS_BY_WORDS
from domain.states import Status, authorize_key
from edge_api.cursor import Position
from tests.database.crowd import DUE, fill, fill_record, fill_refunds, known_id
from tests.database.statements import statements_of

FEW, MANY = 1_000, 100_000
CLAIMED = 16  # as many as WORKER_THREADS
DUE_INDEX = "ix_order_ledger_due_at"
# One row for each client, unwritable entry, process or kind of alert, a few for each client, or what is deleted early.
DOES_NOT_GROW = {
    "rate_limits",
    "set_aside_entries",
    "set_aside_refunds",
    "deleted_events",
    "webhook_endpoints",
    "webhook_secrets",
    "order_totals",
    "process_heartbeats",
    "operator_keys",
    "operator_sessions",
    # Rows of eight days, and a thousand
    "order_minutes",
    "audit_runs",
    "operator_alerts",
    "client_keys",
}
OF_OPEN_ROWS = {
    DUE_INDEX, "ix_refunds_due_at", "ix_payment_refunds_pending", "ix_payment_refunds_failed",
    "ix_webhook_deliveries_claimed", "ix_order_ledger_needs_attention_at", "ix_refunds_needs_attention_at",
    "ix_bulk_jobs_open",
}  # fmt: skip
"""The indexes that hold open orders, open, pending and failed refunds, what is in flight, and what needs a person."""
DIGEST = "0" * 32
ORDER, PRODUCT = known_id("order", 5), known_id("product", 5)
KEY = authorize_key(ORDER)
NEW = known_id("new", 1)
REFUND = known_id("refund", 5)
LINES = {"product_ids": [PRODUCT, known_id("product", 6)], "quantities": [1, 2], "prices": [999, 999]}

TRIED = {"calls": [{"step": "s", "attempt": 1, "began": 1.0, "took_ms": 1, "kind": "refused", "message": "no"}]}
ENTRIES = json.dumps(
    [{"id": ORDER, "claim_number": 0, "expected_status": "AUTHORIZED", "status": "FAILED", "is_terminal": True} | TRIED]
)

ENDED = json.dumps(
    [{"id": REFUND, "claim_number": 0, "expected_status": "REQUESTED", "status": "FAILED", "is_terminal": True} | TRIED]
)

MINUTES = json.dumps([{"minute": 0, "durations": [0] * CLASSES} | dict.fromkeys(common.ledger.statements.COUNTED, 1)])

# The names of the parameters of each module's statements, with values that exist in the database.
PARAMETERS = {
    common.heartbeats.statements: {"instance": "host:1:x", "process": "orchestrator", "host": "host", "pid": 1}
    | {"version": "1", "up_s": 1.0, "is_listening": True, "pools": "{}", "open_breakers": [], "loops": "[]"}
    | {"silent_after_s": 30, "hangs_after_s": 30},
    console.attention_statements: {"after": "1970-01-01T00:00:00Z", "after_id": ORDER, "all": False, "limit": 51},
    console.status_statements: {},
    common.ledger.attempts: {"order_ledger_id": ORDER, "first": 20, "newest": 80},
    edge_api.store: LINES
    | {"id": ORDER, "client": "shop", "key": "k5", "fingerprint": DIGEST, "user_id": NEW, "email": "a@b.example"}
    | {"total": 2997, "currency": "USD", "request_id": "r", "claimant": "edge", "claim_number": 0, "lease_s": 30}
    | {"abandoned_after_s": 60, "authorization_id": "auth_5", "status": 202, "body": "{}", "limit": 100}
    | {"reference": "r-5", "metadata": "{}", "trace_parent": None}
    | {"failure_code": "payment_declined", "failure_message": "no", "notify": True, "ids": [ORDER]}
    | {"subjects": ["key:k", "address:a"], "key_subject": "key:k", "address_subject": "", "max_declines": 20},
    edge_api.events: {"client": "shop", "types": ["order.completed", "order.failed"], "xid": "3", "position": 1}
    | {"limit": 20, "order_ledger_id": ORDER, "id": "evt_5"},
    edge_api.limits: {"batch": 1000},
    edge_api.rates: {"subject": "key:k", "limit": 600, "wanted": 10},
    orchestrator.statements: {"id": ORDER, "claim_number": 0, "entries": ENTRIES, "lease_s": 30, "delay_s": 0}
    | {"in_flight": [ORDER], "reason": "why", "ids": [ORDER], "clock": 2.0}
    | {"renew_below_s": 22, "limit": CLAIMED, "claimant": "worker", "max_claims": 5, "set_aside_s": 300}
    | {"abandoned": "abandoned", "abandoned_message": "the client did not return"},
    edge_api.refund_store: {"id": REFUND, "ids": [REFUND], "client": "shop", "order_ledger_id": ORDER, "key": "k5"}
    | {"amount_cents": 1, "restock": False, "reason": "other", "note": None, "request_id": "r"}
    | {"trace_parent": None}
    | {"product_ids": [PRODUCT], "quantities": [1]},
    orchestrator.refund_statements: {"id": REFUND, "claim_number": 0, "entries": ENDED, "lease_s": 30, "delay_s": 0}
    | {"in_flight": [REFUND], "reason": "why", "ids": [REFUND], "renew_below_s": 22, "limit": CLAIMED, "clock": 2.0}
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
    webhooks.alert_statements: {"kinds": ["stuck"], "subjects": [""], "counts": [1], "sinces": ["2026-01-01T00:00:00Z"]}
    | {"reasons": ["why"], "name": "orders", "after_s": 3600, "lease_s": 60, "kind": "stuck", "subject": ""}
    | {"claim_number": 1, "message_id": "alert_1", "pause_s": 30},
    edge_api.webhook_statements: {"id": "we_1", "client": "shop", "url": "https://shop.example", "event_types": ["*"]}
    | {"description": None, "disabled_by": "disabled by its owner", "max_endpoints": 50, "status": "enabled"}
    | {"number": 2, "secret": "whsec_"}
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
    common.ledger.statements: dict.fromkeys(common.ledger.statements.COUNTED, 1)
    | {"event_id": "evt_0", "limit": 1000, "minutes": MINUTES, "durations": [0] * CLASSES, "duration_s": 1.5}
    | {"xid": "7", "position": 7, "renumbered_after": 7, "since": 1_800_000_000},
    orchestrator.figures_statements: {"types": ["order.completed", "order.failed"]},
    orchestrator.gateway_statements: {"id": REFUND, "ids": [REFUND], "code": "refund_failed_later", "message": "why"}
    | {"reason": "why"},
    console.operators: {"id": "k1", "token_sha256": b"0" * 32, "name": "ada", "role": "viewer", "key_id": "k1"}
    | {"session_s": 60, "notice": None},
    console.order_statements: {"id": ORDER},
    console.product_statements: {"after": "sku-5", "sku": "sku-5", "id": PRODUCT, "ids": LINES["product_ids"]}
    | {"most": 5000, "product_id": PRODUCT, "limit": 51},
    console.endpoint_statements: {"id": "we_1", "client": "shop", "after": "we_1", "limit": 51},
    console.key_statements: {"with_ended": False, "after": "k5", "limit": 101},
    console.session_statements: {"name": "ada", "actor": "grace", "limit": 200},
    console.write_statements: {"client": "console:ada", "key": "k5", "fingerprint": DIGEST, "status": 200}
    | {"body": "{}"},
    common.attention.statements: {"id": ORDER},
    console.action_statements: {"id": ORDER, "author": "ada", "note": "a note", "reason": "why"},
    console.job_statements: {"id": ORDER, "author": "ada", "key": "k5", "fingerprint": DIGEST, "actor": "ada"}
    | {"name": "ada"}
    | {"operator_key_id": None, "action": "retry", "filter": "{}", "reason": "why", "note": None, "rate_per_s": 5}
    | {"before": None, "before_id": NEW, "limit": 100, "after": 5, "worker": "w", "lease_s": 15, "claim_number": 0}
    | {"total": 0, "order_ledger_ids": [NEW], "added": 1, "after_created_at": "2026-01-01T00:00:00Z", "after_id": ORDER}
    | {"number": 5, "result": "done", "code": None, "message": None, "done": 1, "state": "done", "stop_reason": None},
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
OWN = (
    {console.product_statements.ADJUSTMENTS_AFTER: {"created_at": "2100-01-01T00:00:00Z", "after": PRODUCT}}
    | {claim: {"in_flight": 4} for claim in (webhooks.statements.CLAIM, webhooks.statements.CLAIM_ONE)}
    | {
        webhooks.statements.SAVE: {"ids": [ORDER], "claim_numbers": [0], "statuses": ["failed"], "retries_in_s": [None]}
        | {"response_statuses": [500], "response_bodies": ["no"], "errors": [None]}
    }
)
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
# What the console looks for, and by what.
WANTED = {"order": ORDER, "orders service": ORDER, "refund": REFUND, "reservation": known_id("row", 5)} | {
    "delivery": known_id("delivery", 5), "user": known_id("row", 5), "payment": "auth_5", "capture": "cap_5",
    "refund of a payment": "re_4", "event": f"evt_{11:024x}", "reference": "r-5", "idempotency key": "k5",
    "request": "r5", "e-mail": "buyer@shop.example", "request of a refund": "r5", "idempotency key of a refund": "k5",
    "payment at the gateway": "pi_5", "refund at the gateway": "re_g4",
}  # fmt: skip
THINGS = {"product": PRODUCT, "job": ORDER, "webhook endpoint": "we_1"}
BY_FORM = {name: text for kinds in BY_PREFIX.values() for name, text in kinds.items()}
SEARCHES = {**BY_UUID, **BY_FORM, **BY_WORDS, "user": console.search.USER, "e-mail": console.search.E_MAIL}
FILTERS = [
    {}, {"status": [Status.FAILED]}, {"status": [Status.COMPENSATING]}, {"refund_status": "full"},
    {"status": [Status.COMPLETED], "refund_status": "partial"}, {"needs_attention": True}, {"reference": "r-5"},
    {"email": "buyer@shop.example"}, {"user_id": known_id("row", 5)}, {"client_request_id": "k5"}, {"client": "shop"},
    {"created_from": datetime(2000, 1, 1, tzinfo=UTC), "created_before": datetime(2001, 1, 1, tzinfo=UTC)},
    {"cursor": Position(datetime(2100, 1, 1, tzinfo=UTC), ORDER)},
]  # fmt: skip
OF_CONSOLE = [
    pytest.param(text, {"text": WANTED[kind], "clients": ["shop"], "most": 50}, id=f"search.{kind}")
    for kind, text in SEARCHES.items()
]
OF_CONSOLE += [
    pytest.param(text, {"text": THINGS[kind]}, id=f"search.{name}.{kind}")
    for name, kinds in (("id", THINGS_BY_UUID), ("words", THINGS_BY_WORDS))
    for kind, text in kinds.items()
]
OF_CONSOLE += [
    pytest.param(text, parameters | {"limit": 51}, id=f"orders.{filters}")
    for filters in FILTERS
    for text, parameters in [page_of_orders(["shop"], filters)]
]
OF_CONSOLE += [
    pytest.param(console.search.FOUND, {"ids": [ORDER]}, id="search.found"),
    pytest.param(console.order_statements.ORDER, {"id": ORDER}, id="order"),
    pytest.param(console.status_statements.SNAPSHOT, {}, id="overview"),
    pytest.param(console.attention_statements.COUNT, {}, id="attention.count"),
    pytest.param(console.attention_statements.ATTENTION, PARAMETERS[console.attention_statements], id="attention"),
]
CASES += OF_CONSOLE
# Its first step takes the first entry of an index, without a condition.
CLIENTS = pytest.param(console.listing.CLIENTS, {"max_clients": 1000}, id="clients")
# What a job counts, and what it looks at again before it acts on an order.
COUNTED = 1_000
OF_JOBS = {
    "nothing": {}, "client": {"client": "shop"}, "email": {"email": "a@b.example"},
    "attention": {"needs_attention": True},
    "states": {"status": {Status.AUTHORIZED, Status.FAILED, Status.COMPLETED}}, "refunded": {"refund_status": "full"},
}  # fmt: skip
CASES += [
    pytest.param(text, params | {"id": ORDER}, id=f"jobs.{name}.fits")
    for name, (text, params) in ((name, fits(query)) for name, query in OF_JOBS.items())
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
    fill_record(sql)
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


@pytest.fixture
def as_services_plan(crowded):
    """The planner's settings of every session of a service."""
    named = [name for name in LIMITS if name.startswith("enable_")]
    crowded("; ".join(f"SET {name} = {LIMITS[name]}" for name in named))
    yield crowded
    crowded("; ".join(f"RESET {name}" for name in named))


@pytest.mark.parametrize("name", OF_JOBS)
def test_count_for_a_job_looks_at_no_more_orders_than_it_counts(as_services_plan, name):
    statement, params = count_of_orders(["shop"], OF_JOBS[name])
    plan = explain(as_services_plan, statement, "ANALYZE", **params, limit=COUNTED)
    assert list(whole_readings(plan)) == []
    # Of each kind of status so many, and their rows by their ids, one at a time.
    assert all(node["Actual Rows"] * node["Actual Loops"] <= 3 * COUNTED for node in nodes(plan))


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


@pytest.mark.parametrize(("statement", "params"), [*OF_CONSOLE, CLIENTS])
def test_console_reads_few_blocks(crowded, statement, params):
    """A page of 51 orders takes four blocks for each: three of the index, and one of the table."""
    assert buffers(explain(crowded, statement, "ANALYZE", "BUFFERS", **params)) < 1000
