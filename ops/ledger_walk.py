"""Walk the ledger from the oldest entry to the newest, a page at a time, so that no statement runs for long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ops.database import within

FIRST = "00000000-0000-0000-0000-000000000000"
LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
TIMEOUT_S = 30  # a page is read in milliseconds

# An id begins with the milliseconds of its creation (domain/ids.py), by the clock of the host that made it. A day is
# more than such a clock can be off. Entries with other ids are above those of today, or among the old ones.
BOUNDS = f"""
SELECT rpad(lpad(to_hex((extract(epoch FROM now() + (1 - %(days)s) * interval '1 day') * 1000)::bigint), 12, '0'),
    32, '0')::uuid AS old_end,
  rpad(lpad(to_hex((extract(epoch FROM now() + interval '1 day') * 1000)::bigint), 12, '0'), 32, '0')::uuid AS future,
  '{FIRST}'::uuid AS first, '{LAST}'::uuid AS last
"""
PAGE = """
SELECT id FROM order_ledger WHERE id > %(after)s AND id < %(before)s ORDER BY id LIMIT %(size)s
"""


class Range(NamedTuple):
    after: str
    before: str


def ranges(connection: Any, days: int) -> list[Range]:
    """Where the ids of entries that are older than `days` can be."""
    with within(connection, timeout_s=TIMEOUT_S) as tx:
        bounds = tx.one(BOUNDS, days=days) or {}
    return [Range(bounds["first"], bounds["old_end"]), Range(bounds["future"], bounds["last"])]


def pages(connection: Any, days: int, size: int) -> Iterator[list[str]]:
    """Yield the ids of such entries, page by page."""
    for start, before in ranges(connection, days):
        page = [start]
        while True:
            with within(connection, timeout_s=TIMEOUT_S) as tx:
                page = [row["id"] for row in tx.all(PAGE, after=page[-1], before=before, size=size)]
            if not page:
                break
            yield page
