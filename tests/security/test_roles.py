"""What the role of each process cannot do in the database, tried with real statements."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from common.schema import migrate
from common.schema.accounts import address_of
from common.schema.roles import RIGHTS, ROLES, RUN_TIME, role_of
from domain.states import Status
from local.postgres import EmbeddedPostgres
from tests.database.conftest import Sql
from tests.database.valid_rows import ID, VALID

Open = Callable[[str], Sql]

# The verbs that each process needs: Select, Insert, Update, Delete. Everything else must be refused.
NEEDED = {
    "edge_api": {
        "order_ledger": "SIU", "order_ledger_items": "SI", "order_ledger_history": "S", "outbox": "I",
        "events": "S", "deleted_events": "S", "refunds": "SI", "refund_items": "SI",
        "set_aside_entries": "S", "refused_requests": "SI", "rate_limits": "SIU",
        "request_rates": "SIUD", "declines": "SID",
        "client_keys": "SU", "edge_idempotency_keys": "SIU",
        "webhook_endpoints": "SIU", "webhook_secrets": "SIUD", "webhook_deliveries": "SIU",
    },
    "orders_service": {"orders": "SIU", "order_items": "SI"},
    "inventory_service": {
        "products": "SIU", "product_versions": "SI", "inventory_adjustments": "SI",
        "order_reservations": "SIU", "inventory_reservations": "SIU", "inventory_idempotency_keys": "SIU",
    },
    "payments_service": {
        "payment_authorizations": "SIU", "payment_refunds": "SIU", "payment_idempotency_keys": "SIU",
        "gateway_holds": "SIU", "gateway_refunds": "SIU",
    },
    "orchestrator": {
        "order_ledger": "SU", "order_ledger_items": "S", "order_ledger_history": "S", "outbox": "SU",
        "set_aside_entries": "SIU", "refunds": "SU", "refund_items": "S", "set_aside_refunds": "SIU",
        "events": "S", "order_minutes": "SIUD", "order_totals": "SIU", "audit_runs": "SD",
        "dealt_with": "S",
        "webhook_endpoints": "S", "webhook_deliveries": "S",
        "attempts": "I", "process_heartbeats": "SIUD",
    },
    "webhooks": {
        "order_ledger": "S", "events": "S",
        "webhook_endpoints": "SU", "webhook_secrets": "S", "webhook_deliveries": "SIU", "process_heartbeats": "SIUD",
        "set_aside_entries": "S", "refunds": "S", "set_aside_refunds": "S", "operator_alerts": "SIU", "audit_runs": "S",
    },
    "console": {
        "order_ledger": "SU", "order_ledger_items": "S", "order_ledger_history": "S", "set_aside_entries": "SU",
        "set_aside_refunds": "SU", "refunds": "SIU", "refund_items": "SI", "events": "S", "attempts": "S",
        "orders": "S", "products": "S", "product_versions": "S", "inventory_adjustments": "S",
        "inventory_reservations": "S", "payment_authorizations": "S", "payment_refunds": "S",
        "webhook_endpoints": "SU", "webhook_deliveries": "SIU", "edge_idempotency_keys": "SIU",
        "client_keys": "SIU", "operator_log": "S", "operator_keys": "SIU", "operator_sessions": "SIUD",
        "order_notes": "SI", "dealt_with": "SIU", "bulk_jobs": "SIU", "bulk_job_items": "SIU",
        "order_minutes": "S", "audit_runs": "S", "process_heartbeats": "SIUD",
        "gateway_holds": "S", "gateway_refunds": "S",
    },
    "audit": {
        "operator_log": "S", "events": "S", "webhook_endpoints": "S", "order_ledger": "S", "refunds": "S",
        "payment_authorizations": "S", "payment_refunds": "S", "gateway_holds": "S", "gateway_refunds": "S",
        "audit_runs": "SI", "order_totals": "S",
    },
}  # fmt: skip
EVERYBODY = {"holdfast_version": "S", "operator_log": "I"}
TABLES = (*VALID, "holdfast_version")
ATTEMPTS = {
    "S": "SELECT count(*) FROM {table}",
    "I": "INSERT INTO {table} DEFAULT VALUES",
    "U": "UPDATE {table} SET {column} = {column} WHERE false",
    "D": "DELETE FROM {table} WHERE false",
    "T": "TRUNCATE {table}",
}
# Columns that a role may write to, although it may not write to the others.
PROTECTED = {
    "edge_api": {
        "order_ledger": "id client client_request_id fingerprint user_id email total_amount_cents currency"
        " refunded_cents refund_reserved_cents",
        "client_keys": "id client secret_sha256 scopes expires_at revoked_at",
    },
    "orchestrator": {
        "order_ledger": "email total_amount_cents currency payment_authorization_id response_body client refunded_cents"
        " refund_reserved_cents",
        "refunds": "id order_ledger_id amount_cents restock reason note idempotency_key",
        "process_heartbeats": "instance process host pid version started_at",
        "attempts": "id",
    },
    "console": {
        "operator_keys": "id name role secret_sha256 expires_at",
        "client_keys": "id client secret_sha256 scopes last_used_at",
        "webhook_endpoints": "id client cursor_xid cursor_position deleted_at",
        "webhook_deliveries": "id endpoint_id event_id message_id type response_body",
        "edge_idempotency_keys": "client key fingerprint",
        "operator_sessions": "token_sha256 name role key_id expires_at",
        "process_heartbeats": "instance process host pid version started_at",
    },
    "webhooks": {
        "process_heartbeats": "instance process host pid version started_at",
        "webhook_endpoints": "id client url event_types deleted_at",
        "webhook_deliveries": "id endpoint_id event_id message_id type",
        "operator_alerts": "kind subject",
    },
    "orders_service": {"orders": "total_amount_cents currency user_id order_ledger_id"},
    "inventory_service": {"products": "price_cents currency sku", "inventory_reservations": "quantity product_id"},
    "payments_service": {
        "payment_authorizations": "amount_cents currency idempotency_key user_id",
        "payment_refunds": "amount_cents idempotency_key authorization_id",
        "gateway_holds": "authorization_key authorization_id amount_cents currency",
        "gateway_refunds": "id authorization_id idempotency_key amount_cents",
    },
}
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = %(table)s ORDER BY ordinal_position"


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The owner's address of a new, migrated database."""
    name = f"roles_{uuid.uuid4().hex[:8]}"
    with closing(Sql(postgres.url)) as server:
        server(f"CREATE DATABASE {name}")
        url = postgres.url.replace("/holdfast?", f"/{name}?")
        migrate.upgrade(url)
        yield url
        server(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def owner(database: str) -> Iterator[Sql]:
    with closing(Sql(database)) as sql:
        yield sql


@pytest.fixture(scope="module")
def as_role(database: str) -> Iterator[Open]:
    """`as_role("edge_api")`: statements with the role of that process."""
    opened: dict[str, Sql] = {}

    def open_(name: str) -> Sql:
        if name not in opened:
            opened[name] = Sql(address_of(database, role_of(name)))
        return opened[name]

    yield open_
    for sql in opened.values():
        sql.close()


def refused(sql: Sql, statement: str, **params: Any) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql(statement, **params)


def test_every_role_has_a_list_of_what_it_needs() -> None:
    assert set(NEEDED) == set(RIGHTS)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("table", TABLES)
def test_role_is_refused_everything_that_its_process_does_not_need(
    as_role: Open, owner: Sql, name: str, table: str
) -> None:
    needed = NEEDED[name].get(table, "") + ("" if name == "audit" else EVERYBODY.get(table, ""))
    needed += "S" if name == "audit" and table == "holdfast_version" else ""
    column = owner(COLUMNS, table=table)[0][0]
    for verb, statement in ATTEMPTS.items():
        if verb not in needed:
            refused(as_role(name), statement.format(table=table, column=column))


def test_payments_service_cannot_read_the_ledger(as_role: Open) -> None:
    refused(as_role("payments_service"), "SELECT id FROM order_ledger")


def test_orchestrator_cannot_read_e_mail_addresses(as_role: Open) -> None:
    as_role("orchestrator")("SELECT id FROM order_ledger")
    refused(as_role("orchestrator"), "SELECT email FROM order_ledger")


def test_webhooks_cannot_read_personal_data(as_role: Open) -> None:
    as_role("webhooks")("SELECT id, reference FROM order_ledger")
    for column in ("email", "user_id", "response_body"):
        refused(as_role("webhooks"), f"SELECT {column} FROM order_ledger")
    for table in ("audit_attention", "refunds"):
        refused(as_role("webhooks"), f"SELECT attention_reason FROM {table}")


def test_edge_api_cannot_read_the_secrets_of_webhooks(as_role: Open) -> None:
    as_role("edge_api")("SELECT endpoint_id FROM webhook_secrets")
    refused(as_role("edge_api"), "SELECT secret FROM webhook_secrets")


def test_console_cannot_read_secrets_or_write_products(as_role: Open) -> None:
    as_role("console")("SELECT id FROM client_keys")
    for statement in (
        "SELECT secret_sha256 FROM client_keys",
        "SELECT endpoint_id FROM webhook_secrets",
        "UPDATE products SET stock_quantity = 1",
        "INSERT INTO product_versions (product_id) VALUES (gen_random_uuid())",
        "INSERT INTO inventory_adjustments (id) VALUES (gen_random_uuid())",
    ):
        refused(as_role("console"), statement)


@pytest.mark.parametrize(("name", "table"), [(name, table) for name, tables in PROTECTED.items() for table in tables])
def test_process_cannot_rewrite_what_was_agreed(as_role: Open, name: str, table: str) -> None:
    for column in PROTECTED[name][table].split():
        refused(as_role(name), f"UPDATE {table} SET {column} = {column} WHERE false")


# The history, the record of operators, and the triggers


@pytest.mark.parametrize("name", RIGHTS)
def test_no_role_can_change_the_history_or_the_record_of_operators(as_role: Open, name: str) -> None:
    sql = as_role(name)
    for table in ("order_ledger_history", "operator_log"):
        refused(sql, f"DELETE FROM {table}")
        refused(sql, f"TRUNCATE {table}")
    refused(sql, "UPDATE order_ledger_history SET to_status = 'COMPLETED'")
    refused(sql, "UPDATE operator_log SET actor = 'somebody else'")
    refused(
        sql,
        "INSERT INTO order_ledger_history (order_ledger_id, id, to_status, claim_number) VALUES (%(id)s, 1, 'x', 1)",
        id=ID,
    )


@pytest.mark.parametrize("name", RUN_TIME)
def test_role_cannot_forge_the_time_or_the_role_of_a_record(as_role: Open, owner: Sql, name: str) -> None:
    sql = as_role(name)
    action = f"start {uuid.uuid4()}"
    for column, value in (("at", "now()"), ("database_role", "'holdfast'"), ("id", "gen_random_uuid()")):
        refused(sql, f"INSERT INTO operator_log ({column}, actor, action) VALUES ({value}, 'me', 'x')")
    sql("INSERT INTO operator_log (actor, action) VALUES ('me', %(action)s)", action=action)
    written = owner("SELECT database_role FROM operator_log WHERE action = %(action)s", action=action)
    assert written == [(role_of(name),)]


@pytest.mark.parametrize("name", RIGHTS)
def test_no_role_can_change_a_trigger(as_role: Open, name: str) -> None:
    sql = as_role(name)
    for statement in (
        "ALTER TABLE order_ledger DISABLE TRIGGER ALL",
        "DROP TRIGGER order_ledger_moves ON order_ledger",
        "CREATE TRIGGER mine BEFORE UPDATE ON order_ledger FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE OR REPLACE FUNCTION order_ledger_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "DROP FUNCTION order_ledger_guard() CASCADE",
        "SET session_replication_role = replica",
    ):
        refused(sql, statement)


@pytest.mark.parametrize("name", RIGHTS)
def test_no_role_can_forge_history_with_a_table_of_its_own(as_role: Open, name: str) -> None:
    """The guard writes history with the owner's rights, for whichever table it is attached to."""
    sql = as_role(name)
    sql("CREATE TEMP TABLE mine (id uuid, status text, status_detail text, claim_number integer)")
    refused(sql, "CREATE TRIGGER forge AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION order_ledger_guard()")


def test_temporary_table_does_not_hide_the_history(database: str, owner: Sql) -> None:
    with closing(Sql(address_of(database, role_of("edge_api")))) as sql:
        sql("CREATE TEMP TABLE order_ledger_history (LIKE public.order_ledger_history)")
        sql("BEGIN")
        sql.insert("order_ledger", VALID["order_ledger"])
        assert sql("SELECT count(*) FROM public.order_ledger_history WHERE order_ledger_id = %(id)s", id=ID) == [(1,)]
        sql("ROLLBACK")


def test_function_of_a_role_never_runs_with_the_owners_rights(as_role: Open, owner: Sql) -> None:
    """Where PUBLIC may create objects (databases that began before PostgreSQL 15), @> for text[] beats that for any."""
    owner("GRANT CREATE ON SCHEMA public TO PUBLIC")
    try:
        sql = as_role("edge_api")
        sql("BEGIN")
        sql("CREATE FUNCTION public.mine(text[], text[]) RETURNS boolean LANGUAGE plpgsql AS"
            " 'BEGIN RAISE EXCEPTION ''called as %'', current_user; END'")  # fmt: skip
        sql("CREATE OPERATOR public.@> (LEFTARG = text[], RIGHTARG = text[], FUNCTION = public.mine)")
        sql.insert("order_ledger", VALID["order_ledger"])
        moved = "UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = 'auth_1' WHERE id = %(id)s"
        sql(f"{moved} RETURNING id", id=ID)
        sql("ROLLBACK")
    finally:
        owner("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


def test_no_function_with_the_owners_rights_looks_into_other_schemas(owner: Sql) -> None:
    sql = "SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    functions = owner(sql)
    assert len(functions) >= 5
    assert [name for name, settings in functions if "search_path=pg_catalog, pg_temp" not in (settings or [])] == []


def test_migrating_takes_the_right_to_create_objects(database: str, as_role: Open, owner: Sql) -> None:
    owner("GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON SCHEMA public TO holdfast_orchestrator")
    migrate.upgrade(database)
    refused(as_role("orchestrator"), "CREATE TABLE public.mine (id integer)")


def test_no_function_with_the_owners_rights_can_be_called_by_everybody(owner: Sql) -> None:
    assert owner(
        "SELECT proname FROM pg_proc, unnest(%(roles)s) AS role WHERE pronamespace = 'public'::regnamespace"
        " AND prosecdef AND has_function_privilege(role, pg_proc.oid, 'EXECUTE')"
        " AND (role, proname) <> ('holdfast_audit', 'client_sessions')",
        roles=list(ROLES),
    ) == []  # fmt: skip


def test_audit_sees_the_sessions_of_others_and_not_their_statements(as_role: Open) -> None:
    as_role("edge_api")("BEGIN")
    as_role("edge_api")("SELECT 'someone@example.com'")
    sql = as_role("audit")
    states = sql("SELECT state, xact_start IS NOT NULL FROM client_sessions()")
    seen = sql("SELECT query FROM pg_stat_activity")
    as_role("edge_api")("ROLLBACK")
    assert ("idle in transaction", True) in states
    assert "someone@example.com" not in str(seen)


def test_history_is_written_without_any_right_on_it(as_role: Open) -> None:
    sql = as_role("edge_api")
    sql("BEGIN")
    sql.insert("order_ledger", VALID["order_ledger"])
    written = sql("SELECT to_status FROM order_ledger_history WHERE order_ledger_id = %(id)s", id=ID)
    sql("ROLLBACK")
    assert written == [(Status.AWAITING_AUTHORIZATION,)]


# The server


@pytest.mark.parametrize("name", RIGHTS)
def test_role_cannot_become_another_or_make_anything(as_role: Open, name: str) -> None:
    sql = as_role(name)
    for other in {"holdfast", "pg_read_all_stats", *ROLES} - {role_of(name)}:
        refused(sql, f"SET ROLE {other}")
        refused(sql, f"SET SESSION AUTHORIZATION {other}")
    for statement in (
        "CREATE TABLE public.mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION public.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        refused(sql, statement)
    assert sql("SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls OR rolinherit"
               " FROM pg_roles WHERE rolname = current_user") == [(False,)]  # fmt: skip


def test_new_table_is_out_of_reach_until_it_is_listed(as_role: Open, owner: Sql) -> None:
    owner("CREATE TABLE later (id integer)")
    try:
        for name in RIGHTS:
            for verb in ATTEMPTS.values():
                refused(as_role(name), verb.format(table="later", column="id"))
    finally:
        owner("DROP TABLE later")


def test_migrating_restores_the_rights(database: str, as_role: Open, owner: Sql) -> None:
    owner("GRANT DELETE ON order_ledger TO holdfast_edge_api; REVOKE SELECT ON orders FROM holdfast_orders_service")
    owner("GRANT UPDATE (price_cents) ON products TO holdfast_inventory_service")
    migrate.upgrade(database)
    refused(as_role("edge_api"), "DELETE FROM order_ledger WHERE false")
    refused(as_role("inventory_service"), "UPDATE products SET price_cents = 1 WHERE false")
    as_role("orders_service")("SELECT count(*) FROM orders")


def test_migrating_changes_no_rights_that_are_right(database: str, owner: Sql) -> None:
    acls = "SELECT relname, xmin, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    before = owner(acls)
    migrate.upgrade(database)
    assert owner(acls) == before
