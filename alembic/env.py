"""Alembic runs this file for every command, including those of common/schema/migrate.py."""

from __future__ import annotations

import sys
from contextlib import closing
from importlib import import_module
from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from common.database import version
from common.database.sessions import connect
from common.process.settings import SettingError, Settings
from common.schema.adoption import adopt
from common.schema.locks import limits
from common.schema.reaching import NAME
from common.schema.tables import metadata

# Each package declares its tables in the shared metadata when its models are imported.
SERVICES = ("edge_api", "orders_service", "inventory_service", "payments_service")
PACKAGES = (*SERVICES, "orchestrator", "webhooks", "console", "ops")
for package in PACKAGES:
    import_module(f"{package}.models")

OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "version_table": version.TABLE,
    # Each migration commits by itself, so that one may run outside a transaction after one that runs inside.
    "transaction_per_migration": True,
}


def address() -> str:
    """Return the database's address: the caller's (common/schema/migrate.py), or else the setting."""
    given = context.config.attributes.get("url")
    try:
        return str(given or Settings.load().database_direct_url)
    except SettingError as error:
        sys.exit(str(error))


def print_sql() -> None:
    """Print SQL for `alembic upgrade --sql`, without a database."""
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def migrate() -> None:
    url = address()
    # libpq reads the address, because SQLAlchemy does not understand all of its forms.
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connect(url, name=NAME), poolclass=NullPool)
    event.listen(engine, "begin", limit)
    with engine.connect() as connection:
        with connection.begin():
            adopt(connection)
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


def limit(connection: Connection) -> None:
    """Set the limits of one transaction, with its first statement."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(limits())


if context.is_offline_mode():
    print_sql()
else:
    migrate()
