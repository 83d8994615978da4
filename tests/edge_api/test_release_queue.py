"""Work that waits for the database."""

from __future__ import annotations

import threading

import pytest

from common.database.errors import DatabaseUnavailable
from edge_api import release_queue as module
from edge_api.release_queue import ReleaseQueue
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_EVERY_S", 0.001)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "retry queue"]


def test_work_is_repeated_until_the_database_answers() -> None:
    errors, done = [DatabaseUnavailable()] * 3, []

    def work() -> None:
        if errors:
            raise errors.pop()
        done.append("done")

    ReleaseQueue().add(work)
    eventually(lambda: done == ["done"])
    eventually(lambda: not threads())


def test_blocked_work_does_not_delay_the_rest() -> None:
    queue, is_locked, done = ReleaseQueue(), threading.Event(), []

    def wait() -> None:
        if not is_locked.is_set():
            raise DatabaseUnavailable()
        done.append("last")

    queue.add(wait)
    queue.add(lambda: done.append("first"))
    eventually(lambda: done == ["first"])
    is_locked.set()
    eventually(lambda: done == ["first", "last"])


def test_work_that_fails_permanently_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    queue, done = ReleaseQueue(), []
    queue.add(lambda: 1 / 0)
    queue.add(lambda: done.append("next"))
    eventually(lambda: done == ["next"])
    assert "ZeroDivisionError" in caplog.text


def test_full_queue_refuses_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    queue, begun, go, done = ReleaseQueue(), threading.Event(), threading.Event(), []

    def hold() -> None:
        begun.set()
        assert go.wait(20)

    queue.add(hold)
    assert begun.wait(20)
    for number in range(5):
        queue.add(lambda number=number: done.append(number))
    go.set()
    eventually(lambda: not threads())
    assert done == [0, 1]
