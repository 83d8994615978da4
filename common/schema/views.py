"""Views in migrations. Each script is a list of `CREATE VIEW` statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op

REMEMBER_GRANTS = """
SELECT set_config('holdfast.view_grants', COALESCE(string_agg(format('GRANT %s ON %I TO %s', privilege_type, relname,
  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END), '; '), ''), false)
FROM pg_class, aclexplode(relacl)
WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace AND grantee <> relowner
"""
GRANT_AGAIN = """
DO $$ BEGIN
  IF current_setting('holdfast.view_grants') <> '' THEN
    EXECUTE current_setting('holdfast.view_grants');
  END IF;
END $$
"""


def names_of(views: str) -> list[str]:
    return re.findall(r"^CREATE VIEW (\w+)", views, re.MULTILINE)


def drop_views(views: str) -> None:
    op.execute(f"DROP VIEW IF EXISTS {', '.join(names_of(views))}")


@contextmanager
def without_views(views: str) -> Iterator[None]:
    """Drop the script's views, and create them again at the end, even after an error. Their grants are kept.

    PostgreSQL refuses to change the type of a column that a view shows.
    """
    op.execute(REMEMBER_GRANTS)
    drop_views(views)
    try:
        yield
    finally:
        op.execute(views)
        op.execute(GRANT_AGAIN)
