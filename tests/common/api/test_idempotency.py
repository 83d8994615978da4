"""A key has one effect and one response, however many calls run at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.api.errors import ApiError, IdempotencyKeyReused, NotFound, RequestInProgress, ServiceUnavailable
from common.api.idempotency import Fingerprint, StoredResponse, fingerprint_of, once
from common.database import sessions
from common.database.database import Database
from tests.waiting import eventually

TABLE = "payment_idempotency_keys"
WAITING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'test' AND wait_event_type = 'Lock'"
DONE = StoredResponse.of(200, {"n": 1})


class Refused(ApiError):
    """A final refusal."""

    status, code, is_final = 402, "refused", True


@pytest.fixture
def database(url):
    database = Database(url, name="test", size=3)
    yield database
    database.close()


@pytest.fixture
def ask(database):
    """Run one call with a key, in its own transaction."""

    def call(work=lambda: DONE, *, scope="capture", key="k", request="the same"):
        return database.transact(lambda tx: once(tx, TABLE, scope, key, Fingerprint(request), work))

    return call


def refuse(error):
    def work():
        raise error

    return work


def never():
    raise AssertionError("the work ran a second time")


def test_a_repeat_gets_the_first_response(ask):
    assert ask() == DONE
    assert ask(never) == StoredResponse(200, DONE.body, replayed=True)


def test_a_key_with_another_request_is_refused(ask):
    ask()
    with pytest.raises(IdempotencyKeyReused):
        ask(never, request="another")
    assert ask(never).replayed


@pytest.mark.parametrize("other", [{"scope": "refund"}, {"key": "K"}, {"key": "k "}])
def test_keys_are_compared_exactly_and_within_a_scope(ask, other):
    ask()
    assert not ask(request="another", **other).replayed


def test_a_final_refusal_is_replayed(ask):
    first = ask(refuse(Refused(why="so")))
    assert (first.status, first.replayed) == (402, False)
    assert ask(never) == StoredResponse(402, first.body, replayed=True)


@pytest.mark.parametrize("error", [NotFound(), ServiceUnavailable(), KeyError("a mistake")])
def test_any_other_failure_leaves_the_key_free(ask, error):
    with pytest.raises(type(error)):
        ask(refuse(error))
    assert ask(request="another") == DONE


def test_a_simultaneous_call_waits_and_gets_the_first_response(ask, url):
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(10)
        return DONE

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask, slow)
        assert begun.wait(10)
        second = threads.submit(ask, never)
        eventually(lambda: waiting(url))
        go_on.set()
        assert (first.result(10), second.result(10)) == (DONE, StoredResponse(200, DONE.body, replayed=True))


def waiting(url):
    looking = Database(url, name="looking", size=1)
    try:
        return looking.all(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'test' AND wait_event_type = 'Lock'"
        )
    finally:
        looking.close()


def test_a_simultaneous_call_waits_for_a_limited_time(ask, database, url, monkeypatch):
    monkeypatch.setitem(sessions.LIMITS, "lock_timeout", "20ms")
    impatient = Database(url, name="impatient", size=1)

    def work():
        with pytest.raises(RequestInProgress):
            impatient.transact(lambda tx: once(tx, TABLE, "capture", "k", Fingerprint("the same"), never))
        return DONE

    assert ask(work) == DONE
    impatient.close()


def test_a_fingerprint_ignores_the_order_of_names():
    assert fingerprint_of({"a": 1, "b": [1, {"c": None, "d": "é"}]}) == fingerprint_of(
        {"b": [1, {"d": "é", "c": None}], "a": 1}
    )
    assert len(fingerprint_of({})) == 64


@pytest.mark.parametrize(
    "other", [{"a": "1"}, {"a": 2}, {"a": True}, {"a": None}, {"A": 1}, {"a": [1]}, {"a": 1, "b": 1}]
)
def test_different_requests_have_different_fingerprints(other):
    assert fingerprint_of(other) != fingerprint_of({"a": 1})
