"""Migrate the database to the newest schema: `python -m common.schema.migrate`. Safe to repeat, and twice at once."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import alembic.util
import psycopg2
from alembic import command
from alembic.config import Config

from common.process import logs
from common.process.settings import SettingError, Settings

log = logging.getLogger(__name__)

ALEMBIC_INI = Path(__file__).resolve().parents[2] / "alembic.ini"
WAIT_FOR_DATABASE_S = 30  # a database that was started together with us is there by then
LOCK_ID = 0x486F6C64  # "Hold": any number will do, as long as nothing else in this database takes the same

# These do not become right by waiting. The rest may: a server that starts, recovers or is not there yet.
_FINAL = ("password authentication", "does not exist", "no pg_hba.conf entry", "connection option")


class DatabaseUnreachable(Exception):
    """The database does not let us in. The message is one line and holds no password."""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` up to `revision`.

    :raises DatabaseUnreachable: after WAIT_FOR_DATABASE_S, or at once where waiting is of no use
    """
    with _alone(url):
        command.upgrade(_alembic_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate the database at `url` down to `revision` (`base`: to nothing)."""
    with _alone(url):
        command.downgrade(_alembic_config(url), revision)


def check_reachable(url: str, wait_s: float = 0) -> None:
    """Connect once, trying for `wait_s` seconds.

    :raises DatabaseUnreachable: with the server's reason
    """
    _connect(url, wait_s).close()


def _alembic_config(url: str) -> Config:
    config = Config(ALEMBIC_INI)
    config.attributes["url"] = url
    return config


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Hold the lock that lets one migration run at a time; the second waits and then finds nothing to do.

    The lock has a connection of its own, so that it is also held between the migrations' transactions.
    """
    with closing(_connect(url, WAIT_FOR_DATABASE_S)) as connection:
        connection.autocommit = True  # an open transaction would keep CREATE INDEX CONCURRENTLY waiting
        with connection.cursor() as cursor:
            # A statement that waits has a snapshot, for which CREATE INDEX CONCURRENTLY would wait.
            while not _has_lock(cursor):
                time.sleep(0.1)
        yield


def _has_lock(cursor: psycopg2.extensions.cursor) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_ID,))
    return cursor.fetchone() == (True,)


def _connect(url: str, wait_s: float) -> psycopg2.extensions.connection:
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            return psycopg2.connect(url, connect_timeout=5)
        except psycopg2.ProgrammingError:  # libpq would repeat the address, and the password with it
            raise DatabaseUnreachable("DATABASE_URL is not an address that PostgreSQL understands") from None
        except psycopg2.OperationalError as error:
            reason = _one_line(error)
            if time.monotonic() >= deadline or any(final in reason for final in _FINAL):
                raise DatabaseUnreachable(reason) from None
        if not told:
            log.info("waiting for the database: %s", reason)
            told = True
        time.sleep(0.25)


def _one_line(error: BaseException) -> str:
    """The first line of a message: the further ones of libpq are hints and other addresses it tried."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0]


def _attempt(work: Callable[[], None]) -> str:
    """Do the work; the reason in one line where it fails."""
    try:
        work()
    except SettingError as error:
        return str(error)
    except DatabaseUnreachable as error:
        return f"the database cannot be reached: {error}"
    except alembic.util.CommandError as error:
        return f"the migrations cannot be run: {_one_line(error)}"
    except Exception as error:  # whatever it is, an operator gets one line, and the traceback at LOG_LEVEL=DEBUG
        log.debug("migration failed", exc_info=True)
        return f"the migration failed: {type(error).__name__}: {_one_line(error)}"
    return ""


def _migrate() -> None:
    settings = Settings.load()
    logs.configure("migrate", settings.log_level, settings.log_format)
    # Of what alembic tells, only which migrations it runs.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logging.getLogger("alembic.runtime.migration").addFilter(lambda record: record.msg.startswith("Running"))
    upgrade(settings.database_url)
    log.info("the database is at the newest schema")


def _stay() -> None:
    while True:
        signal.pause()


def main() -> int:
    """Migrate as the settings say; the exit code.

    Under honcho it stays until it is stopped: `honcho start` ends all processes as soon as one has ended, whatever
    its code. On a platform it must end, for its end is what lets the new version start.
    """
    under_honcho = "HONCHO_PROCESS_NAME" in os.environ
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback at Ctrl-C; what was not committed is rolled back
    if under_honcho:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: sys.exit(0))
    failure = _attempt(_migrate)
    if failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    if under_honcho:
        _stay()
    return 0


if __name__ == "__main__":
    sys.exit(main())
