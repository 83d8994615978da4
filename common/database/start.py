"""What a process does once at its start: check the rights of its database role, and record the start."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from importlib import metadata

import psycopg2
import psycopg2.errors

from common.database import nonblocking, operator_log, version
from common.database.sessions import connect
from common.database.transaction import Transaction
from common.process.settings import Settings

log = logging.getLogger(__name__)

CHECK_WITHIN_S = 3.0
TRY_AGAIN_S = 5.0
# MEMBER: the role could also take on the owner's rights with SET ROLE. NULL: there are no tables yet.
MAY_DO_ANYTHING = f"""
SELECT rolsuper OR pg_has_role(current_user, (SELECT relowner FROM pg_class
  WHERE oid = to_regclass('{version.TABLE}')), 'MEMBER') FROM pg_roles WHERE rolname = current_user
"""
PROBLEM = (
    "{name} must not name a role that owns the tables or is a superuser where APP_ENV is production: it could change"
    " the history and switch off its triggers. Create the role of this process with `python -m ops roles`, and set"
    " {own}"
)


def role_problem(settings: Settings, process: str) -> str | None:
    """Why the process must not run with the database role of one of its addresses. Empty: it may.

    None: this is unknown, because a database is down, or has no tables yet.
    """
    if settings.app_env != "production":
        return ""
    names = settings.database_names(process)
    addresses = {settings.database_direct_url: names["direct_url"], settings.database_url: names["url"]}
    found = {name: _may_do_anything(url, f"{process} start") for url, name in addresses.items()}
    for name, may_do_anything in found.items():
        if may_do_anything:
            own = name if name.startswith(process.upper()) else f"{process}_DATABASE_URL".upper()
            return PROBLEM.format(name=name, own=own)
    return None if None in found.values() else ""


def record(settings: Settings, process: str, stop: Callable[[], None]) -> None:
    """Record this start as soon as the database answers, from a separate thread: its release and its settings' names.

    :param stop: ends the process, whose role could not be checked while the database was down
    """
    arguments = settings, process, Settings.given(), stop
    threading.Thread(target=_record, args=arguments, name="start", daemon=True).start()


def _record(settings: Settings, process: str, names: list[str], stop: Callable[[], None]) -> None:
    while True:
        problem = role_problem(settings, process)
        if problem:
            log.critical(problem)
            stop()
            return
        if problem is not None and _is_recorded(settings, process, names):
            return
        time.sleep(TRY_AGAIN_S)


def _is_recorded(settings: Settings, process: str, names: list[str]) -> bool:
    """False: it must be tried again."""
    try:
        opened = connect(settings.database_url, name=f"{process} start")
        with closing(opened) as connection, connection, connection.cursor() as cursor:
            details = {"release": metadata.version("holdfast"), "settings": names}
            operator_log.add(Transaction(cursor), f"{process}@{socket.gethostname()}", "start", details)
    except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable):  # down, or not migrated yet
        return False
    except psycopg2.Error as error:  # a record that fails must not stop orders
        log.warning("this start was not recorded: %s", str(error).strip().partition("\n")[0])
    return True


def _may_do_anything(url: str, name: str) -> bool | None:
    """None: the database does not answer in time, or has no tables yet. It may be down at the start."""
    deadline = time.monotonic() + CHECK_WITHIN_S
    try:
        with closing(nonblocking.open_async(url, name, deadline)) as connection, connection.cursor() as cursor:
            cursor.execute(MAY_DO_ANYTHING)
            nonblocking.wait(connection, deadline)
            return cursor.fetchone()[0]  # type: ignore[no-any-return]
    except (psycopg2.Error, TimeoutError, OSError):
        return None
