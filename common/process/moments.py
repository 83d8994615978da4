"""Named moments in the code that a test can observe. Without an observer, `reached` does nothing.

The observer lies above the code that it observes (see the package crash_points), so no module here knows a name.
"""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Notified of each moment, in the thread that reached it."""

    @property
    def separates_commits(self) -> bool:
        """Whether it must see the moment between a statement and its commit. The two are then sent separately."""

    def reached(self, name: str) -> None: ...


_observer: Observer | None = None


def observe(observer: Observer | None) -> None:
    """Notify `observer` of every moment from now on; None: notify nobody."""
    global _observer  # noqa: PLW0603
    _observer = observer


def reached(name: str, of: str = "") -> None:
    """Notify the observer, if there is one, that this moment is reached.

    :param of: the last part of the name, if it depends on the operation
    """
    if _observer is not None:
        _observer.reached(f"{name}.{of}" if of else name)


def separates_commits() -> bool:
    return _observer is not None and _observer.separates_commits
