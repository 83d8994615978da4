"""Rows that the database refuses by itself, and data that is never stored."""

from __future__ import annotations

import io
import sys

import psycopg2
import pytest
from sqlalchemy import create_engine

from common.schema import migrate
from payments_service import models
from payments_service.app import create_app

HELD = {"user_id": "7b9d2c2e-1111-4222-8333-123456789abc", "amount_cents": 500, "currency": "USD"}
TAKEN = {"capture_id": "cap_1", "captured_amount_cents": 400, "captured_at": "2026-11-22T00:00:00Z"}
GONE = {"voided_at": "2026-11-22T00:00:00Z"}
LEGAL = {
    "AUTHORIZED": {**HELD},
    "CAPTURED": {**HELD, **TAKEN, "refunded_amount_cents": 100},
    "VOIDED": {**HELD, **GONE, "void_reason": "abandoned"},
    "REFUNDED": {**HELD, **TAKEN, "refunded_amount_cents": 400},
    "DECLINED": {**HELD, "decline_code": "card_expired"},
}


def insert(payments, row):
    row = {"id": "auth_1", "idempotency_key": "k", **row}
    places = ", ".join(["%s"] * len(row))
    payments.sql(f"INSERT INTO payment_authorizations ({', '.join(row)}) VALUES ({places})", *row.values())


@pytest.mark.parametrize("status", LEGAL)
def test_legal_row_is_accepted(payments, status):
    insert(payments, {"status": status, **LEGAL[status]})


def test_tombstone_is_accepted(payments):
    insert(payments, {"status": "VOIDED", **GONE})


ILLEGAL = [
    ("status", {**HELD, "status": "HELD"}),
    ("amount", {**HELD, "status": "AUTHORIZED", "amount_cents": 0}),
    ("amount", {**HELD, "status": "AUTHORIZED", "amount_cents": 10**12}),
    ("tombstone", {"status": "AUTHORIZED"}),
    *(("tombstone", {**HELD, "status": "AUTHORIZED", name: None}) for name in HELD),
    *(("tombstone", {**HELD, **GONE, "status": "VOIDED", name: None}) for name in HELD),
    ("declined", {**HELD, "status": "DECLINED"}),
    ("declined", {**HELD, "status": "AUTHORIZED", "decline_code": "card_expired"}),
    ("captured", {**HELD, "status": "CAPTURED"}),
    *(("captured", {**HELD, **TAKEN, "status": "CAPTURED", name: None}) for name in ("capture_id", "captured_at")),
    ("captured", {**HELD, **TAKEN, "status": "AUTHORIZED"}),
    ("captured", {**HELD, **TAKEN, **GONE, "status": "VOIDED"}),
    ("captured_amount", {**HELD, **TAKEN, "status": "CAPTURED", "captured_amount_cents": 501}),
    ("captured_amount", {**HELD, **TAKEN, "status": "CAPTURED", "captured_amount_cents": -1}),
    ("refuses_capture", {**HELD, **TAKEN, "status": "CAPTURED", "refuses_capture": True}),
    ("pending_refund", {**HELD, **TAKEN, "status": "CAPTURED", "refunded_amount_cents": 401}),
    ("pending_refund", {**HELD, **TAKEN, "status": "CAPTURED", "pending_refund_cents": 401}),
    (
        "pending_refund",
        {**HELD, **TAKEN, "status": "CAPTURED", "refunded_amount_cents": 1, "pending_refund_cents": 400},
    ),
    ("pending_refund", {**HELD, **TAKEN, "status": "CAPTURED", "pending_refund_cents": -1}),
    ("pending_refund", {**HELD, "status": "AUTHORIZED", "refunded_amount_cents": 1}),
    ("refuses_refund", {**HELD, **TAKEN, "status": "CAPTURED", "refuses_refund": True, "refunded_amount_cents": 1}),
    ("refuses_refund", {**HELD, **TAKEN, "status": "CAPTURED", "refuses_refund": True, "pending_refund_cents": 1}),
    ("refunded_amount", {**HELD, **TAKEN, "status": "CAPTURED", "refunded_amount_cents": -1}),
    ("refunded", {**HELD, **TAKEN, "status": "CAPTURED", "refunded_amount_cents": 400}),
    ("refunded", {**HELD, **TAKEN, "status": "REFUNDED", "refunded_amount_cents": 399}),
    ("voided", {**HELD, "status": "VOIDED"}),
    ("voided", {**HELD, **GONE, "status": "AUTHORIZED"}),
    ("void_reason", {**HELD, "status": "AUTHORIZED", "void_reason": "x"}),
]


@pytest.mark.parametrize(("constraint", "row"), ILLEGAL)
def test_illegal_row_is_refused(payments, constraint, row):
    with pytest.raises(psycopg2.errors.CheckViolation) as caught:
        insert(payments, row)
    assert caught.value.diag.constraint_name == f"ck_payment_authorizations_{constraint}"


def test_every_check_is_tested():
    checks = {str(each.name) for each in models.payment_authorizations.constraints if hasattr(each, "sqltext")}
    assert {name.removeprefix("ck_payment_authorizations_") for name in checks} == {name for name, _ in ILLEGAL}


def test_keys_and_captures_are_unique(payments):
    insert(payments, {"status": "CAPTURED", **LEGAL["CAPTURED"]})
    for row, constraint in (
        ({"id": "auth_2", **HELD, "status": "AUTHORIZED"}, "idempotency_key"),
        ({"id": "auth_2", **LEGAL["CAPTURED"], "status": "CAPTURED", "idempotency_key": "k2"}, "capture_id"),
    ):
        with pytest.raises(psycopg2.errors.UniqueViolation) as caught:
            insert(payments, row)
        assert caught.value.diag.constraint_name == f"uq_payment_authorizations_{constraint}"


