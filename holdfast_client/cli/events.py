"""`holdfast events`: what has happened to orders."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.feed import LOOK_EVERY_S, events_since, follow, newest_place
from holdfast_client.cli.output import FORMAT, JSONL, STREAM_FORMAT, TABLE, cell, notice, show_all, show_line
from holdfast_client.cli.stopping import until_stopped
from holdfast_client.cli.values import when
from holdfast_client.models import Event

TYPES = (
    "order.authorized", "order.authorization_failed", "order.completed", "order.failed", "order.cancelled",
    "refund.succeeded", "refund.failed",
)  # fmt: skip
COLUMNS = ("timestamp", "type", "order_ledger_id", "sequence", "reference", "id")
TYPE = click.option("--type", "types", type=click.Choice(TYPES), multiple=True, help="Can be repeated.")
AFTER = click.option("--after", metavar="EVENT_ID", help="Begin after this event.")


@click.group()
def events() -> None:
    """See what has happened to orders, and what happens."""


@events.command("list")
@TYPE
@click.option("--order", "order_ledger_id", help="The events of one order.")
@AFTER
@click.option("--since", type=when, help="Begin at this time: 2h, or 2026-01-31T12:00:00Z. By default the oldest.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@FORMAT
@pass_connection
def list_(
    connection: Connection,
    types: tuple[str, ...],
    order_ledger_id: str | None,
    after: str | None,
    since: datetime | None,
    limit: int,
    output: str,
) -> None:
    """List events, oldest first. They are kept for 30 days."""
    with connection.client() as client:
        found: Iterable[Event]
        if since is None or order_ledger_id or after:
            all_ = client.events(after=after, type=types or None, order_ledger_id=order_ledger_id)
            found = (event for event in all_ if since is None or event.timestamp >= since)
        else:
            found = events_since(client, since, types=types or None)
        first = list(islice(found, limit + 1))
    show_all([_row(event, output) for event in first[:limit]], output, COLUMNS)
    if len(first) > limit:
        notice(f"There are more. See them with --after {first[limit - 1].id}")


@events.command()
@TYPE
@AFTER
@click.option("--since", type=when, help="Begin with those since this time: 2h, or 2026-01-31T12:00:00Z.")
@STREAM_FORMAT
@pass_connection
def tail(
    connection: Connection, types: tuple[str, ...], after: str | None, since: datetime | None, output: str
) -> None:
    """Show events when they come, until Ctrl-C. By default only new ones."""
    wanted = types or None
    with connection.client() as client, until_stopped():
        if since is not None:
            for event in events_since(client, since, after=after, types=wanted):
                _show(event, output)
                after = event.id
        after = after or newest_place(client)
        notice("Waiting for events. Ctrl-C ends it.")
        for new in follow(client, after, types=wanted):
            if new is None:
                time.sleep(LOOK_EVERY_S)
            else:
                _show(new, output)


def _show(event: Event, output: str) -> None:
    row = _row(event, output)
    if output == JSONL:
        show_line(row)
    else:
        click.echo("  ".join(cell(row, name) for name in COLUMNS))


def _row(event: Event, output: str) -> dict[str, object]:
    return {**event.raw, **event.raw["data"]} if output == TABLE else dict(event.raw)
