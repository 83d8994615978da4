"""`python -m ops service-token`: a token for a person who calls a participant."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from common.credentials.service_tokens import OPS, OPS_LIFETIME_S, PARTICIPANTS, issue
from common.process import env_file
from common.process.settings import SettingError, Settings
from ops.database import Unusable, transaction
from ops.record import record

TIMEOUT_S = 5

AUDIENCES = (*PARTICIPANTS, *(name.removesuffix("_service") for name in PARTICIPANTS))
LOCAL_FILE = Path(__file__).resolve().parent.parent / "var" / "credentials.env"
"""What `make run` uses."""


def run(environ: Mapping[str, str] | None, audience: str) -> int:
    """Print a token that is valid for an hour, and record who asked for it. :raises Unusable:

    It needs no database. In production a notice says if the token is not in the record.
    """
    name = audience if audience in PARTICIPANTS else f"{audience}_service"
    token = issue(token_keys(environ), OPS, name, time.time(), OPS_LIFETIME_S)
    try:
        with transaction(environ, timeout_s=TIMEOUT_S) as tx:
            record(tx, "service_token", audience=name)
    except Unusable as reason:
        if Settings.read("app_env", environ) == "production":
            sys.stderr.write(f"The token is not in the record of operators: {reason}\n")
    sys.stdout.write(f"{token}\n")
    return 0


def token_keys(environ: Mapping[str, str] | None) -> tuple[str, ...]:
    """The keys that sign service tokens, in development those of `make run`. :raises Unusable: there are none"""
    given = os.environ if environ is None else environ
    try:
        if given.get("APP_ENV") != "production":
            given = env_file.read(LOCAL_FILE) | {name: value for name, value in given.items() if value}
        keys: tuple[str, ...] = Settings.read("service_token_keys", given)
    except SettingError as error:
        raise Unusable(str(error)) from None
    if not keys:
        raise Unusable("SERVICE_TOKEN_KEYS is not set. `make run` makes it; a service prints no token without it.")
    return keys
