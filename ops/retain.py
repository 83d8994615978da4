"""`python -m ops retain`: delete what is older than the settings RETAIN_… allow, and complete pending erasures."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ops import erasure, ledger_walk, retained_events, retained_keys, retention
from ops.batches import Batches, alone
from ops.database import connected, within
from ops.record import record
from ops.retention import Periods

ENTRIES, KEYS = 200, 1_000  # rows of a batch
RECORD_TIMEOUT_S = 10


def run(environ: Mapping[str, str] | None, *, seconds: float) -> int:
    """:param seconds: no batch begins after this time; the next run continues :raises Unusable:"""
    with connected(environ) as (settings, connection), alone(connection):
        batches = Batches(connection, seconds)
        periods = Periods.of(settings)
        erasure.complete(batches)
        _retain(batches, periods)
        pending, missed = erasure.pending(connection), retained_events.missed(connection)
        if batches.done.total():
            _record(connection, periods, batches.done)
    sys.stdout.write(_summary(batches, pending))
    for endpoint in missed:
        sys.stderr.write(
            f"The webhook endpoint {endpoint['id']} ({endpoint['status']}) was not sent all events before they were"
            " deleted. Its client has to compare its orders with GET /orders.\n"
        )
    return 0


def _retain(batches: Batches, periods: Periods) -> None:
    if periods.events:
        retained_events.delete(batches, periods.events)
    if periods.shortest_of_entries:
        for ids in ledger_walk.pages(batches.connection, periods.shortest_of_entries, ENTRIES):
            if batches.is_late:
                return
            batches.run(ids, partial(retention.apply, periods=periods))
    if periods.answers:
        _keys(batches, "answers", retained_keys.WITH_ANSWERS, retained_keys.delete_answers, periods.answers)
    if periods.keys:
        _keys(batches, "keys", retained_keys.TO_FORGET, retained_keys.forget, periods.keys)


def _keys(
    batches: Batches, name: str, tables: tuple[retained_keys.Keys, ...], change: Callable[..., int], days: int
) -> None:
    for keys in tables:
        for page in retained_keys.pages(batches.connection, keys, KEYS):
            if batches.is_late:
                return
            batches.once(lambda tx, page=page: Counter({name: change(tx, page, days)}))  # type: ignore[misc]


def _record(connection: Any, periods: Periods, done: Counter[str]) -> None:
    with within(connection, timeout_s=RECORD_TIMEOUT_S) as tx:
        record(tx, "retain", days=vars(periods), deleted=dict(+done))


def _summary(batches: Batches, pending: int) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted((+batches.done).items()))
    lines = [f"Deleted: {counts}." if counts else "Nothing was due to be deleted."]
    if batches.locked:
        lines.append(f"{batches.locked:,} orders were locked by others. The next run tries them again.")
    if batches.is_late:
        lines.append("The time is up. The next run continues.")
    if pending:
        lines.append(f"{pending:,} erasures wait for the end of their orders. The next run looks again.")
    return "".join(f"{line}\n" for line in lines)
