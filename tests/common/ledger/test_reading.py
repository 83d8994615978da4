"""The sums as the console shows them: without gaps, with shares and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from common.database.database import Database
from common.ledger import durations, reading
from common.ledger.durations import BOUNDS, CLASSES, NONE
from tests.audit.small_world import SmallWorld

ADD = """
INSERT INTO order_minutes (minute, accepted, completed, declined, failed, cancelled, durations)
VALUES (date_trunc('minute', now()) - %(ago)s * interval '1 minute', 10, %(completed)s, %(declined)s, %(failed)s,
  %(cancelled)s, %(durations)s::integer[])
"""


def add(
    world: SmallWorld, ago: int, completed: int = 0, declined: int = 0, failed: int = 0, cancelled: int = 0
) -> None:
    times = [completed, *NONE[1:]]
    world.sql(ADD, ago=ago, completed=completed, declined=declined, failed=failed, cancelled=cancelled, durations=times)


def test_last_hour_has_every_minute(world: SmallWorld, database: Database) -> None:
    add(world, ago=0, completed=6, declined=2, failed=1, cancelled=1)
    add(world, ago=30, completed=1)
    add(world, ago=61, completed=100)
    slots = reading.last_hour(database)
    assert len(slots) == 60
    assert {later.at - earlier.at for earlier, later in pairwise(slots)} == {timedelta(minutes=1)}
    assert datetime.now(UTC) - slots[-1].at < timedelta(minutes=3)
    assert sum(slot.counts["completed"] for slot in slots) == 7
    newest = max(slots, key=lambda slot: slot.counts["completed"])
    assert newest.shares == {"completed": 0.6, "declined": 0.2, "failed": 0.1, "cancelled": 0.1}
    empty = next(slot for slot in slots if not slot.counts["accepted"])
    assert (set(empty.shares.values()), empty.p50_s, empty.p95_s) == ({None}, None, None)


def test_last_day_has_every_quarter_of_an_hour(world: SmallWorld, database: Database) -> None:
    for ago in (0, 1, 1000):
        add(world, ago, completed=2)
    add(world, ago=24 * 60 + 1, completed=100)
    slots = reading.last_day(database)
    assert len(slots) == 96
    assert all(slot.at.minute % 15 == 0 for slot in slots)
    whole = reading.together(slots)
    assert (whole.counts["completed"], whole.counts["accepted"]) == (6, 30)
    assert whole.p50_s == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ({0: 10}, 0.5, 0.025),  # half of the way to the first bound
        ({6: 2, 8: 2}, 0.5, 1.0),
        ({6: 2, 8: 2}, 0.75, 1.75),  # between 1.5 and 2
        ({CLASSES - 1: 3}, 0.95, BOUNDS[-1]),  # longer than the last bound
    ],
)
def test_times_are_interpolated(counts: dict[int, int], share: float, seconds: float) -> None:
    assert durations.quantile([counts.get(number, 0) for number in range(CLASSES)], share) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "number"), [(0, 0), (0.05, 0), (0.051, 1), (3600, CLASSES - 2), (1e6, CLASSES - 1)]
)
def test_bound_belongs_to_its_class(seconds: float, number: int) -> None:
    assert durations.class_of(seconds) == number
