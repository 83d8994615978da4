"""Migrate the database up or down. Safe to repeat, safe when two run at once, safe while orders run."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from common.database import version
from common.database.sessions import connect
from common.database.transaction import Transaction
from common.schema.grants import grant
from common.schema.locks import alone, limits, with_table_locks
from common.schema.reaching import NAME

log = logging.getLogger(__name__)

ALEMBIC_INI = Path(__file__).resolve().parents[2] / "alembic.ini"


def upgrade(url: str, revision: str = "head") -> tuple[str, str]:
    """Migrate the database at `url` up to `revision`, and give the roles of the processes their rights.

    :returns: the migration that the database had, empty for none, and the one that it has now
    :raises DatabaseUnreachable: after 30 s, or at once where waiting does not help
    :raises LockUnavailable: when another migration, or another user of a table, does not end
    """
    with alone(url):
        before = _current(url)
        with_table_locks(lambda: command.upgrade(config(url), revision))
        _grant(url)
        return before, _current(url)


def _current(url: str) -> str:
    with closing(connect(url, name=NAME)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(limits())
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (version.TABLE,))
        if not cursor.fetchone()[0]:
            return ""
        cursor.execute(version.CURRENT)
        return str(cursor.fetchone()[0])


def _grant(url: str) -> None:
    """Give the roles of the processes their rights on the tables as they are now."""
    with closing(connect(url, name=NAME)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(limits())
        changed = grant(Transaction(cursor))
    if changed:
        log.info("the rights of these roles were brought up to date: %s", ", ".join(changed))


def downgrade(url: str, revision: str) -> None:
    """Migrate the database at `url` down to `revision` (`base`: an empty database)."""
    with alone(url):
        with_table_locks(lambda: command.downgrade(config(url), revision))


def config(url: str) -> Config:
    """Alembic's configuration, for the database at `url`."""
    made = Config(ALEMBIC_INI)
    made.attributes["url"] = url
    return made
