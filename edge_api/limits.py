"""Limits of a key and of an address, which apply before and after the credential of a request is checked."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

import psycopg2
from flask import current_app, g, request

from common.api.access import Access, Guard
from common.api.client_address import Proxies, subject
from common.api.errors import Unauthorized
from common.database.database import Database
from common.database.errors import TransientDatabaseError
from common.process.settings import Settings
from edge_api.rates import Rate
from edge_api.store import NOBODY, Payers

EXPIRE_EVERY_S = 60.0
EXPIRE_REST_AFTER_S = 1.0
MAX_KNOWN = 10_000

# Delete rows that count no more, in batches that hold no lock for long.
EXPIRE = """
WITH rates AS (
  DELETE FROM request_rates WHERE refilled_at < now() - interval '1 hour' AND subject IN (
    SELECT subject FROM request_rates WHERE refilled_at < now() - interval '1 hour'
    ORDER BY refilled_at LIMIT %(batch)s)
  RETURNING 1
), old_declines AS (
  DELETE FROM declines WHERE (subject, at) IN (
    SELECT subject, at FROM declines WHERE at < now() - interval '1 hour' ORDER BY at LIMIT %(batch)s)
  RETURNING 1
)
SELECT GREATEST((SELECT count(*) FROM rates), (SELECT count(*) FROM old_declines)) = %(batch)s AS is_full
"""
BATCH = 1000
log = logging.getLogger(__name__)


@dataclass
class Limits:
    """The limits of one process. Their counters are in the database."""

    database: Database = field(repr=False)
    settings: Settings = field(repr=False)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        limits = self.settings
        self.by_key = Rate(self.database, "requests", limits.requests_per_minute_per_key, self.clock)
        self.by_address = Rate(self.database, "requests", limits.requests_per_minute_per_address, self.clock)
        self.failures = Rate(self.database, "failures", limits.failed_authentications_per_minute, self.clock)
        self.max_declines = limits.declines_per_hour
        self._known: set[bytes] = set()
        self._expire_at = self.clock()

    def guard(self, check: Guard) -> Guard:
        """The same guard, with limits before and after it."""

        def guard(authorization: str | None, access: Access) -> str:
            self.expire_if_due()
            address = client_subject()
            if address:
                self.by_address.take(address)
            caller = self._checked(check, authorization, access, address)
            self.by_key.take(key_subject(caller))
            return caller

        return guard

    def payers(self, client: str) -> Payers:
        return Payers(key_subject(client), client_subject()) if self.max_declines else NOBODY

    def _checked(self, check: Guard, authorization: str | None, access: Access, address: str) -> str:
        """Check the credential. A guess from an address that has made too many is refused without a look.

        A credential that was accepted before passes: others may share the address.
        """
        if not address or not self.failures.per_minute or not authorization:
            return check(authorization, access)
        digest = hashlib.sha256(authorization.encode()).digest()
        if self.failures.is_empty(address) and digest not in self._known:
            raise self.failures.refusal()
        try:
            caller = check(authorization, access)
        except Unauthorized:
            self._known.discard(digest)
            with suppress(TransientDatabaseError):
                self.failures.take(address)
            raise
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known.add(digest)
        return caller

    def expire_if_due(self) -> None:
        """Delete rows that count no more: a batch once a minute, and one a second while there are more."""
        if self.clock() < self._expire_at:
            return
        self._expire_at = self.clock() + EXPIRE_EVERY_S
        try:
            (row,) = self.database.all(EXPIRE, batch=BATCH)
            if row["is_full"]:
                self._expire_at = self.clock() + EXPIRE_REST_AFTER_S
        except (TransientDatabaseError, psycopg2.Error) as error:
            log.warning("expired rows of request_rates and declines stay for now: %s", error)


def key_subject(client: str) -> str:
    return f"key:{g.get('key_id') or client}"


def client_subject() -> str:
    """The name under which the client's address is counted. Empty: many clients may have this address."""
    environ = request.environ
    return _subject(
        current_app.config["PROXIES"], environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
    )


@lru_cache(1000)
def _subject(proxies: Proxies, peer: str, forwarded_for: str) -> str:
    address = proxies.client(peer, forwarded_for)
    return subject(address) if address and proxies.stands_for_one(address) else ""
