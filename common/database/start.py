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
# MEMBER: the role could also take on the owner's rights with SET ROLE.
MAY_DO_ANYTHING = f"""
SELECT rolsuper OR COALESCE(pg_has_role(current_user, (SELECT relowner FROM pg_class
  WHERE oid = to_regclass('{version.TABLE}')), 'MEMBER'), false) FROM pg_roles WHERE rolname = current_user
"""
PROBLEM = (
    "{name} must not name a role that owns the tables or is a superuser where APP_ENV is production: it could change"
    " the history and switch off its triggers. Create the role of this process with `python -m ops roles`, and set"
    " {own}_DATABASE_URL"
)


def role_problem(settings: Settings, process: str) -> str:
    """Why the process must not run with its database role. Empty: it may, or the database does not answer."""
    if settings.app_env != "production" or not _may_do_anything(settings.database_url, f"{process} start"):
        return ""
    return PROBLEM.format(name=settings.database_names(process)["url"], own=process.upper())


def record(settings: Settings, process: str, stop: Callable[[], None]) -> None:
    """Record this start as soon as the database answers, from a separate thread: its release and its settings' names.

    :param stop: ends the process, whose role could not be checked while the database was down
    """
    arguments = settings, process, Settings.given(), stop
    threading.Thread(target=_record, args=arguments, name="start", daemon=True).start()


def _record(settings: Settings, process: str, names: list[str], stop: Callable[[], None]) -> None:
    while True:
        try:
            with closing(connect(settings.database_url, name=f"{process} start")) as connection:
                if problem := role_problem(settings, process):
                    log.critical(problem)
                    stop()
                    return
                with connection, connection.cursor() as cursor:
                    details = {"release": metadata.version("holdfast"), "settings": names}
                    operator_log.add(Transaction(cursor), f"{process}@{socket.gethostname()}", "start", details)
            return
        except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable):  # down, or not migrated yet
            time.sleep(TRY_AGAIN_S)
        except psycopg2.Error as error:  # a record that fails must not stop orders
            log.warning("this start was not recorded: %s", str(error).strip().partition("\n")[0])
            return


def _may_do_anything(url: str, name: str) -> bool:
    """False also if the database does not answer in time: it may be down at the start."""
    deadline = time.monotonic() + CHECK_WITHIN_S
    try:
        with closing(nonblocking.open_async(url, name, deadline)) as connection, connection.cursor() as cursor:
            cursor.execute(MAY_DO_ANYTHING)
            nonblocking.wait(connection, deadline)
            return bool(cursor.fetchone()[0])
    except (psycopg2.Error, TimeoutError, OSError):
        return False
