"""Whom the filter of a job is about, and how that is forgotten."""

PERSONAL = ("email", "user_id")
NOT_KEPT = "[not kept]"  # in the place of such a value

# SQL: the column `filter` without whom it is about.
WITHOUT_PERSON = """(
    SELECT COALESCE(jsonb_object_agg(name, CASE WHEN name IN ('email', 'user_id') THEN '"[not kept]"' ELSE value END),
      '{}') FROM jsonb_each(filter) AS condition (name, value))"""
# SQL: what is no longer needed when a job ends, also one whose orders were not all collected.
FORGET = f"note = NULL, filter = {WITHOUT_PERSON}"
