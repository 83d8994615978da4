"""The schema of a database as text that tests compare."""

from __future__ import annotations

OF_TABLES = """
SELECT 'table', relname, concat_ws(' ', relkind, relpersistence, relrowsecurity, reloptions::text)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'v')
"""
OF_VIEWS = """
SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
"""
OF_COLUMNS = """
SELECT 'column', attrelid::regclass || '.' || attname, concat_ws(' ', format_type(atttypid, atttypmod),
    CASE WHEN attnotnull THEN 'not null' END, 'default ' || pg_get_expr(adbin, adrelid),
    'identity ' || attidentity::text, 'generated ' || attgenerated::text, attcollation::regcollation, attstorage)
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND attrelid IN (
    SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'v'))
"""
OF_CONSTRAINTS = """
SELECT 'constraint', conrelid::regclass || '.' || conname, concat_ws(' ', contype, convalidated,
    pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""
OF_INDEXES = """
SELECT 'index', indexrelid::regclass::text, concat_ws(' ', indisvalid, indisunique, pg_get_indexdef(indexrelid))
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
"""
OF_TRIGGERS = """
SELECT 'trigger', tgrelid::regclass || '.' || tgname, concat_ws(' ', tgenabled, pg_get_triggerdef(oid))
FROM pg_trigger WHERE NOT tgisinternal
"""
OF_FUNCTIONS = """
SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
# Enumerations, domains and the like; a table's own row type belongs to the table.
OF_TYPES = """
SELECT 'type', typname, typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typrelid = 0
    AND typelem = 0
"""
OF_THE_REST = """
SELECT 'schema', nspname, '' FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL SELECT 'extension', extname, extversion FROM pg_extension
"""
PARTS = (OF_TABLES, OF_VIEWS, OF_COLUMNS, OF_CONSTRAINTS, OF_INDEXES, OF_TRIGGERS, OF_FUNCTIONS, OF_TYPES, OF_THE_REST)
VERSION_TABLE = "holdfast_version"


def catalog(sql) -> dict[tuple[str, str], str]:
    """(kind, name) → definition, for everything but alembic's own table."""
    rows = sql(" UNION ALL ".join(PARTS))
    return {(kind, name): definition for kind, name, definition in rows if VERSION_TABLE not in name}
