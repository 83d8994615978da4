"""`python -m ops migrate`, `audit` and `attention`: for operators, on the database in DATABASE_URL."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
import uuid
from collections.abc import Mapping, Sequence

UNUSABLE = 2  # as argparse ends after a mistake in the arguments; 1 would say that something is wrong with the books

try:
    from ops import attention, audit
    from ops.database import Unusable
except ImportError as missing:
    sys.stderr.write(f"{missing}: run it with the Python of .venv/bin\n")
    sys.exit(UNUSABLE)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command, with the process's own environment where none is given; its exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "migrate":
            # Imported here: it loads SQLAlchemy, and the other commands need not wait for that.
            return int(importlib.import_module("ops.migrate").run(environ))
        if given.command == "audit":
            return audit.run(environ, given.format, given.show)
        if given.action == "retry":
            return attention.retry(environ, given.order_ledger_id)
        return attention.show(environ)
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
    except Exception:  # whatever it is, it says nothing about the books
        traceback.print_exc()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where what could not be written may go
    return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops", description="Look after a running Holdfast.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="migrate the database to the newest schema; safe to repeat")
    check = commands.add_parser("audit", help="do the books agree? 0: yes, 1: no, 2: it cannot be told")
    check.add_argument("--format", choices=sorted(audit.FORMATS), default="text")
    check.add_argument("--show", type=_count, default=audit.SHOWN, metavar="N", help="rows of each check at most")
    look = commands.add_parser("attention", help="list the orders that want a person, or try one of them again")
    look.set_defaults(action="list")
    actions = look.add_subparsers(dest="action")
    again = actions.add_parser("retry", help="make an order that waits due at once")
    again.add_argument("order_ledger_id", type=_uuid)
    return parser


def _uuid(text: str) -> str:
    return str(uuid.UUID(text))


_uuid.__name__ = "order_ledger_id"  # what argparse says it is not


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError
    return int(text)


_count.__name__ = "positive number"


if __name__ == "__main__":
    sys.exit(main())
