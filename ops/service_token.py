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
from ops.database import Unusable

AUDIENCES = (*PARTICIPANTS, *(name.removesuffix("_service") for name in PARTICIPANTS))
LOCAL_FILE = Path(__file__).resolve().parent.parent / "var" / "credentials.env"
"""What `make run` uses."""


def run(environ: Mapping[str, str] | None, audience: str) -> int:
    """Print a token that is valid for an hour. It needs no database. :raises Unusable:"""
    name = audience if audience in PARTICIPANTS else f"{audience}_service"
    sys.stdout.write(f"{issue(_keys(environ), OPS, name, time.time(), OPS_LIFETIME_S)}\n")
    return 0


def _keys(environ: Mapping[str, str] | None) -> tuple[str, ...]:
    given = os.environ if environ is None else environ
    if given.get("APP_ENV") != "production":
        given = env_file.read(LOCAL_FILE) | {name: value for name, value in given.items() if value}
    try:
        keys: tuple[str, ...] = Settings.read("service_token_keys", given)
    except SettingError as error:
        raise Unusable(str(error)) from None
    if not keys:
        raise Unusable("SERVICE_TOKEN_KEYS is not set. `make run` makes it; a service prints no token without it.")
    return keys
