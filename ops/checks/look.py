"""The types `Look`, through which a check queries the database, and `Check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from common.database.soundness import Problem
from common.database.transaction import Row, Transaction
from common.process.settings import Settings

SETTINGS = "SELECT name, reset_val AS value FROM pg_settings"
# A setting of the role for this database overrides one of the role for all databases, which overrides the database's.
OWNER_OF_SETTING = """
SELECT COALESCE(
  (SELECT format(CASE setdatabase WHEN 0 THEN 'ROLE %%I' ELSE 'ROLE %%I IN DATABASE %%I' END, current_user,
      current_database())
    FROM pg_db_role_setting, unnest(setconfig) AS setting
    WHERE setrole = current_user::regrole AND setting LIKE %(name)s || '=%%'
      AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    ORDER BY setdatabase DESC LIMIT 1),
  format('DATABASE %%I', current_database())) AS owner
"""


@dataclass(frozen=True)
class Look:
    """One transaction on the database, and the settings of the processes."""

    tx: Transaction
    settings: Settings
    connection: Any

    def all(self, sql: str, **params: Any) -> list[Row]:
        return self.tx.all(sql, **params)

    @cached_property
    def server(self) -> dict[str, str]:
        """The server's settings as a new session of this role gets them. Times are in milliseconds."""
        return {row["name"]: row["value"] for row in self.all(SETTINGS)}

    def set(self, name: str, value: str) -> str:
        """The statement that changes a setting for new sessions, for the role if the role has its own value."""
        (row,) = self.all(OWNER_OF_SETTING, name=name)
        return f"ALTER {row['owner']} SET {name} = '{value}'"


@dataclass(frozen=True)
class Check:
    name: str
    fine: str
    """The statement that holds if no problem is found."""
    find: Callable[[Look], Iterable[Problem]]
