"""`python -m ops COMMAND`: for operators, on the database in DATABASE_URL."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

MOST_HOURS = 24 * 366
MOMENTS = "a date (UTC), or RFC 3339, such as 2027-01-31T00:00:00Z"
UNUSABLE = 2  # the exit code of argparse after an error; 1 means that something is wrong with the books

try:
    from common.credentials import operator_keys, service_tokens
    from ops import attention, audit, check, erase, keys, operators, reconcile, retain, service_token
    from ops.database import Unusable
    from ops.erasure import Person
except ImportError as missing:
    sys.stderr.write(f"{missing}: run it with the Python of .venv/bin\n")
    sys.exit(UNUSABLE)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command, with the process's own environment unless one is given. :returns: its exit code"""
    given = _parser().parse_args(arguments)
    try:
        return COMMANDS[given.command](environ, given)
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
    except Exception:  # an error of the command says nothing about the books
        traceback.print_exc()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the output that could not be written
    return UNUSABLE


def _migrate(environ: Mapping[str, str] | None, _given: argparse.Namespace) -> int:
    # Imported here, because it loads SQLAlchemy, which other commands do not need.
    return int(importlib.import_module("ops.migrate").run(environ))


def _roles(environ: Mapping[str, str] | None, given: argparse.Namespace) -> int:
    return int(importlib.import_module("ops.roles").run(environ, sql=given.sql, new_passwords=given.new_passwords))


def _erase(environ: Mapping[str, str] | None, given: argparse.Namespace) -> int:
    return erase.run(environ, Person(given.user, given.email), yes=given.yes, dry_run=given.dry_run)


def _attention(environ: Mapping[str, str] | None, given: argparse.Namespace) -> int:
    match given.action:
        case "retry":
            return attention.retry(environ, given.id)
        case "done":
            return attention.dismiss(environ, given.id)
        case _:
            return attention.show(environ)


def _keys(environ: Mapping[str, str] | None, given: argparse.Namespace) -> int:
    match given.action:
        case "create":
            return keys.run_create(environ, given.client, given.scope, given.expires)
        case "revoke":
            return keys.revoke(environ, given.id)
        case "rotate":
            return keys.rotate(environ, given.id, given.keep_for * 3600, given.expires)
        case _:
            return keys.show(environ)


def _operators(environ: Mapping[str, str] | None, given: argparse.Namespace) -> int:
    match given.action:
        case "create":
            return operators.run_create(environ, given.name, given.role, given.expires)
        case "revoke":
            return operators.revoke(environ, given.id)
        case _:
            return operators.show(environ)


COMMANDS: dict[str, Callable[[Mapping[str, str] | None, argparse.Namespace], int]] = {
    "migrate": _migrate,
    "roles": _roles,
    "check": lambda environ, given: check.run(environ, given.format),
    "audit": lambda environ, given: audit.run(environ, given.format, given.show),
    "attention": _attention,
    "reconcile": lambda environ, given: reconcile.run(environ, given.start, given.end, given.format),
    "erase": _erase,
    "retain": lambda environ, given: retain.run(environ, seconds=given.seconds),
    "keys": _keys,
    "operators": _operators,
    "service-token": lambda environ, given: service_token.run(environ, given.audience),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops", description="Look after a running Holdfast.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="migrate the database to the newest schema; safe to repeat")
    roles = commands.add_parser(
        "roles", help="create a database role for each process, with its rights; safe to repeat"
    )
    roles.add_argument("--sql", action="store_true", help="print the SQL instead, for psql")
    roles.add_argument("--new-passwords", action="store_true", help="make a new password for each role that exists")
    sound = commands.add_parser("check", help="are the database and the settings sound? 0: yes, 1: no, 2: not known")
    sound.add_argument("--format", choices=sorted(check.FORMATS), default="text")
    books = commands.add_parser("audit", help="do the books agree? 0: yes, 1: no, 2: not known")
    books.add_argument("--format", choices=sorted(audit.FORMATS), default="text")
    books.add_argument("--show", type=_count, default=audit.SHOWN, metavar="N", help="rows of each check at most")
    waiting = commands.add_parser("attention", help="list the orders and refunds that need attention")
    waiting.set_defaults(action="list")
    actions = waiting.add_subparsers(dest="action")
    again = actions.add_parser("retry", help="make a waiting order or refund due now")
    done = actions.add_parser("done", help="take what has ended off the list, after you have dealt with it")
    for action in (again, done):
        action.add_argument("id", type=_uuid, help="an order_ledger_id or a refund_id")
    gateway = commands.add_parser("reconcile", help="are our books those of the gateway? 0: yes, 1: no, 2: not known")
    gateway.add_argument("--from", dest="start", type=_moment, required=True, metavar="TIME", help=MOMENTS)
    gateway.add_argument("--to", dest="end", type=_moment, metavar="TIME", help=f"{MOMENTS}; default: now")
    gateway.add_argument("--format", choices=sorted(reconcile.FORMATS), default="text")
    _add_keys(commands.add_parser("keys", help="make, list, revoke and rotate the API keys of clients"))
    _add_operators(commands.add_parser("operators", help="make, list and revoke the keys of operators"))
    token = commands.add_parser("service-token", help="print a token for a service, valid for an hour")
    token.add_argument("audience", choices=service_token.AUDIENCES, metavar="|".join(service_tokens.PARTICIPANTS))
    _add_data_commands(commands)
    return parser


