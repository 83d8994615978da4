"""The process: it exits when a thread dies or when told to, and waits for the database."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from common.calls.client import Nothing, ServiceClient
from common.database.database import Database
from common.process.settings import Settings
from orchestrator import __main__ as module
from orchestrator.__main__ import Orchestrator
from orchestrator.dispatcher import Dispatcher
from orchestrator.listener import Listener
from tests import credentials
from tests.waiting import eventually

# Orders are counted in transactions of their own, which call nobody.
OPEN_TRANSACTIONS = """
SELECT query FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%%' AND application_name <> 'orchestrator sums'
"""


@pytest.mark.parametrize("kind", [Dispatcher, Listener])
def test_process_exits_when_a_thread_dies(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: type
) -> None:
    def die(_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(kind, "run", die)
    assert Orchestrator(settings()).run() == 1
    assert "thread died" in caplog.text
    assert "out of luck" in caplog.text


def test_stop_exits_with_0(settings: Callable[..., Settings]) -> None:
    orchestrator = Orchestrator(settings())
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(orchestrator.run()), daemon=True)
    thread.start()
    orchestrator.threads.stop()
    thread.join(25)
    assert codes == [0]


class Hanging:
    """A call to a participant that does not return before `go`."""

    def __init__(self) -> None:
        self.is_out, self.go = threading.Event(), threading.Event()

    def __call__(self, *_: object, **__: object) -> Nothing:
        self.is_out.set()
        self.go.wait(60)
        return Nothing("never answered")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    call = Hanging()
    monkeypatch.setattr(ServiceClient, "ask", call)
    yield call
    call.go.set()


def test_hanging_call_does_not_block_shutdown(
    settings: Callable[..., Settings],
    authorized: Callable[[], str],
    hanging: Hanging,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The order keeps its lease, because a platform would soon kill the process."""
    monkeypatch.setattr(module, "DRAIN_WITHIN_S", 0.1)
    authorized()
    orchestrator = Orchestrator(settings())
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(orchestrator.run()), daemon=True)
    with caplog.at_level(logging.WARNING):
        thread.start()
        assert hanging.is_out.wait(20)
        orchestrator.threads.stop()
        thread.join(20)
    assert codes == [0]
    assert "1 orders and refunds are left to their leases" in caplog.text


def test_no_transaction_is_open_during_a_call(
    settings: Callable[..., Settings], authorized: Callable[[], str], hanging: Hanging, database: Database
) -> None:
    authorized()
    orchestrator = Orchestrator(settings())
    thread = threading.Thread(target=orchestrator.run, daemon=True)
    thread.start()
    assert hanging.is_out.wait(20)
    open_ones = database.all(OPEN_TRANSACTIONS)
    orchestrator.threads.stop()
    hanging.go.set()
    thread.join(25)
    assert open_ones == []


def test_process_waits_for_the_database(caplog: pytest.LogCaptureFixture) -> None:
    away = Settings.load(
        {"DATABASE_URL": "postgresql://holdfast@127.0.0.1:1/none", "POLL_INTERVAL_S": "0.05", **credentials.SETTINGS}
    )
    orchestrator = Orchestrator(away)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(orchestrator.run()), daemon=True)
    with caplog.at_level(logging.WARNING):
        thread.start()
        eventually(lambda: caplog.text.count("cannot claim orders") >= 3)
    assert not codes
    orchestrator.threads.stop()
    thread.join(25)
    assert codes == [0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("RETRY_BASE_S", "soon"), ("WORKER_THREADS", "0"), ("DATABASE_URL", ""), ("SERVICE_TOKEN_KEYS", "")],
)
def test_invalid_setting_is_reported_in_one_line(name: str, value: str) -> None:
    environ = {"DATABASE_URL": "postgresql://x/y", **credentials.SETTINGS, name: value}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert name in done.stderr


def test_each_process_has_its_own_claimant_name(settings: Callable[..., Settings]) -> None:
    """After a restart, host and pid may be the same, especially in containers."""
    names = {Orchestrator(settings()).claimant for _ in range(2)}
    assert len(names) == 2
    assert all(re.fullmatch(rf".+:{os.getpid()}:[0-9a-f-]{{36}}", name) for name in names)
