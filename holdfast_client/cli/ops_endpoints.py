"""`holdfast ops endpoints`: the webhook endpoints of all clients that do not work."""

from __future__ import annotations

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.output import FORMAT, TABLE, notice, short_time, show_all
from holdfast_client.console import Row

ENDPOINTS = ("id", "client", "status", "failing_since", "disabled_reason", "url")


@click.command()
@click.option("--all", "all_", is_flag=True, help="Also those that work.")
@FORMAT
@pass_connection
def endpoints(connection: Connection, all_: bool, output: str) -> None:
    """List the webhook endpoints that are disabled, or whose receiver does not work."""
    with connection.console() as console:
        some = {} if all_ else {"in_trouble": "true"}
        found = list(console.pages("/webhook_endpoints", "webhook_endpoints", limit=100, **some))
    if output != TABLE:
        show_all(found, output, ENDPOINTS)
    elif found:
        show_all(map(_for_people, found), output, ENDPOINTS)
    else:
        notice("No client has a webhook endpoint." if all_ else "All webhook endpoints work.")


def _for_people(endpoint: Row) -> Row:
    since = endpoint["failing_since"]
    return {**endpoint, "failing_since": since and short_time(since)}
