"""No statement depends on the session's time zone, which a pooler or a role may change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("alembic", "common", "console", "domain", "edge_api", "inventory_service", "ops", "orchestrator",
                   "orders_service", "payments_service", "webhooks")
    for pattern in ("*.py", "*.sql")
    for path in sorted((ROOT / folder).rglob(pattern))
]  # fmt: skip
DEPENDS_ON_THE_SESSION = re.compile(
    r"to_char\((?![^()]*AT TIME ZONE 'UTC')|date_trunc\((?![^()]*'UTC')|::date\b|::timestamp\b|\bto_timestamp\("
    r"|\bcurrent_date\b|\blocaltime(stamp)?\b|\btimestamp without\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_statement_depends_on_the_time_zone(path: Path) -> None:
    found = DEPENDS_ON_THE_SESSION.search(path.read_text(encoding="utf-8"))
    assert not found, found


@pytest.mark.parametrize(
    "text", ["to_char(at, 'YYYY')", "at::date", "date_trunc('day', at)", "now()::timestamp", "CURRENT_DATE"]
)
def test_check_detects_such_a_statement(text: str) -> None:
    assert DEPENDS_ON_THE_SESSION.search(text)
