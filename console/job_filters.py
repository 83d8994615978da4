"""The personal data in a job's filter, and how it is removed."""

PERSONAL = ("email", "user_id")
NOT_KEPT = "[not kept]"  # in the place of such a value

# SQL: the column `filter` without personal data.
WITHOUT_PERSON = """(
    SELECT COALESCE(jsonb_object_agg(name, CASE WHEN name IN ('email', 'user_id') THEN '"[not kept]"' ELSE value END),
      '{}') FROM jsonb_each(filter) AS condition (name, value))"""
# SQL: remove the personal data of a job that ends, even if not all of its orders were collected.
FORGET = f"note = NULL, filter = {WITHOUT_PERSON}"
