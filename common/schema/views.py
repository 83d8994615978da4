"""Views in migrations. Each script is a list of `CREATE VIEW` statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op

REMEMBER_GRANTS = """
CREATE TEMPORARY TABLE view_grants AS
SELECT format('GRANT %s ON %I TO %s', privilege_type, relname,
  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END) AS statement
FROM pg_class, aclexplode(relacl)
WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace AND grantee <> relowner
"""
GRANT_AGAIN = """
DO $$
DECLARE
  given record;
BEGIN
  FOR given IN SELECT statement FROM view_grants LOOP
    EXECUTE given.statement;
  END LOOP;
  DROP TABLE view_grants;
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
