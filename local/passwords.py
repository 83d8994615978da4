"""The passwords of the embedded PostgreSQL, in a file that only its owner can read and that libpq looks into.

So an address needs no password, and can be printed. The server asks for one, so that a process cannot log in with the
role of another one by naming it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import psycopg2

from common.database.transaction import Transaction
from common.schema.accounts import create_missing, new_password, set_password
from local.orphan import wait_until

RULES = "local all all {method}\n"  # pg_hba.conf: nobody connects by TCP
RELOAD_WITHIN_S = 10


class PasswordFile:
    """Lines of `*:*:*:ROLE:PASSWORD` (PostgreSQL's "The Password File")."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def passwords(self) -> dict[str, str]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return dict(line.split(":")[3:5] for line in lines)

    def prepare(self, hba: Path, roles: Sequence[str]) -> bool:
        """Make the passwords that are missing, before the server starts. Without the first, nobody could log in.

        :param hba: the server's rules of who may connect
        :returns: whether the server knows all passwords, and asks for them
        """
        known = self.passwords()
        new = {role: new_password() for role in roles if role not in known}
        if new:
            self._write("".join(f"*:*:*:{role}:{password}\n" for role, password in (known | new).items()))
        if roles[0] in new:
            _overwrite(hba, RULES.format(method="trust"))
        return not new and "trust" not in hba.read_text()

    def apply(self, url: str, hba: Path, reload: Callable[[], None]) -> None:
        """Create the roles of the processes, give all roles their passwords, and have the server ask for them."""
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            tx = Transaction(cursor)
            create_missing(tx)
            for role, password in self.passwords().items():
                set_password(connection, tx, role, password)
        _overwrite(hba, RULES.format(method="scram-sha-256"))
        reload()
        wait_until(lambda: _refuses(url), RELOAD_WITHIN_S)

    def _write(self, text: str) -> None:
        """Replace the file at once, so that an interrupted start leaves no half of it."""
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        unfinished.rename(self.path)


def _overwrite(path: Path, text: str) -> None:
    """Write a file that stays its owner's. Never through a link: the folder may be another user's."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "w") as file:
        file.write(text)


def _refuses(url: str) -> bool:
    """Whether the server refuses a wrong password."""
    try:
        psycopg2.connect(url, password="wrong").close()
    except psycopg2.OperationalError:
        return True
    return False