def test_refund_needs_a_payment_and_a_positive_amount(payments):
    refund = "INSERT INTO payment_refunds (id, authorization_id, amount_cents) VALUES ('re_1', %s, %s)"
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        payments.sql(refund, "auth_1", 1)
    insert(payments, {"status": "CAPTURED", **LEGAL["CAPTURED"]})
    with pytest.raises(psycopg2.errors.CheckViolation):
        payments.sql(refund, "auth_1", 0)


ALLOWED = {
    ("AUTHORIZED", "CAPTURED"),
    ("AUTHORIZED", "VOIDED"),
    ("CAPTURED", "REFUNDED"),
    ("REFUNDED", "CAPTURED"),  # the gateway has failed a refund later
}
EMPTY = {
    **{"decline_code": None, "refunded_amount_cents": 0, "voided_at": None, "void_reason": None},
    **dict.fromkeys(TAKEN),
}


@pytest.mark.parametrize("to", LEGAL)
@pytest.mark.parametrize("status", LEGAL)
def test_only_legal_transitions_are_accepted(payments, status, to):
    """Each target row would be legal; only the transition is refused."""
    insert(payments, {"status": status, **LEGAL[status]})
    row = {**EMPTY, **LEGAL[to], "status": to}
    update = f"UPDATE payment_authorizations SET {', '.join(f'{name} = %s' for name in row)}"
    if status == to or (status, to) in ALLOWED:
        payments.sql(update, *row.values())
    else:
        with pytest.raises(psycopg2.errors.CheckViolation, match=f"a payment cannot go from {status} to {to}"):
            payments.sql(update, *row.values())


@pytest.fixture
def new_database(postgres):
    """The address of an empty database."""
    connection = psycopg2.connect(postgres.url)
    connection.autocommit = True
    connection.cursor().execute("CREATE DATABASE payments_scratch")
    yield postgres.url.replace("/holdfast?", "/payments_scratch?")
    connection.cursor().execute("DROP DATABASE payments_scratch WITH (FORCE)")
    connection.close()


CATALOGUE = """
    SELECT 'column', table_name || '.' || column_name, concat_ws(' ', udt_name, character_maximum_length, is_nullable,
        column_default) FROM information_schema.columns WHERE table_name LIKE 'payment%'
    UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid::regclass::text LIKE 'payment%'
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'payment%'
    UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE tgrelid::regclass::text LIKE 'payment%' AND NOT tgisinternal
    UNION ALL SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE '%payment%'
    ORDER BY 1, 2"""


def catalogue(url):
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(CATALOGUE)
            return cursor.fetchall()
    finally:
        connection.close()


def test_models_and_migrations_create_the_same_tables(migrated_url, new_database):
    tables = [table for name, table in models.metadata.tables.items() if name.startswith("payment")]
    engine = create_engine(new_database.replace("postgresql:", "postgresql+psycopg2:"))
    models.metadata.create_all(engine, tables)
    assert catalogue(new_database) == catalogue(migrated_url)
    models.metadata.drop_all(engine, tables)
    engine.dispose()
    assert catalogue(new_database) == []


def test_migration_runs_up_down_and_up(migrated_url, new_database):
    migrate.upgrade(new_database)
    migrate.downgrade(new_database, "holdfast_0002")
    assert catalogue(new_database) == []
    migrate.upgrade(new_database)
    assert catalogue(new_database) == catalogue(migrated_url)


def everything_stored(payments):
    tables = payments.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [payments.sql(f"SELECT t::text AS row FROM {each['tablename']} t") for each in tables]
    return "\n".join(row["row"] for table in rows for row in table)


@pytest.fixture
def printed(monkeypatch):
    """The service's output. capsys would close its stream before the next test replaces the log handler."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    return sys.stdout


@pytest.fixture(params=["json", "text"])
def talkative(payments, settings, printed, caplog, request):
    """The service with verbose logging."""
    caplog.set_level("DEBUG")
    payments.app = create_app(settings(LOG_LEVEL="DEBUG", LOG_FORMAT=request.param))
    return payments


def answers_to_a_canary(payments):
    """Make every call that takes a token, with every kind of refusal."""
    for number, kind in enumerate(("", "decline_stolen_", "fail_capture_")):
        token, key = f"{kind}canary_4242", f"k{number}"
        yield payments.authorize(key, token=token)
        yield payments.authorize(key, token=token)
        yield payments.authorize(key, token=token, amount=1)
        yield payments.post("authorize", **payments.authorize_body(token=token), typing_mistake=1)
        yield payments.post("authorize", **payments.authorize_body(token=f"{token}\n"))
    yield payments.authorize(token="canary_4242" * 1000)
    cut_off = {"data": b'{"payment_token": "canary_4242", ', "content_type": "application/json"}
    yield payments.app.test_client().post("/payments/authorize", **cut_off)
    authorization_id = payments.sql("SELECT id FROM payment_authorizations WHERE idempotency_key = 'k0'")[0]["id"]
    yield payments.capture(authorization_id)
    yield payments.refund(authorization_id)
    yield payments.show(authorization_id)


def test_payment_token_is_never_stored(talkative, postgres, printed, caplog):
    answers = list(answers_to_a_canary(talkative))
    assert [each.status_code for each in answers].count(200) == 7
    seen = "".join(each.text + str(each.headers) for each in answers)
    stored, logged = everything_stored(talkative), printed.getvalue()
    assert "POST /payments/authorize" in logged
    assert answers[0].json["authorization_id"] in stored
    for text in (seen, stored, logged, caplog.text, postgres.log.read_text()):
        assert "canary" not in text
