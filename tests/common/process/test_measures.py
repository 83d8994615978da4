"""A measurement never disturbs the work that is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from common.process import measures


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    yield
    measures.use(None)


class Broken(measures.Meter):
    def request(self, route: str, method: str, status: int, seconds: float | None) -> None:
        raise ZeroDivisionError

    def claimed(self, delays_s: Iterable[float]) -> None:
        list(delays_s)


class Known(measures.Meter):
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def call(self, participant: str, answer: str, seconds: float) -> None:
        self.calls.append((participant, answer, seconds))


def test_meter_that_fails_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    measures.use(Broken())
    measures._warn_at = 0.0
    caplog.set_level("WARNING")
    for _ in range(3):
        measures.request("/orders", "POST", 202, 0.1)
        measures.claimed(1 / number for number in (1, 0))  # raises when it is read
    assert [record.getMessage() for record in caplog.records] == ["a measurement is lost"]


def test_meter_is_told_what_concerns_it() -> None:
    known = Known()
    measures.use(known)
    measures.call("payments", "yes", 0.1)
    measures.request("/orders", "POST", 202, 0.1)
    measures.step("create_order", "no", 0.1)
    measures.delivery("yes", 0.1)
    measures.use(None)
    measures.call("payments", "no", 0.1)
    assert known.calls == [("payments", "yes", 0.1)]
