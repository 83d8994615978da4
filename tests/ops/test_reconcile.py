"""`ops reconcile` over the whole system and the double: each kind of difference is planted, and found."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe as library

from common.schema.accounts import address_of
from common.schema.roles import AUDIT, role_of
from domain.ids import new_order_ledger_id
from domain.states import authorize_key
from ops import __main__ as ops
from ops import reconcile, reconciled_books, reconciliation
from payments_service.gateways import stripe_lists
from stripe_double import cards
from stripe_double.store import opened
from tests import credentials
from tests.audit.small_world import SmallWorld
from tests.payments_service.stripe_worlds import KEY, Double, double

CARD = "pm_card_visa"
HOUR = timedelta(hours=1)
REPLICA = "SET session_replication_role = replica"
"""Lets the owner of the tables write what their triggers refuse."""


class Shop:
    """The complete system with the double in Stripe's place, and the command."""

    def __init__(self, world: SmallWorld, stripe: Double, url: str, out: pytest.CaptureFixture[str]) -> None:
        self.world, self.stripe, self._url, self._out = world, stripe, url, out
        self.api = library.StripeClient(KEY, base_addresses={"api": stripe.url}, max_network_retries=0).v1
        self.start = datetime.now(UTC) - HOUR / 2
        self._product = ""

    def sold(self, token: str = CARD) -> dict[str, Any]:
        return self.ordered(token, work=True)

    def ordered(self, token: str = CARD, *, work: bool = False) -> dict[str, Any]:
        """An order. :returns: the row of its payment at the gateway"""
        self._product = self._product or self.world.product(stock=1000)
        answer = self.world.order(self._product, token=token)
        if work:
            self.world.work()
        names = ("authorization_key", "authorization_id", "gateway_id")
        rows = self.world.sql(f"SELECT {', '.join(names)} FROM gateway_holds ORDER BY created_at DESC LIMIT 1")
        return {**dict(zip(names, rows[0], strict=True)), "order_ledger_id": answer.json.get("order_ledger_id")}

    def refunded(self, token: str = CARD, amount_cents: int = 1000) -> dict[str, Any]:
        """An order with a refund of a part of it. :returns: the refund's ids"""
        order = self.sold(token)
        refund_id = self.world.refund(order["order_ledger_id"], amount_cents=amount_cents).json["refund_id"]
        self.world.run_once()
        (listed,) = self.api.refunds.list({"payment_intent": order["gateway_id"]}).data
        return {**order, "refund_id": refund_id, "refund_gateway_id": listed.id}

    def plant(self, id_: str, **fields: Any) -> None:
        """Change an object at the gateway behind our back."""
        with opened(self.stripe.file) as store:
            store.save((store.find(id_) or {}) | fields)

    def lose(self, id_: str) -> None:
        with closing(sqlite3.connect(self.stripe.file)) as connection, connection:
            connection.execute("DELETE FROM objects WHERE id = ?", (id_,))

    def books(self, statement: str, **params: Any) -> None:
        self.world.sql(f"{REPLICA}; {statement}; RESET session_replication_role", **params)

    def reconcile(
        self, start: datetime | None = None, end: datetime | None = None, form: str = "json"
    ) -> tuple[int, dict[str, Any]]:
        """:returns: the exit code and the report"""
        self._out.readouterr()
        code = reconcile.run(self.environ, start or self.start, end, form, pauses_s=(0, 0))
        self.said = self._out.readouterr()
        return code, json.loads(self.said.out) if form == "json" else {}

    @property
    def environ(self) -> dict[str, str]:
        own = {"AUDIT_DATABASE_URL": address_of(self._url, role_of(AUDIT)), "APP_ENV": "test"}
        return {"DATABASE_URL": self._url, **own, **credentials.SETTINGS}

    def differences(self) -> list[tuple[str, str]]:
        """What is different, and how. The exit code must fit."""
        code, report = self.reconcile()
        found = [(each["about"], each["kind"]) for each in report["differences"]]
        assert (code, report["equal"], report["complete"]) == (1 if found else 0, not found, True)
        return found


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    with double(tmp_path_factory.mktemp("stripe")) as running:
        yield running


