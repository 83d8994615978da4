"""The audit of webhook deliveries.

Revision ID: holdfast_0021
Revises: holdfast_0020

Every step can be repeated.
"""

import re
from pathlib import Path

from alembic import op

revision = "holdfast_0021"
down_revision = "holdfast_0020"
branch_labels = None
depends_on = None

VIEWS, FORMER_VIEWS = (
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("0021_audit.sql", "0017_audit.sql")
)


def upgrade() -> None:
    op.execute(VIEWS)


def downgrade() -> None:
    for name in ("audit_violations", "audit_checks"):
        (view,) = re.findall(rf"^CREATE OR REPLACE VIEW {name}\b.*?;$", FORMER_VIEWS, re.MULTILINE | re.DOTALL)
        op.execute(view)
    op.execute("DROP VIEW audit_deliveries")
