"""What the judge finds."""

from __future__ import annotations

from dataclasses import dataclass

LOST, DOUBLED, CHANGED, WRONG, OPEN = "lost", "doubled", "changed", "wrong", "open"
AUDIT, RUN, LEFT, STOP = "audit", "run", "left", "stop"  # the books; the run itself; processes that exited, or did not


@dataclass(frozen=True)
class Finding:
    """A broken promise. `subject`: the order's key, or another subject."""

    kind: str
    subject: str
    detail: str
