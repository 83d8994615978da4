"""`python -m ops erase --user ID | --email ADDRESS`: erase a person's data. The orders and the books stay."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ops import erasure
from ops.batches import Batches, alone
from ops.database import Unusable, connected, within
from ops.erasure import NO_ADDRESS, NOBODY, Found, Person
from ops.record import record

ERASED, WAITING = 0, 1
TIMEOUT_S = 60
CONFIRM = "erase the personal data of {} orders? Nobody can bring it back. Type `yes`: "


def run(environ: Mapping[str, str] | None, person: Person, *, yes: bool, dry_run: bool) -> int:
    """:returns: 0, or 1 while some of the orders are still open :raises Unusable:"""
    if person.user_id == NOBODY or person.email == NO_ADDRESS:
        raise Unusable("this is what erased orders have in place of a user id and an address: name a person")
    with connected(environ) as (_, connection), alone(connection):
        if dry_run:
            found = _look(connection, person)
            sys.stdout.write(f"Nothing was changed. {_described(found)}\n")
            return ERASED
        if not yes:
            _confirm(_look(connection, person))
        found = _request(connection, person)
        batches = Batches(connection)
        erasure.complete(batches)
        waiting = erasure.pending(connection)
    sys.stdout.write(f"{_described(found)} Erased now: {batches.done.total():,}.\n")
    if waiting:
        sys.stdout.write(
            f"{waiting:,} orders wait: they are open, or somebody has locked them. Run `python -m ops retain`, or this"
            " command, again later. Their erasure is noted and is not lost.\n"
        )
    return WAITING if waiting else ERASED


def _look(connection: Any, person: Person) -> Found:
    with within(connection, timeout_s=TIMEOUT_S) as tx:
        found = erasure.request(tx, person)
        tx.execute("ROLLBACK")
    return found


def _request(connection: Any, person: Person) -> Found:
    """Note all orders in one transaction, together with the operator's record. From here on no crash loses one."""
    with within(connection, timeout_s=TIMEOUT_S) as tx:
        found = erasure.request(tx, person)
        by = [name for name, value in person._asdict().items() if value]
        record(tx, "erase", by=by, **found._asdict())  # never by whose value
    return found


def _confirm(found: Found) -> None:
    if not sys.stdin.isatty():
        raise Unusable("this cannot be undone: add --yes, or --dry-run to see how many orders it concerns")
    sys.stderr.write(CONFIRM.format(found.ended + found.still_open))
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise Unusable("nothing was erased")


def _described(found: Found) -> str:
    return (
        f"Found: {found.ended:,} orders that have ended, {found.still_open:,} that are open, and {found.elsewhere:,}"
        " rows without an order."
    )