@pytest.fixture(scope="module")
def stripe_world(migrated_url: str, stripe: Double) -> Iterator[SmallWorld]:
    settings = {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
    with closing(SmallWorld(migrated_url, **settings)) as world:
        yield world


@pytest.fixture
def shop(stripe_world: SmallWorld, stripe: Double, url: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Shop]:
    stripe_world.reset()
    with stripe_world.network():
        stripe.clear()
        yield Shop(stripe_world, stripe, url, capsys)
        assert stripe.wrong == []


def test_every_end_of_an_order_is_equal(shop: Shop) -> None:
    shop.sold()
    shop.refunded()
    shop.ordered("pm_card_visa_chargeDeclined")
    shop.ordered(cards.ASKS_THE_CUSTOMER)
    shop.world.order(shop.world.product(stock=0), token=CARD)
    shop.world.work()
    shop.world.faults["capture"] = ["answer"] * 5
    undone = shop.sold()
    assert shop.world.get(f"/orders/{undone['order_ledger_id']}")["status"] == "FAILED"
    assert [each.amount for each in shop.api.refunds.list({"payment_intent": undone["gateway_id"]}).data] == [2500]
    code, report = shop.reconcile()
    assert (code, report["differences"], report["in_flight"]) == (0, [], [])
    assert (report["gateway"], report["payments_compared"], report["refunds_compared"]) == ("stripe", 6, 2)


def test_json_is_valid_without_a_line(shop: Shop) -> None:
    code, report = shop.reconcile()
    assert code == 0
    assert report["from"] == shop.start.isoformat().replace("+00:00", "Z")
    assert {report[name] for name in ("resume_from", "stopped_by")} == {None}
    assert (report["equal"], report["payments_compared"], report["differences"]) == (True, 0, [])


# One difference of each kind


def test_captured_amount_differs(shop: Shop) -> None:
    order = shop.sold()
    shop.plant(order["gateway_id"], amount_received=2400)
    code, report = shop.reconcile()
    assert code == 1
    assert report["differences"] == [
        {
            "kind": "amount_differs",
            "about": "payment",
            "gateway_id": order["gateway_id"],
            "authorization_id": order["authorization_id"],
            "order_ledger_id": order["order_ledger_id"],
            "refund_id": None,
            "ours": "captured 2500 USD; the order is COMPLETED over 2500 USD",
            "theirs": "captured 2400 USD",
        }
    ]


def test_state_differs(shop: Shop) -> None:
    shop.plant(shop.sold()["gateway_id"], status="canceled", amount_received=0)
    assert shop.differences() == [("payment", "state_differs")]


def test_hold_that_our_books_voided_differs(shop: Shop) -> None:
    order = shop.ordered("pm_card_visa_chargeDeclined")
    shop.plant(order["gateway_id"], status="requires_capture", amount_capturable=2500)
    assert shop.differences() == [("payment", "state_differs")]


def test_payment_that_our_books_do_not_know(shop: Shop) -> None:
    made = shop.api.payment_intents.create({"amount": 700, "currency": "usd", "capture_method": "manual"})
    assert shop.differences() == [], "it has no money"
    shop.api.payment_intents.confirm(made.id, {"payment_method": CARD})
    _, report = shop.reconcile()
    (line,) = report["differences"]
    assert (line["about"], line["kind"], line["gateway_id"]) == ("payment", "unknown_to_us", made.id)
    assert line["theirs"].startswith("held 700 USD, made 20")


def test_payment_that_the_gateway_does_not_know(shop: Shop) -> None:
    shop.lose(shop.sold()["gateway_id"])
    assert shop.differences() == [("payment", "unknown_to_gateway")]


@pytest.mark.parametrize("tells_its_time", [True, False])
def test_payment_that_the_ledger_does_not_know(shop: Shop, tells_its_time: bool) -> None:
    key = authorize_key(new_order_ledger_id()) if tells_its_time else "a key of nobody"
    body = {"user_id": str(uuid.uuid4()), "amount_cents": 900, "currency": "USD", "payment_token": CARD}
    assert shop.world.call(8300, "/payments/authorize", **body, idempotency_key=key) == 200
    assert shop.differences() == [("payment", "unknown_to_ledger")]


def test_order_whose_amount_is_not_what_was_captured(shop: Shop) -> None:
    order = shop.sold()
    shop.books("UPDATE order_ledger SET total_amount_cents = 2600 WHERE id = %(id)s", id=order["order_ledger_id"])
    assert shop.differences() == [("payment", "ledger_differs")]


def test_order_that_failed_and_keeps_money(shop: Shop) -> None:
    order = shop.sold()
    shop.books(
        "UPDATE order_ledger SET status = 'FAILED', failure_code = 'x', compensating_from = 'AUTHORIZED',"
        " undone = '{void_payment,cancel_order}' WHERE id = %(id)s",
        id=order["order_ledger_id"],
    )
    assert shop.differences() == [("payment", "ledger_differs")]


def test_refunded_amount_differs(shop: Shop) -> None:
    refund = shop.refunded()
    shop.plant(refund["refund_gateway_id"], amount=900)
    _, report = shop.reconcile()
    (line,) = report["differences"]
    assert (line["about"], line["kind"], line["refund_id"]) == ("refund", "amount_differs", refund["refund_id"])
    assert line["ours"] == "returned 1000 USD; the refund is SUCCEEDED over 1000"
    assert line["theirs"] == "returned 900 USD"


def test_refund_that_failed_late_differs(shop: Shop) -> None:
    shop.plant(shop.refunded()["refund_gateway_id"], status="failed", failure_reason="unknown")
    assert shop.differences() == [("refund", "state_differs")]


def test_refund_of_an_order_that_failed_is_compared_too(shop: Shop) -> None:
    shop.world.faults["capture"] = ["answer"] * 5
    undone = shop.sold()
    (refund,) = shop.api.refunds.list({"payment_intent": undone["gateway_id"]}).data
    shop.plant(refund.id, status="failed", failure_reason="unknown")
    _, report = shop.reconcile()
    (line,) = report["differences"]
    assert (line["about"], line["kind"]) == ("refund", "state_differs")
    assert (line["order_ledger_id"], line["theirs"]) == (undone["order_ledger_id"], "nothing")
    assert line["ours"] == "returned 2500 USD; the order is FAILED"


def test_refund_that_our_books_do_not_know(shop: Shop) -> None:
    order = shop.sold()
    made = shop.api.refunds.create({"payment_intent": order["gateway_id"], "amount": 300})
    _, report = shop.reconcile()
    (line,) = report["differences"]
    assert (line["about"], line["kind"], line["gateway_id"]) == ("refund", "unknown_to_us", made.id)
    assert line["theirs"].endswith(f", of {order['gateway_id']}")


@pytest.mark.parametrize("apart", [timedelta(0), 2 * HOUR])
def test_refund_that_was_paid_twice(shop: Shop, apart: timedelta) -> None:
    """By two requests, the first of which Stripe had forgotten."""
    refund = shop.refunded()
    first = shop.api.refunds.retrieve(refund["refund_gateway_id"])
    again = {"payment_intent": refund["gateway_id"], "amount": 1000, "metadata": first.metadata.to_dict()}
    second = shop.api.refunds.create(again)
    shop.start -= apart
    for id_ in (first.id, second.id):
        shop.plant(id_, created=first.created - (id_ == second.id) * int(apart.total_seconds()))
    assert shop.differences() == [("refund", "unknown_to_us")]


def test_refund_that_the_gateway_does_not_know(shop: Shop) -> None:
    shop.lose(shop.refunded()["refund_gateway_id"])
    assert shop.differences() == [("refund", "unknown_to_gateway")]


def test_refund_that_the_ledger_does_not_know(shop: Shop) -> None:
    order = shop.sold()
    path = f"/payments/refund/{order['authorization_id']}"
    assert shop.world.call(8300, path, idempotency_key="by hand", amount_cents=100) == 200
    assert shop.differences() == [("payment", "ledger_differs"), ("refund", "unknown_to_ledger")]


def test_refund_of_another_amount_than_the_ledger_says(shop: Shop) -> None:
    refund = shop.refunded()
    shop.books("UPDATE refunds SET amount_cents = 1001 WHERE id = %(id)s", id=refund["refund_id"])
    assert shop.differences() == [("refund", "ledger_differs")]


# What moves


def test_money_that_moves_is_in_flight(shop: Shop) -> None:
    order = shop.ordered()
    assert shop.reconcile()[1]["in_flight"] == []
    shop.api.payment_intents.capture(order["gateway_id"])
    code, report = shop.reconcile()
    assert (code, report["differences"]) == (0, [])
    (line,) = report["in_flight"]
    assert (line["kind"], line["gateway_id"]) == ("in_flight", order["gateway_id"])
    assert line["ours"] == "held 2500 USD; the order is AUTHORIZED over 2500 USD"


def test_pending_refund_is_in_flight(shop: Shop) -> None:
    refund = shop.refunded(cards.PENDING_REFUND)
    code, report = shop.reconcile()
    assert (code, report["differences"]) == (0, [])
    assert [(each["about"], each["theirs"]) for each in report["in_flight"]] == [("refund", "pending 1000 USD")]
    shop.books("UPDATE refunds SET status = 'FAILED', failure_code = 'x', failure_message = 'x', due_at = NULL"
               " WHERE id = %(id)s", id=refund["refund_id"])  # fmt: skip
    assert shop.differences() == [("refund", "state_differs")]


def test_payment_that_changes_while_it_is_compared_is_looked_at_again(shop: Shop) -> None:
    """The order is completed after the gateway has said that the money is held."""
    shop.ordered()

    def complete(operation: str) -> None:
        if operation == "list":
            shop.stripe.watch = lambda _: None
            shop.world.work()

    shop.stripe.watch = complete
    assert shop.differences() == []
    assert "retrieve" in shop.stripe.operations


def test_payment_that_never_stands_still_is_in_flight(shop: Shop) -> None:
    order = shop.sold()
    shop.plant(order["gateway_id"], amount_received=1)

    def change(operation: str) -> None:
        if operation == "retrieve":
            shop.books("UPDATE order_ledger SET total_amount_cents = total_amount_cents + 1")

    shop.stripe.watch = change
    code, report = shop.reconcile()
    assert (code, report["differences"], len(report["in_flight"])) == (0, [], 1)


def test_no_transaction_is_open_while_the_gateway_is_asked(shop: Shop) -> None:
    shop.refunded()
    seen: list[Any] = []
    idle = "SELECT application_name FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()"
    idle += " AND (application_name LIKE 'holdfast%%' OR application_name = 'payments_service')"
    shop.stripe.watch = lambda operation: seen.append((operation, shop.world.sql(idle, x=1)))
    assert shop.differences() == []
    assert seen == [("list", []), ("list_refunds", [])]


# Pages, slices and clocks


def test_lists_of_many_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_lists, "PAGE", 2)
    monkeypatch.setattr(reconciled_books, "SIZE", 2)
    orders = [shop.sold() for _ in range(5)]
    unknown = [shop.api.payment_intents.create({"amount": 100, "currency": "usd"}).id for _ in range(3)]
    assert shop.differences() == []
    assert shop.stripe.operations.count("list") == 4
    for id_ in (orders[0]["gateway_id"], orders[4]["gateway_id"]):
        shop.plant(id_, amount_received=1)
    for id_ in unknown:
        shop.api.payment_intents.confirm(id_, {"payment_method": CARD})
    assert sorted(shop.differences()) == [("payment", "amount_differs")] * 2 + [("payment", "unknown_to_us")] * 3


