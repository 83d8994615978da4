"""Who writes for whom, and who is told what. The database is not needed for that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from common.database.errors import DatabaseBusy, DatabaseUnavailable
from orchestrator.group_commit import GroupCommit
from tests.waiting import eventually

PATIENCE_S = 10
Come = Callable[..., list[Future[str]]]


class Writing:
    """A write that takes until it is let go on. It notes its groups, and fails for an item that is named so."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.error: Exception = ValueError("an item that cannot be written")
        self.has_begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.groups.append(sorted(items))
        self.has_begun.release()
        assert self.may_end.acquire(timeout=PATIENCE_S)
        if "bad" in items:
            raise self.error
        return [f"{item} is written" for item in items]

    def begins(self) -> None:
        assert self.has_begun.acquire(timeout=PATIENCE_S)


@pytest.fixture
def writing() -> Writing:
    return Writing()


@pytest.fixture
def commit(writing: Writing) -> GroupCommit[str, str]:
    return GroupCommit(writing)


@pytest.fixture
def come(writing: Writing, commit: GroupCommit[str, str]) -> Iterator[Come]:
    """`come("a", "b")`: each in a thread of its own wants to write its item; both wait, or the first of all writes."""
    with ThreadPoolExecutor(10) as threads:

        def submit(*items: str) -> list[Future[str]]:
            return [threads.submit(commit, item) for item in items]

        yield submit
        writing.may_end.release(100)


@pytest.fixture
def wait_while_one_writes(writing: Writing, commit: GroupCommit[str, str], come: Come) -> Come:
    """`wait_while_one_writes("b", "c")`: they have come while "first" is being written, and that may end now."""

    def submit(*items: str) -> list[Future[str]]:
        futures = come("first")
        writing.begins()
        futures += come(*items)
        eventually(lambda: len(commit._waiting) == len(items), PATIENCE_S)
        return futures

    return submit


def results(futures: list[Future[str]]) -> list[str]:
    return [future.result(PATIENCE_S) for future in futures]


def test_one_alone_is_written_at_once(writing: Writing, come: Come) -> None:
    for item in ("a", "b"):
        (future,) = come(item)
        writing.may_end.release()
        assert future.result(PATIENCE_S) == f"{item} is written"
    assert writing.groups == [["a"], ["b"]]


def test_what_comes_during_a_write_is_written_in_one_group_and_each_is_told_of_its_own(
    writing: Writing, wait_while_one_writes: Come
) -> None:
    futures = wait_while_one_writes("a", "b", "c", "d")
    writing.may_end.release(2)
    assert results(futures) == [f"{item} is written" for item in ("first", "a", "b", "c", "d")]
    assert writing.groups == [["first"], ["a", "b", "c", "d"]]


def test_nobody_is_answered_before_the_write_with_his_item_has_ended(
    writing: Writing, wait_while_one_writes: Come
) -> None:
    first, *others = futures = wait_while_one_writes("a", "b")
    assert not [future for future in futures if future.done()]
    writing.may_end.release()
    assert first.result(PATIENCE_S) == "first is written"
    writing.begins()
    assert not [future for future in others if future.done()]
    writing.may_end.release()
    assert results(others) == ["a is written", "b is written"]


def test_one_that_cannot_be_written_does_not_take_the_others_with_it(
    writing: Writing, wait_while_one_writes: Come
) -> None:
    _, a, bad, c = wait_while_one_writes("a", "bad", "c")
    writing.may_end.release(5)
    assert results([a, c]) == ["a is written", "c is written"]
    assert bad.exception(PATIENCE_S) is writing.error
    assert writing.groups[:2] == [["first"], ["a", "bad", "c"]]
    assert sorted(writing.groups[2:]) == [["a"], ["bad"], ["c"]]


@pytest.mark.parametrize("error", [DatabaseUnavailable(), DatabaseBusy()])
def test_without_a_database_nobody_has_written_and_all_are_told(
    writing: Writing, wait_while_one_writes: Come, error: Exception
) -> None:
    writing.error = error
    first, *others = wait_while_one_writes("a", "bad", "c")
    writing.may_end.release(2)
    assert first.result(PATIENCE_S) == "first is written"
    assert [future.exception(PATIENCE_S) for future in others] == [error] * 3
    assert len(writing.groups) == 2, "and it is not asked again for each of them"


def test_the_next_group_is_written_after_one_that_failed(writing: Writing, come: Come) -> None:
    writing.may_end.release(2)
    (bad,) = come("bad")
    assert bad.exception(PATIENCE_S) is writing.error
    (good,) = come("good")
    assert good.result(PATIENCE_S) == "good is written"


def test_a_write_that_does_not_answer_for_each_is_an_error_and_no_result() -> None:
    with pytest.raises(ValueError, match="shorter"):
        GroupCommit[str, str](lambda items: [])("a")
