"""The state: objects as JSON, answers by key, faults, webhooks to send, and a clock that can be set."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (id TEXT PRIMARY KEY, kind TEXT, number INTEGER, body TEXT);
CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, request TEXT, status INTEGER, body TEXT, at INTEGER);
CREATE TABLE IF NOT EXISTS faults (number INTEGER PRIMARY KEY, operation TEXT, kind TEXT, rate REAL, times INTEGER);
CREATE TABLE IF NOT EXISTS clock (ahead_s INTEGER);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS webhooks (number INTEGER PRIMARY KEY, body TEXT, due_at REAL, attempts INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS objects_by_number ON objects (number);
CREATE INDEX IF NOT EXISTS objects_by_intent ON objects (json_extract(body, '$.payment_intent'));
CREATE INDEX IF NOT EXISTS keys_by_age ON keys (at);
"""
CLEAR = (
    "DELETE FROM objects",
    "DELETE FROM keys",
    "DELETE FROM faults",
    "DELETE FROM clock",
    "DELETE FROM settings",
    "DELETE FROM webhooks",
)
OLDEST = "SELECT number, body, attempts FROM webhooks WHERE due_at <= ? ORDER BY number LIMIT 1"
NEWEST = "SELECT number, body, attempts FROM webhooks WHERE due_at <= ? ORDER BY number DESC LIMIT 1"
Object = dict[str, Any]


class Store:
    """One request's view of the state. Requests run one by one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.request: Object = {"id": None, "idempotency_key": None}
        """What events say about their cause."""

    def now(self) -> int:
        return int(time.time()) + self.ahead_s()

    def ahead_s(self) -> int:
        row = self._connection.execute("SELECT ahead_s FROM clock").fetchone()
        return int(row[0]) if row else 0

    def advance(self, seconds: int) -> None:
        ahead_s = self.ahead_s() + seconds
        self._connection.execute("DELETE FROM clock")
        self._connection.execute("INSERT INTO clock VALUES (?)", (ahead_s,))

    def find(self, id_: str) -> Object | None:
        row = self._connection.execute("SELECT body FROM objects WHERE id = ?", (id_,)).fetchone()
        return json.loads(row[0]) if row else None

    def save(self, thing: Object) -> Object:
        self._connection.execute(
            "INSERT INTO objects VALUES (?1, ?2, (SELECT COALESCE(max(number), 0) + 1 FROM objects), ?3)"
            " ON CONFLICT (id) DO UPDATE SET body = ?3",
            (thing["id"], thing["object"], json.dumps(thing)),
        )
        return thing

    def all(self, kind: str) -> list[Object]:
        """The newest first."""
        rows = self._connection.execute("SELECT body FROM objects WHERE kind = ? ORDER BY number DESC", (kind,))
        return [json.loads(body) for (body,) in rows]

    def refunds_of(self, intent_id: str) -> list[Object]:
        """The newest first."""
        rows = self._connection.execute(
            "SELECT body FROM objects WHERE json_extract(body, '$.payment_intent') = ? AND kind = 'refund'"
            " ORDER BY number DESC",
            (intent_id,),
        )
        return [json.loads(body) for (body,) in rows]

    def answered(self, key: str) -> tuple[str, int, str] | None:
        """The request, the status and the body that the key stands for."""
        row = self._connection.execute("SELECT request, status, body FROM keys WHERE key = ?", (key,)).fetchone()
        return tuple(row) if row else None

    def remember(self, key: str, request: str, status: int, body: str) -> None:
        self._connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", (key, request, status, body, self.now()))

    def forget_keys(self, before: int) -> None:
        self._connection.execute("DELETE FROM keys WHERE at < ?", (before,))

    def forget_refusals(self, about: str) -> None:
        """Forget the keys of refused requests that name this id."""
        self._connection.execute("DELETE FROM keys WHERE status >= 400 AND instr(request, ?)", (about,))

    def add_fault(self, operation: str, kind: str, rate: float, times: int | None) -> None:
        row = (operation, kind, rate, times)
        self._connection.execute("INSERT INTO faults (operation, kind, rate, times) VALUES (?, ?, ?, ?)", row)

    def faults(self, operation: str) -> list[tuple[int, str, float]]:
        """Number, kind and rate of those that are left for an operation."""
        rows = self._connection.execute(
            "SELECT number, kind, rate FROM faults"
            " WHERE operation IN (?, 'any') AND (times IS NULL OR times > 0) ORDER BY number",
            (operation,),
        )
        return list(rows)

    def use_fault(self, number: int) -> None:
        self._connection.execute("UPDATE faults SET times = times - 1 WHERE number = ?", (number,))

    def end_faults(self) -> None:
        self._connection.execute("DELETE FROM faults")

    def setting(self, name: str) -> Object:
        row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def set(self, name: str, value: Object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def add_webhook(self, body: str, due_at: float | None) -> None:
        """:param due_at: as `time.time()`; None: it is held back"""
        self._connection.execute("INSERT INTO webhooks (body, due_at) VALUES (?, ?)", (body, due_at))

    def due_webhook(self, at: float, *, newest_first: bool) -> tuple[int, str, int] | None:
        """The number, the body and the attempts of one that is due."""
        row = self._connection.execute(NEWEST if newest_first else OLDEST, (at,)).fetchone()
        return tuple(row) if row else None

    def next_webhook_at(self) -> float | None:
        row = self._connection.execute("SELECT min(due_at) FROM webhooks").fetchone()
        return None if row[0] is None else float(row[0])

    def postpone_webhook(self, number: int, due_at: float) -> None:
        statement = "UPDATE webhooks SET due_at = ?, attempts = attempts + 1 WHERE number = ?"
        self._connection.execute(statement, (due_at, number))

    def release_webhooks(self, due_at: float) -> None:
        self._connection.execute("UPDATE webhooks SET due_at = ? WHERE due_at IS NULL", (due_at,))

    def remove_webhook(self, number: int) -> None:
        self._connection.execute("DELETE FROM webhooks WHERE number = ?", (number,))

    def remove_webhooks(self) -> None:
        self._connection.execute("DELETE FROM webhooks")

    def clear(self) -> None:
        for statement in CLEAR:
            self._connection.execute(statement)


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """Commits at the end, and rolls back after an error."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # a killed process loses nothing
        connection.executescript(SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield Store(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
