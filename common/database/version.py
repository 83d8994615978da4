"""The migration that this release needs, and whether the database has it."""

from __future__ import annotations

import re
from pathlib import Path

TABLE = "holdfast_version"  # our own name: another program may keep its `alembic_version` in the same database
MIGRATIONS = Path(__file__).resolve().parents[2] / "alembic" / "versions"


def revision(number: str) -> str:
    """`holdfast_0005` for `0005`. Revisions sort by their names."""
    return f"holdfast_{number}"


def newest(folder: Path = MIGRATIONS) -> str:
    """The newest migration of this release, from the names of its files."""
    return revision(max(found[0] for path in folder.glob("*.py") if (found := re.search("[0-9]{4}", path.name))))


NEWEST = newest()
CURRENT = f"SELECT COALESCE(max(version_num), '') FROM {TABLE}"
IS_CURRENT = f"SELECT COALESCE(max(version_num) >= '{NEWEST}' COLLATE \"C\", false) FROM {TABLE}"
