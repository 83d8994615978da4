"""What `alembic` runs for every command, and common/schema/migrate.py through it."""

from __future__ import annotations

import sys
from importlib import import_module

from alembic import context
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from common.process.settings import SettingError, Settings
from common.schema.tables import metadata

# Each service declares its tables in the shared metadata when its models are imported.
for service in ("edge_api", "orders_service", "inventory_service", "payments_service"):
    import_module(f"{service}.models")

OPTIONS = {
    "target_metadata": metadata,
    # Each migration commits by itself: one that must run outside a transaction may follow one that runs inside.
    "transaction_per_migration": True,
}


def address() -> str:
    """Where the database is: from the caller (common/schema/migrate.py), else from the settings."""
    given = context.config.attributes.get("url")
    try:
        return str(given or Settings.load().database_url)
    except SettingError as error:
        sys.exit(str(error))


def print_sql() -> None:
    """For `alembic upgrade --sql`: no database is asked."""
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def migrate() -> None:
    # SQLAlchemy 2.1 takes a plain postgresql:// for psycopg 3, which is not installed.
    url = make_url(address()).set(drivername="postgresql+psycopg2")
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    with engine.connect() as connection:
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    print_sql()
else:
    migrate()
