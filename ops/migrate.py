"""`python -m ops migrate`: migrate the database to the newest schema. The Procfile's `release` runs it."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import closing

import alembic.util

from common.database.sessions import connect
from common.database.transaction import Transaction
from common.process import logs
from common.process.settings import SettingError, Settings
from common.schema.locks import LockUnavailable
from common.schema.migrate import upgrade
from common.schema.reaching import DatabaseUnreachable, one_line
from ops.record import record

log = logging.getLogger(__name__)


def run(environ: Mapping[str, str] | None) -> int:
    """Migrate as the settings say; the exit code.

    Under honcho it then keeps running until it is stopped, because `honcho start` stops all processes when one exits.
    On a platform it must exit: the new version starts afterwards.
    """
    under_honcho = "HONCHO_PROCESS_NAME" in os.environ
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback at Ctrl-C; uncommitted changes are rolled back
    if under_honcho:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: sys.exit(0))
    failure = _attempt(lambda: _migrate(environ))
    if failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    if under_honcho:
        _stay()
    return 0


def _migrate(environ: Mapping[str, str] | None) -> None:
    settings = Settings.load(environ)
    logs.configure("migrate", settings.log_level, settings.log_format)
    # Of Alembic's messages, log only which migrations it runs.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logging.getLogger("alembic.runtime.migration").addFilter(lambda record: record.msg.startswith("Running"))
    before, after = upgrade(settings.database_direct_url)
    if before != after:
        _record(settings.database_direct_url, before, after)
    log.info("the database has the newest schema")


def _record(url: str, before: str, after: str) -> None:
    with closing(connect(url, name="holdfast ops")) as connection, connection, connection.cursor() as cursor:
        record(Transaction(cursor), "migrate", before=before, after=after)


def _attempt(work: Callable[[], None]) -> str:
    """Do the work. :returns: the reason in one line if it fails"""
    try:
        work()
    except SettingError as error:
        return str(error)
    except DatabaseUnreachable as error:
        return f"the database cannot be reached: {error}"
    except LockUnavailable as error:
        return f"the database was not migrated: {error}"
    except alembic.util.CommandError as error:
        return f"the migrations cannot be run: {one_line(error)}"
    except Exception as error:  # an operator gets one line, and the traceback at LOG_LEVEL=DEBUG
        log.debug("migration failed", exc_info=True)
        return f"the migration failed: {type(error).__name__}: {one_line(error)}"
    return ""


def _stay() -> None:
    while True:
        signal.pause()
