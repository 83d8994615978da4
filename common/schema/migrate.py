"""Migrate the database up or down. Safe to repeat, safe when two run at once, safe while orders run."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from common.schema.locks import alone, with_table_locks

ALEMBIC_INI = Path(__file__).resolve().parents[2] / "alembic.ini"


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` up to `revision`.

    :raises DatabaseUnreachable: after 30 s, or at once where waiting does not help
    :raises LockUnavailable: when another migration, or another user of a table, does not end
    """
    with alone(url):
        with_table_locks(lambda: command.upgrade(config(url), revision))


def downgrade(url: str, revision: str) -> None:
    """Migrate the database at `url` down to `revision` (`base`: an empty database)."""
    with alone(url):
        with_table_locks(lambda: command.downgrade(config(url), revision))


def config(url: str) -> Config:
    """Alembic's configuration, for the database at `url`."""
    made = Config(ALEMBIC_INI)
    made.attributes["url"] = url
    return made
