"""`python -m ops migrate`, `roles`, `check`, `audit`, `attention`: for operators, on the database in DATABASE_URL."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence

UNUSABLE = 2  # the exit code of argparse after an error; 1 means that something is wrong with the books

try:
    from ops import attention, audit, check
    from ops.database import Unusable
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


def _attention(environ: Mapping[str, str] | None, given: argparse.Namespace) -> int:
    return attention.retry(environ, given.order_ledger_id) if given.action == "retry" else attention.show(environ)


COMMANDS: dict[str, Callable[[Mapping[str, str] | None, argparse.Namespace], int]] = {
    "migrate": _migrate,
    "roles": _roles,
    "check": lambda environ, given: check.run(environ, given.format),
    "audit": lambda environ, given: audit.run(environ, given.format, given.show),
    "attention": _attention,
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
    waiting = commands.add_parser("attention", help="list the orders that need attention, or retry one of them")
    waiting.set_defaults(action="list")
    actions = waiting.add_subparsers(dest="action")
    again = actions.add_parser("retry", help="make a waiting order due now")
    again.add_argument("order_ledger_id", type=_uuid)
    return parser


def _uuid(text: str) -> str:
    return str(uuid.UUID(text))


_uuid.__name__ = "order_ledger_id"  # argparse: "invalid order_ledger_id value"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError
    return int(text)


_count.__name__ = "positive number"


if __name__ == "__main__":
    sys.exit(main())
