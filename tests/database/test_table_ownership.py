"""The rights in common/schema/roles.py suffice for every statement of each process.

tests/security/test_roles.py shows that they allow nothing else.
"""

import json
import threading
import uuid
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace

import psycopg2
import pytest
from sqlalchemy import Table

import common.heartbeats.statements
import common.ledger.statements
import edge_api.events
import edge_api.limits
import edge_api.notifier
import edge_api.rates
import edge_api.refund_store
import edge_api.store
import edge_api.webhook_statements
import edge_api.webhooks
import inventory_service.operations as inventory
import orchestrator.figures_statements
import orchestrator.refund_statements
import orchestrator.statements
import orchestrator.store
import orders_service.operations as orders
import payments_service.remote_statements
import payments_service.statements
import webhooks.alert_statements
import webhooks.alert_store
import webhooks.statements
import webhooks.store
from common.api.errors import ApiError, Busy
from common.api.idempotency import StoredResponse
from common.calls.client import Attempt
from common.database.database import Database, Transaction
from common.database.errors import DatabaseUnavailable
from common.heartbeats.heartbeat import Heartbeat, Pool, State, read
from common.ledger import reading, sums
from common.process.progress import Progress
from common.schema.accounts import address_of
from common.schema.roles import RIGHTS, role_of
from common.schema.tables import metadata
from domain.refunds import RefundStatus
from domain.states import Status
from edge_api import commands
from edge_api.commands import Command
from orchestrator.entries import REFUNDS
from orchestrator.figures import Figures
from payments_service.changes import Messages, RemoteChanges
from payments_service.gateways.seam import Hint, No, Pending, Yes
from payments_service.gateways.simulated import SimulatedGateway
from payments_service.operations import AtOnce, settle_refunds, show
from payments_service.remote import InSteps
from tests.database.statements import statements_of
from tests.database.test_identity import AUTHORIZE, PLACE
from tests.other_session import other_session
from tests.waiting import eventually
from tests.webhooks.conftest import EVENT, ORDER
from webhooks.delivery import Answer

MODELS = {
    "edge_api": ("models", "event_models"),
    "webhooks": ("models", "alert_models"),
    **dict.fromkeys(
        ("inventory_service", "orders_service", "payments_service", "orchestrator", "console", "ops"), ("models",)
    ),
}
TABLES = {
    service: {
        each.name
        for module in modules
        for each in vars(import_module(f"{service}.{module}")).values()
        if isinstance(each, Table)
    }
    for service, modules in MODELS.items()
}


@pytest.fixture(scope="module")
def roles(new_migrated_database):
    """Name of a process → the address with its role, in the same database."""
    url = new_migrated_database()
    return {name: address_of(url, role_of(name)) for name in RIGHTS} | {"owner": url}


@pytest.fixture
def ran(monkeypatch):
    """All statements that were run, as written in the code."""
    statements = set()

    def note(method):
        def noted(self, sql, **params):
            statements.add(sql)
            return method(self, sql, **params)

        return noted

    for name in ("all", "execute", "execute_at_the_end"):
        monkeypatch.setattr(Transaction, name, note(getattr(Transaction, name)))
    return statements


@pytest.fixture
def database(roles):
    """`database("orders_service")`: a connection with that service's role."""
    opened = []

    def open_(service):
        opened.append(Database(roles[service], name=service, size=2))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def never_ran(module, ran):
    return {name for name, text in statements_of(module).items() if text not in ran}


@contextmanager
def locked(url, product_id):
    """Another transaction holds this product."""
    with other_session(url) as cursor:
        cursor.execute("SELECT 1 FROM products WHERE id = %s FOR UPDATE", (product_id,))
        yield


def new_id():
    return str(uuid.uuid4())


def test_every_table_has_one_owner():
    assert sorted(table for tables in TABLES.values() for table in tables) == sorted(metadata.tables)


def test_inventory_service_needs_only_its_own_tables(database, ran):
    service_database = database("inventory_service")
    product = inventory.create_product(
        service_database, {"sku": "s", "name": "W", "price_cents": 9, "initial_stock": 5}, "USD"
    )["id"]
    with pytest.raises(ApiError):
        inventory.create_product(
            service_database, {"sku": "s", "name": "W", "price_cents": 9, "initial_stock": 5}, "USD"
        )
    inventory.products_by_ids(service_database, [product])
    inventory.page_of_products(service_database)
    inventory.change_product(service_database, product, {"price_cents": 8})
    inventory.availability(service_database, product)
    inventory.change_product(service_database, product, {"price_cents": 8})
    change = {"quantity": 1, "reason": "correction"}
    for _ in range(2):
        inventory.change_stock(service_database, product, "k", change, change)
    order, line = new_id(), {"product_id": product, "quantity": 1}
    for _ in range(2):
        inventory.reserve(service_database, order, [line])
    with locked(service_database.url, product):
        for blocked in (
            lambda: inventory.reserve(service_database, new_id(), [line]),
            lambda: inventory.release(service_database, order),
        ):
            with pytest.raises(Busy):
                blocked()
    inventory.release(service_database, order)
    assert never_ran(inventory, ran) == set()


