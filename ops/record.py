"""Record what an operator did, in the transaction of the change."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any

from common.database import operator_log
from common.process.settings import Settings


def record(database: operator_log.Records, action: str, by: str | None = None, /, **details: Any) -> None:
    """Add a row to `operator_log`: who, what (`keys.create`, for example) and when.

    :param database: the transaction of the change, or a whole database
    :param by: who; None: who runs this command
    :param details: what was changed, as JSON can hold it; no secrets, no personal data
    """
    operator_log.add(database, actor() if by is None else by, action, details)


def actor() -> str:
    """Who runs this command: HOLDFAST_OPERATOR, or else the user and the host."""
    return Settings.read("holdfast_operator") or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user number without a name
        return str(os.getuid())
