"""Row 29: five *nothings* at one step. Required: calls at 0, 1, 5, 21, 85 s, exactly five; then compensation."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg2
import pytest

from common.api.idempotency import StoredResponse
from common.calls.client import Answer as ParticipantAnswer
from common.calls.client import Nothing, Yes
from common.database.database import Database
from common.process.settings import Settings
from common.schema import migrate
from edge_api.notifier import Notifier
from edge_api.store import Store as EdgeStore
from local.postgres import EmbeddedPostgres
from orchestrator.definitions import SALE, Step
from orchestrator.dispatcher import Dispatcher
from orchestrator.engine import Engine
from orchestrator.saga import RetryPolicy, Saga
from orchestrator.store import Store
from tests import credentials
from tests.faults.network_faults import Answer, Corrupt, DropAnswer, DropRequest
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually

START = datetime(2026, 1, 1, tzinfo=UTC)
# now() reads a clock that the test sets: only the database's clock decides what is due.
CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.reading (at timestamptz);
CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql RETURN (SELECT at FROM clock.reading);
ALTER DATABASE clocked SET search_path = clock, pg_catalog, public;
"""
NEW_ENTRY = {
    "fingerprint": "f", "user_id": str(uuid.uuid4()), "email": "a@b.example", "currency": "USD", "total": 500,
    "reference": None, "metadata": None,
    "request_id": "r-1", "product_ids": [str(uuid.uuid4())], "quantities": [1], "prices": [500],
}  # fmt: skip


class World:
    """The orchestrator's own dispatcher, engine and ledger, on a database whose clock the test sets."""

    def __init__(self, url: str, silent: str) -> None:
        self.seconds = 0.0
        self.calls: list[tuple[float, str]] = []
        self._silent = silent
        self.database = Database(url, name="test", size=4)
        settings = Settings.load({"DATABASE_URL": url, "RETRY_JITTER": "0", **credentials.SETTINGS})
        store = Store(self.database, "test", settings.lease_s)
        policy = RetryPolicy(
            settings.retry_base_s, settings.retry_factor, settings.retry_max_attempts, settings.retry_jitter
        )
        engine = Engine(ask=self._ask, save=store.save, release=store.release, policy=policy)
        self._dispatcher = Dispatcher(store, engine.run, threads=2, poll_interval_s=settings.poll_interval_s)

    def _ask(self, saga: Saga) -> ParticipantAnswer:
        self.calls.append((self.seconds, saga.next_action))
        return Nothing("ReadTimeout") if saga.next_action == self._silent else Yes({})

    def authorize(self) -> None:
        """Insert an order that waits to be claimed."""
        self.set_clock(0)
        edge = EdgeStore(self.database, 30, 60, Notifier(self.database, 0))
        entry = edge.insert_entry("shop", uuid.uuid4().hex, NEW_ENTRY)
        assert entry
        assert edge.authorized(entry, f"auth_{uuid.uuid4().hex[:24]}", StoredResponse.of(202, {}))

    def set_clock(self, seconds: float) -> None:
        self.seconds = seconds
        self.database.one("UPDATE clock.reading SET at = %(at)s", at=START + timedelta(seconds=seconds))

    def looks(self) -> None:
        """Look for due orders once, and wait until they are processed."""
        self._dispatcher.run_once()
        eventually(lambda: self._dispatcher.in_flight == 0)

    def close(self) -> None:
        self._dispatcher.stop()
        self.database.close()


@pytest.fixture(scope="module")
def clocked_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    run(postgres.url, "CREATE DATABASE clocked")
    url = postgres.url.replace("/holdfast?", "/clocked?")
    migrate.upgrade(url)
    run(url, CLOCK)
    run(url, "INSERT INTO clock.reading VALUES (now())")
    yield url
    run(postgres.url, "DROP DATABASE clocked WITH (FORCE)")


def run(url: str, sql: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)


@pytest.mark.parametrize("step", SALE, ids=lambda step: step.do)
def test_five_attempts_at_0_1_5_21_and_85_s_then_undo(clocked_url: str, step: Step) -> None:
    """The default delays. The orchestrator looks twice a second for two minutes."""
    run(clocked_url, "TRUNCATE order_ledger CASCADE")
    with closing(World(clocked_url, silent=step.do)) as world:
        world.authorize()
        for half in range(2 * 120):
            world.set_clock(half / 2)
            world.looks()
        assert [seconds for seconds, action in world.calls if action == step.do] == [0, 1, 5, 21, 85]
        after = world.calls.index((85, step.do)) + 1
        assert world.calls[after:] == [(85, undo) for undo in step.undo]
        row = world.database.one("SELECT status, failure_code FROM order_ledger")
        assert row == {"status": "FAILED", "failure_code": f"{step.do}_unanswered"}


def test_every_kind_of_missing_answer_counts_as_an_attempt(proxied: ProxiedSystem) -> None:
    """Real processes, observed on the network. The gaps are those of RETRY_*; jitter only adds to them."""
    for nothing in (DropRequest(), DropAnswer(), Answer(503), Corrupt(), Answer(404, {"error": "no_such_route"})):
        proxied.proxy.on("capture", times=1, do=nothing)
    with proxied.other("orchestrator", RETRY_BASE_S="0.1", RETRY_FACTOR="2", RETRY_JITTER="0.1"):
        order = proxied.ended(proxied.order())
    assert (order.status, order.failure and order.failure.code) == ("FAILED", "capture_payment_unanswered")
    captures = proxied.proxy.calls("capture")
    assert [call.fault for call in captures] == ["DropRequest", "DropAnswer", "Answer", "Corrupt", "Answer"]
    gaps = [later.arrived_at - earlier.arrived_at for earlier, later in pairwise(captures)]
    assert all(gap >= delay for gap, delay in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True)), gaps
    assert [call.operation for call in proxied.proxy.calls()[-4:]] == ["void", "refund", "release", "cancel_order"]
    proxied.settle()
