"""Take over the record of migrations that earlier releases kept in `alembic_version`.

That table, and a revision "0005" in it, may belong to another program. It counts as ours only if our tables exist too.
It is left unchanged, so that the earlier release still runs.
"""

from __future__ import annotations

from typing import Any

from common.database import version

# A relation that only this old revision created.
MADE = {
    "0001": "inventory_adjustments",
    "0002": "order_items",
    "0003": "payment_authorizations",
    "0004": "order_ledger_history",
    "0005": "audit_violations",
}
CREATE = (
    f"CREATE TABLE {version.TABLE} (version_num varchar(32) NOT NULL,"
    f" CONSTRAINT {version.TABLE}_pkc PRIMARY KEY (version_num))"
)


def adopt(connection: Any) -> None:
    """Copy the revision from the old table to ours, once.

    :param connection: of SQLAlchemy, in a transaction
    """
    if _exists(connection, version.TABLE) or not _exists(connection, "alembic_version"):
        return
    numbers = list(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())
    if len(numbers) == 1 and numbers[0] in MADE and _made_all(connection, numbers[0]):
        connection.exec_driver_sql(CREATE)
        connection.exec_driver_sql(f"INSERT INTO {version.TABLE} VALUES (%s)", (version.revision(numbers[0]),))


def _made_all(connection: Any, last: str) -> bool:
    return all(_exists(connection, relation) for number, relation in MADE.items() if number <= last)


def _exists(connection: Any, relation: str) -> bool:
    return bool(connection.exec_driver_sql("SELECT to_regclass(%s) IS NOT NULL", (relation,)).scalar())
