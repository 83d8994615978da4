"""Batched NOTIFY: one notification for a burst, and none is lost."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator

import psycopg2
import pytest

from common.database.database import Database
from domain.states import CHANNEL
from edge_api import notifier as module
from edge_api.notifier import Notifier
from tests.waiting import eventually

NEVER_S = 3600.0
NOTIFY = f"NOTIFY {CHANNEL}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=2)
    yield database
    database.close()


@pytest.fixture
def heard(url: str) -> Iterator[Callable[[], int]]:
    """Count the notifications so far."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")

    def count() -> int:
        select.select([connection], [], [], 0)
        connection.poll()
        return len(connection.notifies)

    yield count
    connection.close()


def test_without_a_window_every_commit_notifies(database: Database) -> None:
    notifier = Notifier(database, 0)
    assert [notifier.is_due() for _ in range(5)] == [True] * 5


def test_in_a_window_only_the_first_commit_notifies(database: Database) -> None:
    notifier = Notifier(database, NEVER_S)
    assert [notifier.is_due() for _ in range(5)] == [True, False, False, False, False]


def test_commits_within_the_window_are_notified_once_at_its_end(database: Database, heard: Callable[[], int]) -> None:
    notifier = Notifier(database, 0.05)
    assert notifier.is_due()
    for _ in range(20):
        notifier.later()
    assert eventually(heard) == 1
    notifier.later()
    assert eventually(lambda: heard() - 1) == 1, "the next window has its own"


def test_a_burst_of_orders_is_notified_once(payments, inventory, shop_with, heard, monkeypatch) -> None:
    planned = []

    class Timer:
        """A timer that never fires: in ten seconds, another test would receive the notification."""

        daemon = False

        def __init__(self, seconds: float, notify: Callable[[], None]) -> None:
            planned.append(seconds)

        def start(self) -> None:
            pass

    monkeypatch.setattr(threading, "Timer", Timer)
    shop = shop_with(NOTIFY_COALESCE_MS="10000")
    answers = [shop.order(key=f"k{number}") for number in range(5)]
    assert {answer.status_code for answer in answers} == {202}
    assert heard() == 1
    assert len(planned) == 1, "one more when the window ends"


NOTIFY = "NOTIFY order_events"


class FullQueue(Database):
    """A database whose NOTIFY queue is full until `has_room` is set."""

    def __init__(self) -> None:
        self.has_room, self.statements = threading.Event(), []

    def one(self, sql: str, **params: object) -> None:
        self.statements.append(sql)
        if sql == NOTIFY and not self.has_room.is_set():
            raise psycopg2.errors.ProgramLimitExceeded("too many notifications in the NOTIFY queue")


class TestFullQueue:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "FULL_RETRY_S", 0.01)

    def test_no_commit_carries_a_notification_until_one_gets_through(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "FULL_RETRY_S", NEVER_S)
        notifier = Notifier(FullQueue(), 0)
        notifier.queue_is_full()
        assert [notifier.is_due() for _ in range(3)] == [False] * 3

    def test_notification_is_retried_until_it_gets_through(self) -> None:
        database = FullQueue()
        notifier = Notifier(database, 0)
        notifier.queue_is_full()
        notifier.later()
        eventually(lambda: database.statements.count(NOTIFY) >= 3)
        database.has_room.set()
        eventually(lambda: notifier.is_due() and notifier.is_due())
        assert module.EMPTY_QUEUE in database.statements, "otherwise PostgreSQL keeps the notifications that were read"

    def test_warning_is_logged_once_a_minute(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notifier = Notifier(FullQueue(), 0)
        for _ in range(5):
            notifier.queue_is_full()
        assert caplog.text.count("the queue of NOTIFY is full") == 1
        monkeypatch.setattr(module, "WARN_EVERY_S", 0)
        notifier.queue_is_full()
        assert caplog.text.count("the queue of NOTIFY is full") == 2
