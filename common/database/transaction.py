"""The statements of one transaction."""

from __future__ import annotations

from typing import Any

from common.database.lock_wait import LockWait
from common.database.prepared import prepared
from common.process import moments

Row = dict[str, Any]


class Transaction:
    """Statements of one transaction. Rows are dicts; a UUID is text, a time is aware and in UTC."""

    def __init__(
        self,
        cursor: Any,
        opening: str = "",
        known: set[str] | None = None,
        *,
        limits: str = "",
        by_itself: bool = False,
        lock_wait: LockWait | None = None,
    ) -> None:
        """
        :param opening: sent with the first statement, which saves a round trip
        :param known: names of the statements that this connection has prepared; None: prepare nothing
        :param limits: SQL that must run in the same transaction as the statements
        :param by_itself: whether each statement is its own transaction
        :param lock_wait: how long statements may still wait for locks; None: as long as `limits` say
        """
        self._cursor, self._known, self._lock_wait = cursor, known, lock_wait
        self._prefix = opening + limits
        self._next_prefix = limits if by_itself else ""
        self._closing = b""

    def all(self, sql: str, **params: Any) -> list[Row]:
        self.execute(sql, **params)
        if not self._cursor.description:
            return []
        names = [column.name for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]

    def one(self, sql: str, **params: Any) -> Row | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def execute(self, sql: str, **params: Any) -> int:
        """:returns: how many rows were changed"""
        text = self._prepared(sql)
        prefix, self._prefix = self._prefix, self._next_prefix
        limit = self._lock_wait.limit() if self._lock_wait else ""
        self._cursor.execute(prefix + limit + text, params)
        return int(self._cursor.rowcount)

    def execute_at_the_end(self, sql: str, **params: Any) -> None:
        """Run a statement whose outcome nobody needs. It is sent with COMMIT, which saves a round trip.

        Within `transact` only.
        """
        if moments.separates_commits():  # a test observes the moment in between
            self.execute(sql, **params)
            return
        self._closing += self._cursor.mogrify(self._prepared(sql), params) + b"; "

    @property
    def has_end(self) -> bool:
        return bool(self._closing)

    def commit(self) -> None:
        self._cursor.execute(self._prefix.encode() + self._closing + b"COMMIT")

    def _prepared(self, sql: str) -> str:
        if self._known is None or (statement := prepared(sql)) is None:
            return sql
        if statement.name not in self._known:
            self._cursor.execute(statement.prepare)
            self._known.add(statement.name)
        return statement.execute
