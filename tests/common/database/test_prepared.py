"""Prepared statements: their text, and their loss by a migration, a pooler or DEALLOCATE."""

import psycopg2
import pytest

import console.operators
import console.order_statements
import edge_api.store
import edge_api.webhook_statements
import inventory_service.operations
import orchestrator.store
import orders_service.operations
import payments_service.remote_statements
import payments_service.statements
import webhooks.statements
from common.api import idempotency
from common.database.errors import DatabaseUnavailable
from common.database.prepared import prepared
from tests.database.statements import statements_of

MODULES = (
    edge_api.store, orchestrator.store, inventory_service.operations, orders_service.operations,
    payments_service.statements, payments_service.remote_statements, idempotency, edge_api.webhook_statements,
    webhooks.statements, console.operators, console.order_statements,
)  # fmt: skip
LONGEST_NAME = 63  # PostgreSQL truncates longer names
INSERT = "INSERT INTO t (name) VALUES (%(name)s)"
ONE = "SELECT 1 AS n"
# Prepared statements of the connection that runs it, except this one.
KNOWN = "SELECT statement, generic_plans AS runs FROM pg_prepared_statements WHERE statement NOT LIKE '%%pg_prepared%%'"


@pytest.fixture
def database(new_database):
    """One connection, so that each statement sees what the last one prepared."""
    return new_database(size=1)


def prepared_in(database):
    return {row["statement"].partition(" AS ")[2]: row["runs"] for row in database.all(KNOWN)}


# The text


def test_each_occurrence_of_a_parameter_is_numbered_and_keeps_its_type():
    name, prepare, execute = prepared("SELECT %(a)s::uuid[], %(b)s FROM t WHERE %(a)s::text LIKE '5 %%' || %(b)s")
    assert prepare == f"PREPARE {name} AS SELECT $1::uuid[], $2 FROM t WHERE $3::text LIKE '5 %' || $4"
    assert execute == f"EXECUTE {name}(%(a)s::uuid[], %(b)s, %(a)s::text, %(b)s)"


def test_a_statement_without_parameters():
    statement = prepared("\nWITH x AS (SELECT 1) SELECT * FROM x\n")
    assert statement.execute == f"EXECUTE {statement.name}"


@pytest.mark.parametrize(
    "sql", ["DO $$ BEGIN END $$", "LOCK TABLE t", "CREATE TABLE u ()", "BEGIN", "SELECTED", "-- ?"]
)
def test_other_statements_are_not_prepared(sql):
    assert prepared(sql) is None


def test_no_two_statements_share_a_name():
    texts = {text for module in MODULES for text in statements_of(module).values()}
    names = {statement.name for text in texts if (statement := prepared(text))}
    assert len(names) == len(texts) > 30
    assert max(map(len, names)) <= LONGEST_NAME


# On a server


def test_a_parameter_may_have_two_types(database):
    sql = "SELECT %(n)s::int + 1 AS next, %(n)s::text || '%%' AS percent, %(all)s::uuid[] AS ids"
    for n in (7, 8):
        assert database.one(sql, n=n, all=[]) == {"next": n + 1, "percent": f"{n}%", "ids": "{}"}


@pytest.mark.parametrize("value", ["50 %", "%(name)s", "$1", "it's", "\\", "", None])
def test_special_characters_in_a_value_are_kept(database, admin, value):
    for _ in range(2):
        assert database.one(INSERT + " RETURNING name", name=value) == {"name": value}
    assert admin("SELECT name FROM t") == [(value,)] * 2


def test_a_statement_is_prepared_once_for_many_runs(database, admin):
    for name in ("a", "b"):
        database.one(INSERT, name=name)
        database.transact(lambda tx, name=name: [tx.execute(INSERT, name=name), tx.one(ONE)])
    assert prepared_in(database) == {INSERT.replace("%(name)s", "$1"): 4, ONE: 2}
    assert admin("SELECT count(*) FROM t") == [(4,)]


def test_prepared_statements_survive_a_rollback(database, admin):
    def in_vain(tx):
        tx.one(ONE)
        tx.execute(INSERT, name="a")
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            database.transact(in_vain)
    database.one(INSERT, name="b")
    assert prepared_in(database) == {INSERT.replace("%(name)s", "$1"): 3, ONE: 2}
    assert admin("SELECT name FROM t") == [("b",)]


def test_a_statement_that_failed_to_prepare_is_prepared_later(database, admin):
    sql = "SELECT colour FROM t"
    with pytest.raises(psycopg2.errors.SyntaxError):
        database.one("SELECT SELECT")
    with pytest.raises(DatabaseUnavailable):
        database.one(sql)
    admin("ALTER TABLE t ADD COLUMN colour text")
    assert database.all(sql) == []
    assert prepared_in(database) == {sql: 1}


# Lost or changed by others


@pytest.mark.parametrize("change", ["ADD COLUMN more int", "ALTER COLUMN name TYPE varchar(9)", "DROP COLUMN at"])
def test_a_migration_does_not_break_prepared_statements(new_database, admin, change):
    database = new_database(size=2)
    sql = "SELECT * FROM t"
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 't'"
    database.transact(lambda tx: [tx.execute(INSERT, name="a"), tx.all(sql), database.all(sql)])  # two connections
    admin(f"ALTER TABLE t {change}")
    ((count,),) = admin(columns)
    assert len(database.one(sql)) == count
    _, row = database.transact(lambda tx: [tx.execute(INSERT, name="b"), tx.one(sql)])
    assert len(row) == count
    assert admin("SELECT name FROM t ORDER BY name") == [("a",), ("b",)], "a repeated statement took effect once"


def test_lost_prepared_statements_turn_preparing_off(database):
    database.one(ONE)
    database.one("DEALLOCATE ALL")
    assert database.one(ONE) == {"n": 1}
    assert database.one("SELECT %(n)s::int AS n, '%%' AS percent", n=2) == {"n": 2, "percent": "%"}
    assert prepared_in(database) == {}


def test_a_duplicate_prepared_statement_turns_preparing_off(database):
    """Behind a pooler in transaction mode, another client may have used this server connection."""
    database.one(f"PREPARE {prepared(ONE).name} AS SELECT 2 AS n")
    assert database.one(ONE) == {"n": 1}


def test_a_transaction_that_lost_its_prepared_statements_starts_again(database, admin):
    database.one(ONE)
    database.one("DEALLOCATE ALL")
    runs = []

    def work(tx):
        runs.append(tx.execute(INSERT, name="a"))
        return tx.one(ONE)

    assert database.transact(work) == {"n": 1}
    assert runs == [1, 1]
    assert admin("SELECT name FROM t") == [("a",)]
