"""Give the roles of the processes their rights on the tables, and compare the rights they have with these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from common.database.transaction import Row
from common.schema.roles import AUDIT, RIGHTS, ROLES, SESSIONS, VERB, Right, rights, rights_of, role_of

EXISTING = "SELECT rolname FROM pg_roles WHERE rolname = ANY (%(roles)s) ORDER BY rolname"
COLUMNS = """
SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
"""
# What a role can do, for whatever reason: its own rights, those of PUBLIC, or those of a role that it belongs to.
EFFECTIVE = f"""
SELECT rolname AS role, relname AS relation, verb, attname AS column
FROM pg_roles, ({COLUMNS}) AS columns, unnest('{{SELECT,INSERT,UPDATE,REFERENCES}}'::text[]) AS verb
WHERE rolname = ANY (%(roles)s) AND has_column_privilege(rolname, quote_ident(relname), attname, verb)
UNION ALL
SELECT rolname, relname, verb, '*' FROM pg_roles, pg_class, unnest('{{DELETE,TRUNCATE,TRIGGER}}'::text[]) AS verb
WHERE rolname = ANY (%(roles)s) AND relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
  AND has_table_privilege(rolname, pg_class.oid, verb)
"""
SCHEMA = "SELECT quote_ident(current_schema()) AS name"
# Rights on other objects: the schema for all roles, and the function that shows `ops check` the sessions.
LACKING = f"""
SELECT rolname FROM pg_roles
WHERE rolname = ANY (%(roles)s) AND (NOT has_schema_privilege(rolname, current_schema(), 'USAGE')
  OR rolname = '{role_of(AUDIT)}' AND NOT has_function_privilege(rolname, to_regprocedure('{SESSIONS}'), 'EXECUTE'))
"""
# In databases that began before PostgreSQL 15, everybody may create objects in the schema `public`. A function there
# can hide one of pg_catalog from the other roles (CVE-2018-1058).
MAY_CREATE = """
SELECT rolname, quote_ident(current_schema()) AS schema FROM pg_roles
WHERE rolname = ANY (%(roles)s) AND has_schema_privilege(rolname, current_schema(), 'CREATE')
"""


class Asks(Protocol):
    """A transaction, or a whole database."""

    def all(self, sql: str, **params: Any) -> list[Row]: ...


class Difference(NamedTuple):
    missing: set[Right]
    excess: set[Right]


def existing(database: Asks) -> list[str]:
    """The roles of the processes that this server has."""
    return [row["rolname"] for row in database.all(EXISTING, roles=list(ROLES))]


def difference(database: Asks, roles: list[str]) -> Difference:
    """Compare the rights of these roles with what they should be."""
    columns = _columns(database)
    wanted = {each for right in rights() if right.role in roles for each in _expanded(right, columns)}
    found = {Right(**row) for row in database.all(EFFECTIVE, roles=roles)}
    return Difference(wanted - found, found - wanted)


def _columns(database: Asks) -> dict[str, list[str]]:
    """Relation → its columns."""
    columns = defaultdict(list)
    for row in database.all(COLUMNS):
        columns[row["relname"]].append(row["attname"])
    return dict(columns)


def _expanded(right: Right, columns: Mapping[str, list[str]]) -> Iterator[Right]:
    """The right for each of its columns that exist. DELETE is about whole rows."""
    if right.verb == "DELETE":
        yield right
        return
    for column in columns.get(right.relation, ()):
        if right.column in ("*", column):
            yield right._replace(column=column)


def grant(database: Asks) -> list[str]:
    """Give each role that exists its rights, and take all others. :returns: the roles whose rights were changed"""
    roles = existing(database)
    wrong = difference(database, roles)
    changed = {right.role for right in (*wrong.missing, *wrong.excess)}
    changed |= {row["rolname"] for row in database.all(LACKING, roles=roles)}
    columns = _columns(database)
    if database.all(f"SELECT 1 AS one WHERE to_regprocedure('{SESSIONS}') IS NOT NULL"):
        columns[SESSIONS] = []
    ((schema,),) = (row.values() for row in database.all(SCHEMA))
    for name in RIGHTS:
        if role_of(name) in changed:
            database.all("; ".join(statements(name, schema, columns)))
    creators = {row["rolname"] for row in database.all(MAY_CREATE, roles=roles)}
    if creators:
        database.all(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {', '.join(creators)}")
    return sorted(changed | creators)


def statements(
    name: str, schema: str = "public", columns: Mapping[str, Collection[str]] | None = None
) -> Iterator[str]:
    """The SQL that gives a role exactly its rights.

    :param columns: of each relation that exists; a database that is not fully migrated lacks some. None: all exist
    """
    role = role_of(name)
    yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}"
    for relation, text in rights_of(name).items():
        if columns is None:
            yield f"GRANT {text} ON {relation} TO {role}"
        elif relation in columns and (given := _of_these(text, columns[relation])):
            yield f"GRANT {given} ON {relation} TO {role}"
    if name == AUDIT and (columns is None or SESSIONS in columns):
        yield f"GRANT EXECUTE ON FUNCTION {SESSIONS} TO {role}"


def _of_these(text: str, columns: Collection[str]) -> str:
    """The rights, as GRANT takes them, on those of their columns that exist."""
    given = []
    for verb, names in VERB.findall(text):
        existing_names = [name for name in names.split(", ") if name in columns]
        if existing_names or not names:
            given.append(f"{verb} ({', '.join(existing_names)})" if names else verb)
    return ", ".join(given)
