"""`holdfast ops`: what an operator does at 3 a.m., over the console's API."""

from __future__ import annotations

import time

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.console import console_options
from holdfast_client.cli.failures import Failed, Reporting
from holdfast_client.cli.ops_endpoints import endpoints
from holdfast_client.cli.ops_jobs import jobs, orders
from holdfast_client.cli.ops_orders import one_order_commands
from holdfast_client.cli.ops_status import line_of, read_status, show_status
from holdfast_client.cli.output import FORMAT, STREAM_FORMAT, TABLE, notice, short_time, show_all, show_line, show_one
from holdfast_client.cli.stopping import until_stopped
from holdfast_client.console import ConsoleClient, Row
from holdfast_client.errors import Unavailable

ATTENTION = ("kind", "id", "status", "since", "tries", "next_try", "amount_cents", "money", "reason")
RULES = ("name", "found", "means")
VIOLATIONS = ("rule", "subject", "text")


@click.group(cls=Reporting)
@console_options
def ops() -> None:
    """See and mend what runs, for operators: over the console's API, with its roles and its record.

    The address and the key come from the first of: these options, --profile, HOLDFAST_CONSOLE_URL and
    HOLDFAST_OPERATOR_KEY, var/credentials.env, and the profile named operator.
    """


@ops.command()
@click.option("--check", is_flag=True, help="Exit with 1 if something is wrong.")
@FORMAT
@pass_connection
def status(connection: Connection, check: bool, output: str) -> None:
    """Show whether everything is well: orders, processes, participants, holds and the last audit."""
    with connection.console() as console:
        found = read_status(console)
    if output == TABLE:
        show_status(found)
    else:
        show_one(found, output)
    if check and found["problems"]:
        raise Failed("; ".join(found["problems"]))


@ops.command()
@click.option("--all", "all_", is_flag=True, help="Also what an operator has dealt with.")
@FORMAT
@pass_connection
def attention(connection: Connection, all_: bool, output: str) -> None:
    """List the orders and refunds that need attention, the longest waiting first."""
    with connection.console() as console:
        found = [
            {"id": each["refund_id"] or each["order_ledger_id"], **each}
            for each in console.pages("/attention", "entries", limit=100, **({"all": "true"} if all_ else {}))
        ]
        hidden = 0 if all_ or output != TABLE else console.get("/attention", limit=1)["dealt_with"]
    if output != TABLE:
        show_all(found, output, ATTENTION)
    elif found:
        show_all(map(_waiting, found), output, ATTENTION)
    else:
        notice("Nothing needs attention.")
    if hidden:
        are, them = ("is", "it") if hidden == 1 else ("are", "them")
        notice(f"{hidden} that somebody has dealt with {are} hidden: --all shows {them}.")


def _waiting(entry: Row) -> Row:
    dealt_with = f" (dealt with by {entry['dealt_with_by']}: {entry['dealt_with_reason']})"
    return {
        **entry,
        "since": short_time(entry["since"]),
        "tries": entry["retry_count"],
        "next_try": "never, it has ended" if entry["due_at"] is None else short_time(entry["due_at"]),
        "reason": entry["reason"] + (dealt_with if entry["is_dealt_with"] else ""),
    }


@ops.command()
@FORMAT
@pass_connection
def audit(connection: Connection, output: str) -> None:
    """Show what the last recorded audit found. 0: the books agree, 1: they do not, or nobody has looked.

    `python -m ops audit`, on a machine that reaches the database, runs one.
    """
    with connection.console() as console:
        found = console.get("/audit")
    last = found["last"]
    if output != TABLE:
        show_one(found, output)
    elif last:
        old = ", more than an hour ago" if last["is_old"] else ""
        verdict = "the books agree" if last["healthy"] else f"{last['rows_found']} violations"
        click.echo(f"{short_time(last['at'])}{old}: {verdict}\n")
        show_all([rule for rule in found["rules"] if rule["found"]] or found["rules"], output, RULES)
        if found.get("examples"):
            click.echo()
            show_all(found["examples"], output, VIOLATIONS)
    if last is None:
        raise Failed("No audit has been recorded.", "Run one: python -m ops audit")
    if not last["healthy"]:
        raise Failed(
            f"The books do not agree: {last['rows_found']} violations.",
            "`holdfast ops order` with the id of a row shows its order. What to do: docs/runbook.md.",
        )


@ops.command()
@click.option("--every", type=click.FloatRange(min=1), default=5, show_default=True, metavar="SECONDS")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many lines.")
@STREAM_FORMAT
@pass_connection
def watch(connection: Connection, every: float, count: int | None, output: str) -> None:
    """Print one line of the status every few seconds, until Ctrl-C. Goes on while the console does not answer."""
    shown = 0
    with connection.console() as console, until_stopped():
        while count is None or shown < count:
            if shown:
                time.sleep(every)
            _show_line(console, output, is_first=not shown)
            shown += 1


def _show_line(console: ConsoleClient, output: str, *, is_first: bool) -> None:
    """:raises Unavailable: the first line gets no answer: perhaps the address is wrong"""
    try:
        found = read_status(console)
    except Unavailable as error:
        if is_first:
            raise
        notice(f"The console gives no answer: {error.message}")
        return
    if output == TABLE:
        click.echo(line_of(found))
    else:
        show_line(found)


for command in (*one_order_commands(), orders, jobs, endpoints):
    ops.add_command(command)
