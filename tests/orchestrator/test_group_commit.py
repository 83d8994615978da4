"""Which thread writes which items, and what each thread gets back. No database is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from orchestrator.group_commit import GroupCommit
from tests.waiting import eventually

PATIENCE_S = 10
Come = Callable[..., list[Future[str]]]


class Writing:
    """A write that blocks until it may end. It records its groups, and fails for an item named "bad"."""

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
    """`come("a", "b")`: two threads write an item each."""
    with ThreadPoolExecutor(10) as threads:

        def submit(*items: str) -> list[Future[str]]:
            return [threads.submit(commit, item) for item in items]

        yield submit
        writing.may_end.release(100)


@pytest.fixture
def wait_while_one_writes(writing: Writing, commit: GroupCommit[str, str], come: Come) -> Come:
    """`wait_while_one_writes("b", "c")`: both wait while "first" is being written."""

    def submit(*items: str) -> list[Future[str]]:
        futures = come("first")
        writing.begins()
        futures += come(*items)
        eventually(lambda: len(commit._waiting) == len(items), PATIENCE_S)
        return futures

    return submit


def results(futures: list[Future[str]]) -> list[str]:
    return [future.result(PATIENCE_S) for future in futures]


def test_single_item_is_written_at_once(writing: Writing, come: Come) -> None:
    for item in ("a", "b"):
        (future,) = come(item)
        writing.may_end.release()
        assert future.result(PATIENCE_S) == f"{item} is written"
    assert writing.groups == [["a"], ["b"]]


def test_items_that_arrive_during_a_write_form_one_group(writing: Writing, wait_while_one_writes: Come) -> None:
    futures = wait_while_one_writes("a", "b", "c", "d")
    writing.may_end.release(2)
    assert results(futures) == [f"{item} is written" for item in ("first", "a", "b", "c", "d")]
    assert writing.groups == [["first"], ["a", "b", "c", "d"]]


def test_no_thread_continues_before_its_item_is_written(writing: Writing, wait_while_one_writes: Come) -> None:
    first, *others = futures = wait_while_one_writes("a", "b")
    assert not [future for future in futures if future.done()]
    writing.may_end.release()
    assert first.result(PATIENCE_S) == "first is written"
    writing.begins()
    assert not [future for future in others if future.done()]
    writing.may_end.release()
    assert results(others) == ["a is written", "b is written"]


def test_error_is_raised_in_each_thread_of_the_group(writing: Writing, wait_while_one_writes: Come) -> None:
    first, *others = wait_while_one_writes("a", "bad", "c")
    writing.may_end.release(2)
    assert first.result(PATIENCE_S) == "first is written"
    assert [future.exception(PATIENCE_S) for future in others] == [writing.error] * 3
    assert len(writing.groups) == 2, "the group is not written again"


def test_next_group_is_written_after_a_failed_one(writing: Writing, come: Come) -> None:
    writing.may_end.release(2)
    (bad,) = come("bad")
    assert bad.exception(PATIENCE_S) is writing.error
    (good,) = come("good")
    assert good.result(PATIENCE_S) == "good is written"


def test_write_must_return_a_result_for_each_item() -> None:
    with pytest.raises(ValueError, match="shorter"):
        GroupCommit[str, str](lambda items: [])("a")
