"""The migrations: upgrade, downgrade, several at once. They create what the models declare."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool

from common.database import version
from common.schema import migrate
from common.schema.tables import metadata
from tests.database.catalog import catalog

SERVICES = ("edge_api", "orders_service", "inventory_service", "payments_service")
for package in (*SERVICES, "orchestrator", "webhooks", "console", "ops"):
    import_module(f"{package}.models")

ROOT = Path(__file__).parents[2]
HISTORY = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))
REVISIONS = [revision.revision for revision in HISTORY.walk_revisions()][::-1]


@pytest.fixture
def empty(new_database, connect):
    """A new database: its address, and a function that runs SQL in it."""
    url = new_database()
    return url, connect(url)


@pytest.fixture
def engine(empty):
    url = empty[0].replace("postgresql:", "postgresql+psycopg2:", 1)
    engine = create_engine(url, poolclass=pool.NullPool)
    yield engine
    engine.dispose()


def test_migrations_have_one_history():
    assert HISTORY.get_heads() == [REVISIONS[-1]]
    assert HISTORY.get_bases() == [REVISIONS[0]]


def test_downgrade_undoes_upgrade(empty):
    url, sql = empty
    at_first = catalog(sql)
    migrate.upgrade(url)
    full = catalog(sql)
    migrate.downgrade(url, "base")
    assert catalog(sql) == at_first
    assert sql("SELECT * FROM holdfast_version") == []
    migrate.upgrade(url)
    assert catalog(sql) == full


def test_each_migration_can_be_undone(empty):
    url, sql = empty
    for revision in REVISIONS:
        before = catalog(sql)
        migrate.upgrade(url, revision)
        after = catalog(sql)
        migrate.downgrade(url, "-1")
        assert catalog(sql) == before
        migrate.upgrade(url, revision)
        assert catalog(sql) == after


def test_a_second_upgrade_changes_nothing(empty):
    url, sql = empty
    migrate.upgrade(url)
    sql("INSERT INTO rate_limits (client, tokens) VALUES ('shop', 1)")
    before = catalog(sql)
    migrate.upgrade(url)
    assert catalog(sql) == before
    assert sql("SELECT client FROM rate_limits") == [("shop",)]


def test_simultaneous_upgrades_run_each_migration_once(empty, connect, migrated_url):
    url, sql = empty
    environ = {name: value for name, value in os.environ.items() if name != "HONCHO_PROCESS_NAME"}
    command = [sys.executable, "-m", "ops", "migrate"]
    upgrades = [
        subprocess.Popen(
            command, cwd=ROOT, env=environ | {"DATABASE_URL": url}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(3)
    ]
    ends = [(upgrade.communicate(timeout=60)[0].decode(), upgrade.returncode) for upgrade in upgrades]
    assert [code for _, code in ends] == [0, 0, 0], ends
    assert sum("Running upgrade" in output for output, _ in ends) == 1
    assert catalog(sql) == catalog(connect(migrated_url))


def test_the_models_make_the_same_database_as_the_migrations(empty, engine, connect, migrated_url):
    _, sql = empty
    metadata.create_all(engine)
    by_models = catalog(sql)
    # Only the migrations have views: the services do not know the audit.
    by_migrations = {of: text for of, text in catalog(connect(migrated_url)).items() if of[0] != "view"}
    assert sorted(by_models) == sorted(by_migrations)
    assert by_models == by_migrations


# Alembic does not understand a collation within an index. The test above compares these, too.
COLLATED = {
    "ix_operator_log_action_at", "ix_operator_log_actor_at", "ix_operator_log_order_ledger_id",
    "ix_order_ledger_request_id", "ix_refunds_request_id",
}  # fmt: skip


def test_alembic_finds_nothing_to_change(empty, engine):
    migrate.upgrade(empty[0])
    opts = {"compare_type": True, "compare_server_default": True, "version_table": version.TABLE}
    opts["include_object"] = lambda _object, name, *_: name not in COLLATED
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
