"""Requests that wait: what ends a wait, and that waiting requests hold no thread."""

import threading

import pytest

from common.api.waits import CAN_PARK, HAS_GONE, IS_RESUMED, Parked, Waits
from common.database.errors import DatabaseBusy
from tests.waiting import eventually

PATIENCE_S = 60


class Things:
    """The finished things, and a record of each look."""

    def __init__(self):
        self.finished, self.looks = set(), []

    def __call__(self, keys):
        self.looks.append(set(keys))
        return self.finished & set(keys)


@pytest.fixture
def things():
    return Things()


def in_background(target, *args):
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def test_one_look_serves_all_waits(things):
    waits = Waits(things, threads=2)
    threads = [in_background(waits.wait, key, PATIENCE_S, {}) for key in "ab"]
    eventually(lambda: {"a", "b"} in things.looks)
    things.finished = {"a", "b"}
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_wait_without_room_returns_at_once(things):
    assert not Waits(things, threads=0).wait("a", PATIENCE_S, {})
    assert not Waits(things, threads=1).wait("a", PATIENCE_S, {CAN_PARK: False})


def test_time_limit_ends_a_wait(things):
    waits = Waits(things, threads=1)
    assert waits.wait("a", 0.01, {})
    assert waits.wait("a", 0.01, {}), "the thread's slot is free again"


def test_client_that_hangs_up_ends_its_wait(things):
    has_gone = threading.Event()
    thread = in_background(Waits(things, threads=1).wait, "a", PATIENCE_S, {HAS_GONE: has_gone.is_set})
    eventually(lambda: things.looks)
    has_gone.set()
    thread.join(PATIENCE_S / 2)
    assert not thread.is_alive()


def test_stop_ends_all_waits(things):
    stop = threading.Event()
    waits = Waits(things, threads=1, is_stopping=stop.is_set)
    thread = in_background(waits.wait, "a", PATIENCE_S, {})
    eventually(lambda: things.looks)
    stop.set()
    thread.join(PATIENCE_S / 2)
    assert not thread.is_alive()


def test_parked_wait_calls_back_and_can_be_cancelled(things):
    waits = Waits(things, threads=0)
    called = []
    for key in ("kept", "cancelled"):
        with pytest.raises(Parked) as parked:
            waits.wait(key, PATIENCE_S, {CAN_PARK: True})
        cancel = parked.value.subscribe(lambda key=key: called.append(key))
    cancel()
    things.finished = {"kept", "cancelled"}
    eventually(lambda: called)
    assert called == ["kept"]


def test_resumed_request_does_not_wait_again(things):
    assert Waits(things, threads=0).wait("a", PATIENCE_S, {CAN_PARK: True, IS_RESUMED: True})


def test_busy_database_does_not_end_the_looks():
    looks = []

    def finished(keys):
        looks.append(keys)
        if len(looks) < 3:
            raise DatabaseBusy()
        return keys

    assert Waits(finished, threads=1).wait("a", PATIENCE_S, {})
    assert len(looks) == 3
