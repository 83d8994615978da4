"""Add rows to `operator_log`: what operators did, and each start of a process. The database refuses to change a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

INSERT = "INSERT INTO operator_log (actor, action, details) VALUES (%(actor)s, %(action)s, %(details)s::jsonb)"


class Records(Protocol):
    """A transaction, or a whole database."""

    def all(self, sql: str, **params: Any) -> list[dict[str, Any]]: ...


def add(database: Records, actor: str, action: str, details: Mapping[str, Any]) -> None:
    """:param details: without secrets and without personal data"""
    database.all(INSERT, actor=actor, action=action, details=json.dumps(details, default=str))
