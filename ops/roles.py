"""`python -m ops roles`: create a database role for each process, and give each the rights that it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from common.process.settings import Settings
from common.schema.accounts import CREATE, address_of, create_missing, new_password, set_password
from common.schema.grants import grant, statements
from common.schema.locks import LOCK_ID
from common.schema.roles import AUDIT, RIGHTS, ROLES, limits_of, role_of
from ops.database import Opened, Unusable, opened
from ops.record import record

TIMEOUT_S = 30
MAY_NOT_CREATE = (
    "the role in DATABASE_URL may not create roles. Create these with the tools of your provider, and run this command"
    f" again, which gives them their rights: {', '.join(ROLES)}"
)


def run(environ: Mapping[str, str] | None, *, sql: bool, new_passwords: bool) -> int:
    """Create what is missing and print the settings to make, or print the SQL. :raises Unusable:"""
    if sql:
        sys.stdout.write(as_sql())
        return 0
    with opened(environ, timeout_s=TIMEOUT_S) as database:
        passwords = make(database, new_passwords=new_passwords)
    for line in lines(database.settings, passwords):
        sys.stdout.write(f"{line}\n")
    sys.stderr.write(_summary(passwords))
    return 0


def make(database: Opened, *, new_passwords: bool = False) -> dict[str, str]:
    """Create roles, give rights, and set passwords. :returns: the passwords that are new to the caller, by role"""
    tx = database.tx
    tx.execute("SELECT pg_advisory_xact_lock(%(id)s)", id=LOCK_ID)  # GRANTs at the same time would fail
    try:
        made = create_missing(tx)
    except psycopg2.errors.InsufficientPrivilege:
        raise Unusable(MAY_NOT_CREATE) from None
    rights = grant(tx)
    known = _known_passwords(database.settings)
    passwords = {role: new_password() for role in ROLES if new_passwords or (role in made and role not in known)}
    to_set = {role: password for role, password in known.items() if role in made} | passwords
    for role, password in to_set.items():
        set_password(database.connection, tx, role, password)
    record(tx, "roles", created=made, rights=rights, passwords=sorted(to_set))
    return passwords


def _known_passwords(settings: Settings) -> dict[str, str]:
    """The passwords in the addresses that are set already, of our roles."""
    found = {}
    for name in RIGHTS:
        address = psycopg2.extensions.parse_dsn(getattr(settings, f"{name}_database_url"))
        if address.get("user") == role_of(name) and address.get("password"):
            found[role_of(name)] = address["password"]
    return found


def lines(settings: Settings, passwords: Mapping[str, str]) -> Iterator[str]:
    """The settings to make, as lines of an environment file."""
    direct = settings.database_direct_url
    for name in RIGHTS:
        role = role_of(name)
        if role in passwords:
            url = direct if name == AUDIT else settings.database_url
            yield f"{name.upper()}_DATABASE_URL={address_of(url, role, passwords[role])}"
            if name == "orchestrator" and direct != settings.database_url:
                yield f"{name.upper()}_DATABASE_DIRECT_URL={address_of(direct, role, passwords[role])}"


def as_sql() -> str:
    text = "-- For psql, as the owner of the tables or a superuser. Set each password with \\password ROLE.\n"
    for name in RIGHTS:
        role = role_of(name)
        text += f"{CREATE.format(role=role)};\n"
        text += "".join(f"ALTER ROLE {role} SET {each} = '{value}';\n" for each, value in limits_of(name).items())
        text += "".join(f"{statement};\n" for statement in statements(name))
    return text + "REVOKE CREATE ON SCHEMA public FROM PUBLIC;\n"


def _summary(passwords: Mapping[str, str]) -> str:
    if passwords:
        return "The roles have their rights. Set the lines above. The passwords are shown only once.\n"
    return "The roles have their rights. No password was made (--new-passwords makes new ones).\n"
