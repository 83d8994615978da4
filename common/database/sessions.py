"""Open connections to the address in DATABASE_URL, with limits that also hold behind a pooler."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import PYDATETIMETZ

CONNECTION: dict[str, Any] = {
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms; detects a server that vanished in the middle of a statement
}
LIMITS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    # Every statement finds its rows by a key. While a table is small or its statistics are stale, the planner would
    # scan and hash the whole table instead, and keep that plan.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
# A statement that has waited for a lock must see what its holder has committed.
ISOLATION = "read committed"
MARK = "holdfast.session"  # our own setting: a session that has it has received our options
HAS_MARK = f"SELECT current_setting('{MARK}', true) = 'on'"


class Session(NamedTuple):
    connection: Any
    limits: str
    """SQL to send with each transaction. Empty: the session has the limits already."""


class Sessions:
    """Opens the connections of one process to one address.

    A direct connection receives LIMITS when it is opened. A pooler in transaction mode refuses or drops such options,
    because the next transaction may run on another server connection. Then the limits travel with each transaction.
    """

    def __init__(self, url: str, name: str, limits: Mapping[str, str] | None = None) -> None:
        """:param limits: in the place of some LIMITS"""
        self._url, self._name = url, name
        self._limits = {**LIMITS, **(limits or {})}
        self._takes_options = True

    @property
    def lock_limit_s(self) -> float:
        """The lock_timeout of its connections."""
        text = self._limits["lock_timeout"]
        return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))

    def open(self) -> Session:
        connection = self._connect()
        connection.autocommit = True  # we send BEGIN and COMMIT ourselves
        with connection.cursor() as cursor:
            cursor.execute(HAS_MARK)
            ((has_limits,),) = cursor.fetchall()
        return Session(connection, "" if has_limits else limits_for_one_transaction(self._limits))

    def _connect(self) -> Any:
        if self._takes_options:
            try:
                return connect(self._url, name=self._name, options=_options(self._limits))
            except psycopg2.OperationalError as error:
                if not _refuses_options(error):
                    raise
                self._takes_options = False
        return connect(self._url, name=self._name)


def connect(url: str, *, name: str, options: str = "", **more: Any) -> Any:
    """A connection that returns every time in UTC, whatever time zone the session has.

    Parameters in `url` win over ours.
    """
    connection = psycopg2.connect(**parameters(url, name=name, options=options), **more)
    psycopg2.extensions.register_type(TIME_IN_UTC, connection)
    return connection


def parameters(url: str, *, name: str, options: str = "") -> dict[str, Any]:
    """Return libpq's parameters for `url`: those that it names, and our defaults for the rest."""
    given = psycopg2.extensions.parse_dsn(url)
    merged = {**CONNECTION, "application_name": name, **given}
    if options:
        merged["options"] = f"{options} {given.get('options', '')}".strip()  # of two values, the last one counts
    return merged


def limits_for_one_transaction(limits: Mapping[str, str] = LIMITS) -> str:
    of_one = {**limits, "transaction_isolation": ISOLATION}
    return "".join(f"SET LOCAL {name} = '{value}'; " for name, value in of_one.items())


def _options(limits: Mapping[str, str]) -> str:
    of_session = {**limits, "default_transaction_isolation": ISOLATION.replace(" ", r"\ "), MARK: "on"}
    return " ".join(f"-c {name}={value}" for name, value in of_session.items())


def _refuses_options(error: psycopg2.OperationalError) -> bool:
    """Whether a pooler does not accept `options` (PgBouncer: "unsupported startup parameter", RDS Proxy: "options")."""
    return any(words in str(error) for words in ("startup parameter", "command-line options"))


def _in_utc(text: str | bytes | None, cursor: Any) -> datetime | None:
    time = PYDATETIMETZ(text, cursor)
    return time.astimezone(UTC) if isinstance(time, datetime) else time


TIME_IN_UTC = psycopg2.extensions.new_type(PYDATETIMETZ.values, "TIME_IN_UTC", _in_utc)
