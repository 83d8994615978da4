"""Who can reach what: the roles of the processes, their rights, and whether passwords and data travel encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from common.database import version
from common.database.soundness import Problem
from common.process.addresses import PARTICIPANTS
from common.process.production import is_local
from common.schema.grants import MAY_CREATE, difference, existing
from common.schema.roles import RIGHTS, ROLES, RUN_TIME, Right, limits_of, role_of
from ops.checks.look import Look

MAKE = "python -m ops roles"
POWERFUL = """
SELECT rolname AS name FROM pg_roles WHERE rolname = ANY (%(roles)s)
  AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
"""
MEMBERSHIPS = """
SELECT role.rolname AS name, quote_ident(granted.rolname) AS granted FROM pg_auth_members
  JOIN pg_roles AS role ON role.oid = member JOIN pg_roles AS granted ON granted.oid = roleid
WHERE role.rolname = ANY (%(roles)s)
"""
# A role may change settings of its own sessions for good, its search path among them.
SETTINGS_OF_ROLES = """
SELECT rolname AS role, quote_ident(datname) AS database, split_part(setting, '=', 1) AS name, setting
FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole LEFT JOIN pg_database ON pg_database.oid = setdatabase,
  unnest(setconfig) AS setting
WHERE rolname = ANY (%(roles)s) ORDER BY rolname, name
"""
LIMITS_OF = {role_of(name): {f"{limit}={value}" for limit, value in limits_of(name).items()} for name in RIGHTS}
OWNER = """
SELECT rolname AS name FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
WHERE pg_class.oid = to_regclass(%(table)s)
"""


def roles(look: Look) -> Iterator[Problem]:
    found = existing(look)
    if missing := sorted(set(ROLES) - set(found)):
        yield Problem(f"these roles do not exist, so their processes share another: {', '.join(missing)}", MAKE)
    wrong = difference(look, found)
    for role, tables in _by_role(wrong.missing):
        yield Problem(f"{role} lacks rights on {tables}", MAKE)
    for role, tables in _by_role(wrong.excess):
        yield Problem(f"{role} has rights that it does not need, on {tables}", MAKE)


def _by_role(rights: set[Right]) -> Iterator[tuple[str, str]]:
    for role in sorted({right.role for right in rights}):
        yield role, ", ".join(sorted({right.relation for right in rights if right.role == role}))


def powers(look: Look) -> Iterator[Problem]:
    for row in look.all(POWERFUL, roles=list(ROLES)):
        yield Problem(
            f"{row['name']} can do more than its rights on tables say",
            f"ALTER ROLE {row['name']} NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS",
        )
    for row in look.all(MEMBERSHIPS, roles=list(ROLES)):
        yield Problem(
            f"{row['name']} is a member of {row['granted']} and can take on its rights",
            f"REVOKE {row['granted']} FROM {row['name']}",
        )
    for row in look.all(SETTINGS_OF_ROLES, roles=list(ROLES)):
        if row["database"] or row["setting"] not in LIMITS_OF[row["role"]]:
            place = f" IN DATABASE {row['database']}" if row["database"] else ""
            yield Problem(
                f"{row['role']} has its own value of {row['name']}, which `ops roles` did not set",
                f"ALTER ROLE {row['role']}{place} RESET {row['name']}",
            )
    for row in look.all(MAY_CREATE, roles=list(ROLES)):
        yield Problem(
            f"{row['rolname']} may create tables and functions next to ours",
            f"REVOKE CREATE ON SCHEMA {row['schema']} FROM PUBLIC, {row['rolname']}",
        )


def owner(look: Look) -> Iterator[Problem]:
    for row in look.all(OWNER, table=version.TABLE):
        if row["name"] in map(role_of, RUN_TIME):
            yield Problem(
                f"{row['name']} owns the tables: its process could change the history and switch off its triggers",
                f"REASSIGN OWNED BY {row['name']} TO CURRENT_USER",
            )


def encryption(look: Look) -> Iterator[Problem]:
    info = look.connection.info
    if not is_local(info.host or "") and not info.ssl_in_use:
        yield Problem(
            f"the connection to {info.host} is not encrypted: passwords and personal data can be read on the way",
            "add sslmode=verify-full, or at least sslmode=require, to the parameters of DATABASE_URL",
        )


def passwords(look: Look) -> Iterator[Problem]:
    if look.server["password_encryption"] != "scram-sha-256":
        yield Problem(
            f"the server stores new passwords as {look.server['password_encryption']}, which can be guessed quickly",
            "ALTER SYSTEM SET password_encryption = 'scram-sha-256'; SELECT pg_reload_conf()",
        )


def services(look: Look) -> Iterator[Problem]:
    for name in PARTICIPANTS:
        url = urlsplit(getattr(look.settings, f"{name}_url"))
        if url.scheme == "http" and not is_local(url.hostname or ""):
            yield Problem(
                f"{name.upper()}_URL is an http:// address of another host: tokens and personal data can be read on the"
                " way, unless the network encrypts them",
                "use an https:// address, or make sure that the network is private",
            )
