"""A key: one effect, one answer, whatever is asked at the same time."""

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
    """No, and it will stay so."""

    status, code, is_final = 402, "refused", True


@pytest.fixture
def database(url):
    database = Database(url, name="test", size=3)
    yield database
    database.close()


@pytest.fixture
def ask(database):
    """One call with a key, in a transaction of its own."""

    def call(work=lambda: DONE, *, scope="capture", key="k", request="the same"):
        return database.transact(lambda tx: once(tx, TABLE, scope, key, Fingerprint(request), work))

    return call


def refuse(error):
    def work():
        raise error

    return work


def never():
    raise AssertionError("the work is done a second time")


def test_the_first_answer_is_given_again(ask):
    assert ask() == DONE
    assert ask(never) == StoredResponse(200, DONE.body, replayed=True)


def test_a_key_means_one_request(ask):
    ask()
    with pytest.raises(IdempotencyKeyReused):
        ask(never, request="another")
    assert ask(never).replayed


@pytest.mark.parametrize("other", [{"scope": "refund"}, {"key": "K"}, {"key": "k "}])
def test_other_keys_and_the_same_key_of_another_verb_mean_another_request(ask, other):
    ask()
    assert not ask(request="another", **other).replayed


def test_a_final_refusal_is_an_answer_and_is_given_again(ask):
    first = ask(refuse(Refused(why="so")))
    assert (first.status, first.replayed) == (402, False)
    assert ask(never) == StoredResponse(402, first.body, replayed=True)


@pytest.mark.parametrize("error", [NotFound(), ServiceUnavailable(), KeyError("a mistake")])
def test_after_any_other_failure_the_key_is_free(ask, error):
    with pytest.raises(type(error)):
        ask(refuse(error))
    assert ask(request="another") == DONE


def test_a_second_call_waits_for_the_first_and_gets_its_answer(ask, url):
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


def test_a_second_call_does_not_wait_for_ever(ask, database, url, monkeypatch):
    monkeypatch.setitem(sessions.LIMITS, "lock_timeout", "20ms")
    impatient = Database(url, name="impatient", size=1)

    def work():
        with pytest.raises(RequestInProgress):
            impatient.transact(lambda tx: once(tx, TABLE, "capture", "k", Fingerprint("the same"), never))
        return DONE

    assert ask(work) == DONE
    impatient.close()


def test_a_fingerprint_is_of_what_is_said_and_not_of_how():
    assert fingerprint_of({"a": 1, "b": [1, {"c": None, "d": "é"}]}) == fingerprint_of(
        {"b": [1, {"d": "é", "c": None}], "a": 1}
    )
    assert len(fingerprint_of({})) == 64


@pytest.mark.parametrize(
    "other", [{"a": "1"}, {"a": 2}, {"a": True}, {"a": None}, {"A": 1}, {"a": [1]}, {"a": 1, "b": 1}]
)
def test_a_fingerprint_tells_requests_apart(other):
    assert fingerprint_of(other) != fingerprint_of({"a": 1})