def test_orders_service_needs_only_its_own_tables(database, ran):
    service_database = database("orders_service")
    line = {"product_id": new_id(), "quantity": 1, "unit_price_cents": 9}
    new = {"order_ledger_id": new_id(), "user_id": new_id(), "total_amount_cents": 9, "currency": "USD"}
    for _ in range(2):
        order = orders.create(service_database, new | {"items": [line]}, new | {"items": [line]})[0]
    orders.confirm(service_database, order["id"])
    with pytest.raises(ApiError):
        orders.cancel(service_database, new_id())
    assert never_ran(orders, ran) == set()


def test_payments_service_needs_only_its_own_tables(database, ran):
    service_database = database("payments_service")
    at_once = AtOnce(service_database, SimulatedGateway())

    def authorize(key, token="tok_visa"):
        money = {"user_id": new_id(), "amount_cents": 9, "currency": "USD"}
        body = money | {"payment_token": token, "idempotency_key": key}
        at_once.authorize(body, body)
        return service_database.one("SELECT id FROM payment_authorizations WHERE idempotency_key = %(key)s", key=key)[
            "id"
        ]

    captured, delayed, voided = authorize("a1"), authorize("a3", "pending_refund"), authorize("a2")
    rest = {"amount_cents": None, "reason": None}
    at_once.capture(captured, {"idempotency_key": "c", **rest}, {"idempotency_key": "c"})
    at_once.refund(captured, {"idempotency_key": "r", **rest}, {"idempotency_key": "r"})
    show(service_database, captured)
    at_once.capture(delayed, {"idempotency_key": "c3", **rest}, {"idempotency_key": "c3"})
    at_once.refund(delayed, {"idempotency_key": "r3", **rest}, {"idempotency_key": "r3"})
    assert settle_refunds(service_database) == {"settled_count": 1}
    for number, each in enumerate((voided, f"auth_{'0' * 24}")):
        at_once.void(each, {"idempotency_key": f"v{number}", **rest}, {"idempotency_key": f"v{number}"})
    for key in ("a2", "never seen"):
        sent = {"idempotency_key": f"v {key}", "authorization_key": key}
        at_once.void_by_key(sent | rest, sent)
    assert never_ran(payments_service.statements, ran) == OF_A_REMOTE_GATEWAY


OF_A_REMOTE_GATEWAY = {"FAIL_REFUND", "TAKE_BACK_REFUNDED_AMOUNT", "REFUSE_ANSWER"}


class Obliging:
    """A remote gateway that answers yes to everything, and leaves a refund pending first."""

    name = "obliging"
    refunds = iter((Pending("re_g1"), Yes({"gateway_id": "re_g1"})))
    states = iter((Yes(), No()))

    def open(self, payment):
        return Yes({"gateway_id": "pi_1"})

    def authorize(self, payment, token):
        return Yes()

    def capture(self, payment, amount_cents):
        return Yes()

    def void(self, payment):
        return Yes()

    def refund(self, payment, refund):
        return next(self.refunds)

    def refund_state(self, payment, refund):
        return next(self.states)


class Inbox:
    """Takes every message for one about that refund."""

    def read(self, body, signature):
        return Hint("re_g1")