def _add_data_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    away = commands.add_parser("erase", help="erase a person's data; 0: done, 1: some orders are still open")
    person = away.add_mutually_exclusive_group(required=True)
    person.add_argument("--user", type=_user_id, metavar="ID", help="the person's user_id in their orders")
    person.add_argument("--email", metavar="ADDRESS", help="the person's address, in upper or lower case")
    away.add_argument("--yes", action="store_true", help="do not ask first")
    away.add_argument("--dry-run", action="store_true", help="only count the orders")
    old = commands.add_parser("retain", help="delete what is older than the settings RETAIN_… allow; for a scheduler")
    old.add_argument("--seconds", type=_count, default=3600, metavar="N", help="stop after this time (default: 3600)")


def _add_keys(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    new = actions.add_parser("create", help="make a key and print it, once")
    new.add_argument("client", help="whose orders the key sees; a client may have several keys")
    new.add_argument("--scope", action="append", help="may be given repeatedly; without it: all scopes")
    new.add_argument("--expires", type=_time, metavar="TIME", help="RFC 3339, such as 2027-01-31T00:00:00Z")
    actions.add_parser("list", help="list the keys, without their secrets")
    end = actions.add_parser("revoke", help="end a key; it stops working within a minute")
    end.add_argument("id", help="the part between hf_ and the next _")
    change = actions.add_parser("rotate", help="make a key that replaces another one; both work for some time")
    change.add_argument("id")
    change.add_argument(
        "--keep-for", type=_hours, default=keys.KEEP_FOR_S / 3600, metavar="HOURS", help="default: %(default)g"
    )
    change.add_argument("--expires", type=_time, metavar="TIME", help="of the new key; default: as the former one")


def _add_operators(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    new = actions.add_parser("create", help="make a key for the console and `holdfast ops`, and print it, once")
    new.add_argument("name", help="of the person, for the record of what was done")
    new.add_argument("--role", choices=operator_keys.ROLES, required=True)
    new.add_argument("--expires", type=_time, metavar="TIME", help="RFC 3339, such as 2027-01-31T00:00:00Z")
    actions.add_parser("list", help="list the keys, without their secrets")
    end = actions.add_parser("revoke", help="end a key and its sessions, at once")
    end.add_argument("id", help="the part between hfo_ and the next _")


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError
    return time


_time.__name__ = "time with an offset"


def _moment(text: str) -> datetime:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        text += "T00:00:00Z"
    time = _time(text)
    if not 1971 <= time.year <= 9998:  # no order is older, and sums with these cannot overflow
        raise ValueError
    return time.astimezone(UTC)


_moment.__name__ = "date or time with an offset"


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 <= hours <= MOST_HOURS:
        raise ValueError
    return hours


_hours.__name__ = "number of hours"


def _uuid(text: str) -> str:
    return str(uuid.UUID(text))


_uuid.__name__ = "id"  # argparse: "invalid id value"


def _user_id(text: str) -> str:
    return _uuid(text)


_user_id.__name__ = "user id"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError
    return int(text)


_count.__name__ = "positive number"


if __name__ == "__main__":
    sys.exit(main())
