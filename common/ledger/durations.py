"""A histogram of the times from the request of an order until it is COMPLETED."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

# The upper end of each class, in seconds. Orders take 0.1 to 1 s, or minutes if a call is tried again. The last class
# has all that took longer. They are stored by number: a change needs a migration.
BOUNDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300, 900, 3600)
CLASSES = len(BOUNDS) + 1
NONE = (0,) * CLASSES


def class_of(seconds: float) -> int:
    return bisect_left(BOUNDS, seconds)


def total(histograms: Sequence[Sequence[int]]) -> list[int]:
    return [sum(counts) for counts in zip(NONE, *histograms, strict=True)]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The time in seconds within which this share of the orders was completed; None: there are none.

    Within a class, the orders count as spread evenly. Of the last class, only its lower end is known.
    """
    wanted = share * sum(counts)
    if not wanted:
        return None
    lower, before = 0.0, 0
    for upper, count in zip(BOUNDS, counts, strict=False):
        if before + count >= wanted:
            return lower + (upper - lower) * (wanted - before) / count
        lower, before = upper, before + count
    return lower