def test_payments_service_needs_only_its_own_tables_with_a_remote_gateway(database, ran):
    payments, gateway = database("payments_service"), Obliging()
    in_steps, changes = InSteps(payments, gateway), RemoteChanges(payments, gateway)
    messages = Messages(payments, Inbox())
    body = {
        "user_id": new_id(),
        "amount_cents": 9,
        "currency": "USD",
        "payment_token": "t",
        "idempotency_key": "remote a",
    }
    rest = {"amount_cents": None, "reason": None}
    authorization_id = json.loads(in_steps.authorize(body, body).body)["authorization_id"]
    in_steps.capture(authorization_id, {"idempotency_key": "remote c", **rest}, {"idempotency_key": "remote c"})
    for _ in range(2):
        in_steps.refund(authorization_id, {"idempotency_key": "remote r", **rest}, {"idempotency_key": "remote r"})
    for failed in (0, 1):
        assert messages.take(b"", "")
        assert len(changes.since([])["failed_refunds"]) == failed
    changes.since(["re_1"])
    void = {"idempotency_key": "remote v", "authorization_key": "remote b"}
    in_steps.void_by_key(void | rest, void)
    with pytest.raises(ApiError):
        in_steps.authorize(body | {"idempotency_key": "remote b"}, body | {"idempotency_key": "remote b"})
    assert never_ran(payments_service.remote_statements, ran) == set()
    assert never_ran(payments_service.statements, ran) & OF_A_REMOTE_GATEWAY == set()


ENTRY = {"fingerprint": "f", "user_id": new_id(), "email": "a@b.example", "currency": "USD", "total": 9} | {
    "request_id": "r", "product_ids": [new_id()], "quantities": [1], "reference": None, "metadata": None, "prices": [9]
}  # fmt: skip


def authorized_entry(store):
    entry = store.insert_entry("shop", new_id(), ENTRY)
    assert store.authorized(entry, "auth_1", StoredResponse.of(202, {}))
    return entry


COMPLETED = "99999999-9999-4999-8999-999999999999"


