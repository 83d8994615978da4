"""The audit, as views. Their SQL is in 0005_audit.sql."""

from __future__ import annotations

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0005"
down_revision = "holdfast_0004"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


def upgrade() -> None:
    op.execute(VIEWS)


def downgrade() -> None:
    for name in reversed(re.findall(r"^CREATE VIEW (\w+)", VIEWS, re.MULTILINE)):
        op.execute(f"DROP VIEW {name}")