def test_each_payment_is_compared_once_wherever_the_slices_end(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe tells whole seconds, so most payments are made before their orders, as it seems."""
    shop.start = datetime.now(UTC)
    made = [shop.refunded() for _ in range(3)]
    made += [{"gateway_id": shop.api.payment_intents.create({"amount": 100, "currency": "usd"}).id}]
    shop.api.payment_intents.confirm(made[-1]["gateway_id"], {"payment_method": CARD})
    for each in made:
        shop.plant(each["gateway_id"], amount_received=1, status="succeeded")
    whole = shop.start.replace(microsecond=0)
    for slice_, margin in ((timedelta(milliseconds=70), timedelta(0)), (timedelta(milliseconds=300), HOUR)):
        monkeypatch.setattr(reconciliation, "SLICE", slice_)
        monkeypatch.setattr(reconciliation, "MARGIN", margin)
        code, report = shop.reconcile(whole)
        assert code == 1
        assert (report["payments_compared"], report["refunds_compared"]) == (3, 3)
        assert sorted(each["gateway_id"] for each in report["differences"]) == sorted(
            each["gateway_id"] for each in made
        )


def test_payment_made_just_before_our_row_is_not_unknown(shop: Shop) -> None:
    shop.stripe.control("advance", seconds=-60)
    shop.start = datetime.now(UTC)
    shop.refunded()
    assert shop.differences() == []
    assert "retrieve" not in shop.stripe.operations, "the list is longer than the span"


@pytest.mark.parametrize("seconds", [-7200, 7200])
def test_clock_of_the_gateway_may_be_far_off(shop: Shop, seconds: int) -> None:
    shop.stripe.control("advance", seconds=seconds)
    order, declined = shop.refunded(), shop.ordered("pm_card_visa_chargeDeclined")
    assert shop.differences() == []
    shop.plant(order["gateway_id"], amount_received=1)
    shop.plant(declined["gateway_id"], status="requires_capture", amount_capturable=2500)
    shop.plant(order["refund_gateway_id"], amount=1)
    assert shop.differences() == [
        ("payment", "amount_differs"), ("payment", "state_differs"), ("refund", "amount_differs")
    ]  # fmt: skip


def test_span_leaves_out_what_is_before_and_after(shop: Shop) -> None:
    before = shop.sold()
    start = datetime.now(UTC)
    within = shop.sold()
    end = datetime.now(UTC)
    after = shop.sold()
    for each in (before, within, after):
        shop.plant(each["gateway_id"], amount_received=1)
    _, report = shop.reconcile(start, end)
    assert [each["gateway_id"] for each in report["differences"]] == [within["gateway_id"]]


# Interruptions


@pytest.mark.parametrize("operation", ["list", "list_refunds"])
def test_lost_answer_is_asked_for_again(shop: Shop, operation: str) -> None:
    shop.sold()
    shop.stripe.fault(operation, "lost_after", times=1)
    assert shop.differences() == []


def test_lost_gateway_ends_with_where_to_go_on(shop: Shop) -> None:
    order = shop.sold()
    shop.plant(order["gateway_id"], amount_received=1)
    shop.start -= 2 * HOUR

    def fail(operation: str) -> None:
        if shop.stripe.operations.count("list_refunds") == 2 and operation == "list_refunds":
            shop.stripe.fault("list", "500")

    shop.stripe.watch = fail
    code, report = shop.reconcile()
    assert (code, report["equal"], report["complete"], report["differences"]) == (2, False, False, [])
    assert report["stopped_by"].startswith(
        "the payments service, or the gateway behind it, gave no answer (payments: status 503)"
    )
    assert datetime.fromisoformat(report["resume_from"]) == shop.start + 2 * HOUR
    assert f"--from {report['resume_from']} --to {report['to']}" in shop.said.err
    shop.stripe.watch = lambda _: None
    shop.stripe.control("end_faults")
    end = datetime.fromisoformat(report["to"])
    code, rest = shop.reconcile(datetime.fromisoformat(report["resume_from"]), end)
    assert (code, rest["to"], len(rest["differences"])) == (1, report["to"], 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_keeps_what_was_found(shop: Shop, number: signal.Signals) -> None:
    shop.sold()
    later = datetime.now(UTC)
    shop.plant(shop.api.payment_intents.create({"amount": 700, "currency": "usd"}).id, status="succeeded",
               amount_received=700, created=int((shop.start - HOUR).timestamp()))  # fmt: skip
    shop.start -= 2 * HOUR

    def interrupt(operation: str) -> None:
        if shop.stripe.operations.count("list") == 3:
            os.kill(os.getpid(), number)

    shop.stripe.watch = interrupt
    code, report = shop.reconcile(end=later)
    assert (code, report["complete"], report["stopped_by"]) == (2, False, "it was interrupted")
    assert [each["kind"] for each in report["differences"]] == ["unknown_to_us"]
    assert datetime.fromisoformat(report["resume_from"]) == shop.start + 2 * HOUR


def test_lost_database_keeps_what_was_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    end_connection = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast ops'"

    def lose(operation: str) -> None:
        if shop.stripe.operations.count("list") == 2:
            shop.world.sql(end_connection)

    shop.stripe.watch = lose
    shop.start -= HOUR
    code, report = shop.reconcile()
    assert (code, report["complete"]) == (2, False)
    assert datetime.fromisoformat(report["resume_from"]) == shop.start + HOUR
    assert report["stopped_by"].startswith("the database")


def test_text_is_for_people(shop: Shop) -> None:
    assert shop.reconcile(form="text")[0] == 0
    assert shop.said.out.startswith("equal: 0 payments and 0 refunds compared, our books with stripe, ")
    order = shop.sold()
    shop.plant(order["gateway_id"], amount_received=1)
    assert shop.reconcile(form="text")[0] == 1
    lines = shop.said.out.splitlines()
    assert lines[0].startswith("NOT equal: 1 difference: 1 payment and 0 refunds compared, our books with stripe, ")
    assert lines[2].split("  ")[0] == "what"
    assert order["order_ledger_id"] in lines[4]
    assert lines[4].endswith("captured 2500 USD; the order is COMPLETED over 2500 USD  captured 1 USD")


# The simulated gateway


@pytest.fixture
def simulated(world: SmallWorld, stripe: Double, url: str, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(world, stripe, url, capsys)


def sell(simulated: Shop) -> str:
    answer = simulated.world.order(simulated.world.product(), token="tok_visa")
    simulated.world.work()
    return str(answer.json["order_ledger_id"])


def test_books_of_the_simulated_gateway_are_compared_with_the_ledger(simulated: Shop) -> None:
    order = sell(simulated)
    simulated.world.refund(order, amount_cents=500)
    simulated.world.work()
    assert simulated.reconcile(form="text")[0] == 0
    assert "The simulated gateway has no books but ours" in simulated.said.out
    assert simulated.said.out.startswith("equal: 1 payment and 1 refund compared, our books with the ledger, ")
    simulated.books("UPDATE order_ledger SET total_amount_cents = 2600")
    assert simulated.differences() == [("payment", "ledger_differs")]
    simulated.books("UPDATE refunds SET amount_cents = 501")
    assert simulated.differences() == [("payment", "ledger_differs"), ("refund", "ledger_differs")]


def test_payment_of_another_gateway_is_counted(shop: Shop) -> None:
    shop.sold()
    shop.books("UPDATE payment_authorizations SET gateway = 'other'")
    code, report = shop.reconcile()
    assert (code, report["of_other_gateway"]) == (0, 1)
    shop.reconcile(form="text")
    assert "1 of another gateway were compared with the ledger only." in shop.said.out


# Use


def usage(shop: Shop, out: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> tuple[int, str]:
    with suppress(SystemExit):
        return ops.main(["reconcile", *arguments], shop.environ | environ), out.readouterr().err
    return 2, out.readouterr().err


@pytest.mark.parametrize(
    "bad", ["", "x", "yesterday", "2026-02-30", "2026-01-31T00:00:00", "1969-12-31", "9999-12-31T23:00:00-23:00"]
)
def test_bad_time_is_refused(shop: Shop, capsys: pytest.CaptureFixture[str], bad: str) -> None:
    for option in (["--from", bad], ["--from", "2026-01-01", "--to", bad]):
        code, said = usage(shop, capsys, *option)
        assert code == 2
        assert "invalid date or time with an offset value" in said


def test_usage_that_cannot_be_right_is_refused_in_one_sentence(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    today = f"{shop.start:%Y-%m-%d}"
    for arguments, environ, message in (
        (["--from", "2999-01-01"], {}, "--from must be before --to, and before now"),
        (["--from", today, "--to", "2026-01-01"], {}, "--from must be before --to"),
        (["--from", "2020-01-01", "--to", today], {"RETAIN_ORDERS_DAYS": "90"}, "RETAIN_ORDERS_DAYS is 90"),
        (["--from", today], {"PAYMENTS_SERVICE_URL": "x"}, "PAYMENTS_SERVICE_URL must be"),
    ):
        code, said = usage(shop, capsys, *arguments, **environ)
        assert (code, said.count("\n")) == (2, 1), said
        assert said.startswith(message)
    assert usage(shop, capsys)[0] == 2


def test_command_compares(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.plant(shop.sold()["gateway_id"], amount_received=1)
    assert usage(shop, capsys, "--from", f"{shop.start:%Y-%m-%dT%H:%M:%SZ}") == (1, "")
