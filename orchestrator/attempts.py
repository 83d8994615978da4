"""The requests of a saga that were refused or not answered, as rows. A saga that meets none writes none."""

from __future__ import annotations

from dataclasses import asdict

from common.database.database import Row
from orchestrator.saga import Saga

CALLS = "calls"
"""Where an entry that is saved has its attempts."""


def noted(was: Saga, now: Saga) -> Row:
    """What to add to the entry that turns `was` into `now`. Empty if every request got a yes."""
    if not now.attempts:
        return {}
    same = {"step": was.next_action, "attempt": was.retry_count + 1, "request_id": was.request_id}
    return {CALLS: [asdict(attempt) | same for attempt in now.attempts]}