def complete(url):
    """An order that can be refunded, written by the owner of the tables."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents,"
            " currency, request_id, status, payment_authorization_id) VALUES (%s, 'shop', 'done', 'f', %s, '',"
            " 90, 'USD', 'r', 'COMPLETED', 'auth_9') ON CONFLICT DO NOTHING",
            (COMPLETED, COMPLETED),
        )
        cursor.execute(
            "INSERT INTO order_ledger_items VALUES (%s, 1, %s, 10, 9) ON CONFLICT DO NOTHING", (COMPLETED, COMPLETED)
        )


def refund_of(database, command):
    def work(tx):
        order = edge_api.refund_store.lock_order(tx, "shop", COMPLETED)
        items = [{"product_id": COMPLETED, "quantity": 1}]
        share = {"order_ledger_id": order["id"], "amount_cents": 9, "items": items, "restock": True}
        edge_api.refund_store.insert(tx, command.key, {**share, "reason": "other", "note": None})
        return StoredResponse.of(202, {})

    return commands.run(database, command, work)


def edge_store(database):
    return edge_api.store.Store(database, 30, 60, edge_api.notifier.Notifier(database, 0))


def test_edge_api_needs_only_its_own_tables(database, ran, roles):
    store = edge_store(database("edge_api"))
    authorized_entry(store)
    entry = store.insert_entry("shop", "k", ENTRY)
    store.let_go(entry)
    entry = store.take_over(entry)
    assert store.refused(entry, "payment_declined", "no", StoredResponse.of(402, {}), edge_api.store.Payers("key:k"))
    store.answer_abandoned(entry, StoredResponse.of(402, {}))
    assert store.find("shop", "k")["status"] == "AUTHORIZATION_FAILED"
    assert store.look("shop", "new", edge_api.store.Payers("key:k"), 20)["locked_for_s"] is None
    store.answer_abandoned(entry, StoredResponse.of(402, {}))
    assert store.get("shop", entry["id"])["timeline"]
    assert store.page("shop", {"email": "a@b.example"}, 1)
    assert store.terminal([entry["id"]]) == [entry["id"]]
    store.insert_refused("shop", "unknown", "f", StoredResponse.of(422, {}))
    assert store.find("shop", "unknown")["id"] is None
    assert store.take_token("shop", 10)
    store.give_token_back("shop", 10)
    assert store.backlog_age_s() == 0
    assert never_ran(edge_api.store, ran) == set()
    complete(roles["owner"])
    command = Command("shop", "k", "refund", COMPLETED, {})
    for _ in range(2):
        refund_of(store.database, command)
    (refund,) = edge_api.refund_store.of_order(store.database, COMPLETED)
    assert edge_api.refund_store.get(store.database, "shop", refund["refund_id"]) == refund
    assert edge_api.refund_store.terminal(store.database, [refund["refund_id"]]) == []
    store.database.transact(lambda tx: edge_api.refund_store.find_order(tx, "shop", COMPLETED))
    assert never_ran(edge_api.refund_store, ran) == set()
    store.database.one(edge_api.limits.EXPIRE, batch=10)
    edge_api.rates.Rate(store.database, "requests", 10).take("key:k")
    assert never_ran(edge_api.limits, ran) == never_ran(edge_api.rates, ran) == set()


def test_edge_api_may_read_events_and_no_more(database, ran):
    edge = SimpleNamespace(store=edge_store(database("edge_api")))
    with closing(psycopg2.connect(edge.store.database.url)) as connection, connection.cursor() as cursor:
        cursor.execute(PLACE)
        cursor.execute(AUTHORIZE, {"id": cursor.fetchone()[0]})  # the trigger writes, with the owner's rights
        connection.commit()
    event = edge_api.events.list_events(edge, "shop", {"limit": 100})["events"][-1]
    query = {"limit": 100, "after": event["id"], "order_ledger_id": event["data"]["order_ledger_id"]}
    assert edge_api.events.list_events(edge, "shop", query)["events"] == []
    assert never_ran(edge_api.events, ran) == {"OF_CLIENT", "OF_ORDER"}  # parts of PAGE_OF_…


CLAIM = {"claimant": "me", "lease_s": 30, "max_claims": 5, "set_aside_s": 300} | {
    "abandoned": "abandoned", "abandoned_message": "the client did not return"
}  # fmt: skip


ATTEMPTS = (Attempt("unanswered", 0.0, 1, None, "ReadTimeout", "orders: ReadTimeout"),)


def test_orchestrator_needs_only_its_own_tables(database, ran):
    for _ in range(2):
        authorized_entry(edge_store(database("edge_api")))
    ran.clear()
    store = orchestrator.store.Store(database("orchestrator"), "me", 30)
    finished, released, *_ = store.claim(10)
    store.release(released)
    for entry in store.database.all(orchestrator.statements.DUE, limit=1):
        store.database.all(orchestrator.statements.CLAIM_ONE, **CLAIM, id=entry["id"])
    store.release_stranded(in_flight=[finished.id])
    store.set_aside(released, ValueError("refused"))
    for statement in (orchestrator.statements.SET_ASIDE_UNWRITABLE, orchestrator.statements.IS_WRITABLE_AGAIN):
        store.database.all(statement, id=released.id, ids=[released.id], claim_number=3, reason="r", set_aside_s=0)
    assert store.next_due_in() is not None
    waiting = replace(finished, retry_in_s=0.0, attempts=ATTEMPTS)
    assert store.save(finished, waiting)
    (now,) = [saga for saga in store.claim(10) if saga.id == finished.id]
    for status in (Status.ORDER_CREATED, Status.INVENTORY_RESERVED, Status.PAYMENT_CAPTURED, Status.COMPLETED):
        was, now = now, replace(now, status=status)
        assert store.save(was, now)
    assert never_ran(orchestrator.statements, ran) == set()


@pytest.mark.parametrize("process", ["orchestrator", "webhooks", "console"])
def test_heartbeat_needs_only_its_own_table(database, roles, ran, process):
    state = State(pools={"all": Pool(0, 1)}, loops={"loop": Progress(1)})
    heartbeat = Heartbeat(roles[process], process, f"host:1:{process}", lambda: state, threading.Event())
    for _ in range(2):
        heartbeat.beat()
    assert [row["process"] for row in read(database(process))] == [process]
    heartbeat.end()
    assert read(database(process)) == []
    assert never_ran(common.heartbeats.statements, ran) == set()


def test_orchestrator_counts_orders_and_reads_the_figures(database, ran, connect, roles):
    owner = connect(roles["owner"])
    authorized_entry(edge_store(database("edge_api")))
    ran.clear()
    own = database("orchestrator")
    eventually(lambda: sums.count_next(own))
    sums.delete_old(own)
    assert reading.last_hour(own)
    assert list(Figures(own).collect())
    owner("UPDATE order_totals SET renumbered_after = 0, event_id = ''")
    assert sums.count_next(own)
    assert never_ran(common.ledger.statements, ran) == never_ran(orchestrator.figures_statements, ran) == set()


def endpoint_of_webhooks(database):
    endpoints = edge_api.webhooks.Endpoints(database, only_https=False)
    return endpoints, endpoints.create("till", {"url": "https://shop.example", "event_types": ["*"]})["id"]


def test_edge_api_needs_only_its_own_tables_for_webhooks(database, ran):
    endpoints, id_ = endpoint_of_webhooks(database("edge_api"))
    endpoints.change("till", id_, {"status": "disabled"})
    endpoints.rotate_secret("till", id_)
    delivery = endpoints.test("till", id_)["id"]
    endpoints.resend("till", id_, delivery)
    endpoints.deliveries("till", id_, {"limit": 1, "status": "pending"})
    for only_failed in (True, False):
        endpoints.resend_since("till", id_, datetime(2026, 1, 1, tzinfo=UTC), only_failed)
    endpoints.database.all(edge_api.webhook_statements.SCHEDULE, endpoint_id=id_, order_ledger_ids=[new_id()])
    endpoints.database.all(edge_api.webhook_statements.RESEND_EACH, ids=[delivery])
    assert len(endpoints.all("till")) == 1
    endpoints.delete("till", id_)
    assert never_ran(edge_api.webhook_statements, ran) == set()


def test_webhooks_needs_only_its_own_tables(database, ran, connect, roles):
    _, id_ = endpoint_of_webhooks(database("edge_api"))
    owner, order = connect(address_of(roles["webhooks"], "holdfast")), new_id()
    owner(ORDER, id=order, client="till")
    owner(EVENT, id=f"evt_{order}", client="till", order=order, sequence=1, type="order.authorized")
    ran.clear()
    store = webhooks.store.Store(database("webhooks"), "me", 4, 60)
    assert store.fan_out()
    assert store.due()
    assert store.claim(id_, 4)
    store.release_stranded([])
    owner("UPDATE webhook_deliveries SET due_at = now() WHERE endpoint_id = %(id)s", id=id_)
    (row,) = store.database.all(webhooks.statements.DUE_DELIVERIES, endpoint_id=id_, limit=1, set_aside=[])
    (delivery,) = store.turn(id_, [], 1, only=row["id"]).claimed
    assert store.save(delivery, Answer(410))
    store.database.all(webhooks.statements.SUCCEEDED, endpoint_id=id_)
    store.look_after_endpoints()
    assert never_ran(webhooks.statements, ran) == set()


def test_webhooks_tells_operators_with_its_own_rights(database, ran, connect, roles):
    owner, order = connect(address_of(roles["webhooks"], "holdfast")), new_id()
    owner(ORDER, id=order, client="till")
    owner("UPDATE order_ledger SET needs_attention_at = now(), attention_reason = 'why' WHERE id = %(id)s", id=order)
    store = webhooks.alert_store.AlertStore(database("webhooks"), 60)
    ran.clear()
    store.look()
    while message := store.claim():
        store.save_failed(message)
        owner("UPDATE operator_alerts SET due_at = now() WHERE message_id = %(id)s", id=message.id)
        if (again := store.claim()) is not None:
            store.save_told(again)
    assert owner("SELECT message_id FROM operator_alerts WHERE kind = 'attention'") == [(None,)]
    assert never_ran(webhooks.alert_statements, ran) == set()


def test_orchestrator_carries_out_refunds_without_rights_on_the_sums(database, ran, roles):
    edge = database("edge_api")
    complete(roles["owner"])
    for key in ("one", "two"):
        refund_of(edge, Command("shop", key, "refund", COMPLETED, {}))
    ran.clear()
    store = orchestrator.store.Store(database("orchestrator"), "me", 30, REFUNDS)
    finished, released = store.claim(10)[:2]
    store.release(released)
    for refund in store.database.all(orchestrator.refund_statements.DUE, limit=1):
        store.database.all(orchestrator.refund_statements.CLAIM_ONE, **CLAIM, id=refund["id"])
    store.release_stranded(in_flight=[finished.id])
    store.set_aside(released, ValueError("refused"))
    for statement in (
        orchestrator.refund_statements.SET_ASIDE_UNWRITABLE,
        orchestrator.refund_statements.IS_WRITABLE_AGAIN,
    ):
        store.database.all(statement, id=released.id, ids=[released.id], claim_number=3, reason="r", set_aside_s=0)
    assert store.next_due_in() is not None
    waiting = replace(finished, retry_in_s=0.0, attempts=ATTEMPTS)
    assert store.save(finished, waiting)
    (now,) = [saga for saga in store.claim(10) if saga.id == finished.id]
    for status in RefundStatus.PAYMENT_REFUNDED, RefundStatus.RESTOCKED, RefundStatus.SUCCEEDED:
        was, now = now, replace(now, status=status)
        assert store.save(was, now)
    # A right that is missing may be one that a migration is about to give, so the database counts as unavailable.
    with pytest.raises(DatabaseUnavailable) as refused:
        store.database.one("UPDATE order_ledger SET refunded_cents = 0")
    assert isinstance(refused.value.__cause__, psycopg2.errors.InsufficientPrivilege)
    assert never_ran(orchestrator.refund_statements, ran) == set()
