"""What operators are told of: each condition that holds now, as the database knows it. No personal data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from common.database import entry_errors
from common.database.database import Database
from webhooks import alert_statements as sql
from webhooks.store import GONE, TOO_LONG

log = logging.getLogger(__name__)

# The rows that the last recorded audit has found. Its table belongs to `ops`.
AUDIT = """
SELECT '' AS subject, LEAST(rows_found, 1000000000) AS count, at AS since FROM audit_runs ORDER BY at DESC LIMIT 1
"""
# Processes that have given no sign of life for a minute, and that no later one has replaced.
SILENT = """
SELECT process AS subject, count(*) AS count, min(seen_at) AS since FROM process_heartbeats AS silent
WHERE seen_at < now() - interval '1 minute' AND NOT EXISTS (
  SELECT FROM process_heartbeats AS later WHERE later.process = silent.process AND later.started_at > silent.seen_at)
GROUP BY process
"""


@dataclass(frozen=True)
class Source:
    """Where the conditions of one kind come from: a statement that returns `subject`, `count` and `since`."""

    kind: str
    statement: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    table: str = ""
    """Without this table there is nothing to tell. Empty: it is always there."""


SOURCES = (
    Source("attention", sql.ATTENTION),
    Source("audit", AUDIT, table="audit_runs"),
    Source("endpoints", sql.ENDPOINTS, {"reasons": [GONE, TOO_LONG]}),
    Source("silent", SILENT, table="process_heartbeats"),
    Source("stuck", sql.STUCK),
)


@dataclass(frozen=True)
class Condition:
    """Something that a person should know, for as long as it lasts."""

    kind: str
    subject: str
    """Of several conditions of one kind: which. Otherwise empty."""
    count: int
    since: datetime


@dataclass(frozen=True)
class Look:
    """What was found, and the kinds that were looked for. Of another kind nothing is known."""

    kinds: Sequence[str]
    found: Sequence[Condition]


def look(database: Database, sources: Sequence[Source] = SOURCES) -> Look:
    """Look for the conditions of every kind. One kind that cannot be read does not hide the others.

    :raises TransientDatabaseError: the database cannot be used now
    """
    kinds: list[str] = []
    found: list[Condition] = []
    for source in sources:
        try:
            conditions = _read(database, source)
        except Exception as error:  # re-raised unless this kind may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            log.error("cannot look whether operators must be told of %s: %s", source.kind, entry_errors.reason(error))
            continue
        if conditions is not None:
            kinds.append(source.kind)
            found += conditions
    return Look(kinds, found)


def _read(database: Database, source: Source) -> list[Condition] | None:
    """:returns: None if the source does not exist"""
    if source.table and not database.all(sql.IS_THERE, name=source.table)[0]["is_there"]:
        return None
    rows = database.all(source.statement, **source.parameters)
    return [Condition(source.kind, row["subject"], row["count"], row["since"]) for row in rows if row["count"]]
