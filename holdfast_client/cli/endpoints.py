"""`holdfast endpoints`: where Holdfast delivers events, and what became of each delivery."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.orders import show_some
from holdfast_client.cli.output import FORMAT, as_row, notice, show_all, show_one
from holdfast_client.cli.values import when
from holdfast_client.webhook_models import WebhookEndpoint

COLUMNS = ("id", "url", "event_types", "status", "last_success_at", "failing_since")
OF_DELIVERIES = ("id", "event_type", "event_id", "status", "attempts", "response_status", "next_attempt_at", "error")
EVENT_TYPES = click.option("--event-type", "event_types", multiple=True, help="Can be repeated. `*`: all.")
STORE_IT = "Store the secret now. It is not shown again."


@click.group()
def endpoints() -> None:
    """Have events delivered to a public address, and see what became of them.

    For an address on your own machine, use: holdfast webhooks listen
    """


@endpoints.command("list")
@FORMAT
@pass_connection
def list_(connection: Connection, output: str) -> None:
    """List the endpoints, oldest first."""
    with connection.client() as client:
        show_all(map(_row, client.webhook_endpoints()), output, COLUMNS)


@endpoints.command()
@click.argument("endpoint_id")
@FORMAT
@pass_connection
def show(connection: Connection, endpoint_id: str, output: str) -> None:
    """Show an endpoint."""
    with connection.client() as client:
        show_one(_row(client.get_webhook_endpoint(endpoint_id)), output)


@endpoints.command()
@click.argument("url")
@EVENT_TYPES
@click.option("--description")
@FORMAT
@pass_connection
def create(
    connection: Connection, url: str, event_types: tuple[str, ...], description: str | None, output: str
) -> None:
    """Have events delivered to URL. By default all of them."""
    with connection.client() as client:
        made = client.create_webhook_endpoint(url=url, event_types=event_types or ("*",), description=description)
    show_one(_row(made), output)
    notice(STORE_IT)


@endpoints.command()
@click.argument("endpoint_id")
@click.option("--url")
@EVENT_TYPES
@click.option("--description")
@click.option("--enable/--disable", "enabled", default=None, help="A disabled endpoint gets nothing. Events are kept.")
@FORMAT
@pass_connection
def change(
    connection: Connection,
    endpoint_id: str,
    url: str | None,
    event_types: tuple[str, ...],
    description: str | None,
    enabled: bool | None,
    output: str,
) -> None:
    """Change an endpoint."""
    changes = {"url": url, "event_types": list(event_types) or None, "description": description}
    changes |= {"status": None if enabled is None else "enabled" if enabled else "disabled"}
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    if not given:
        raise click.UsageError("Nothing to change: give --url, --event-type, --description, --enable or --disable.")
    with connection.client() as client:
        show_one(_row(client.change_webhook_endpoint(endpoint_id, **given)), output)


@endpoints.command()
@click.argument("endpoint_id")
@pass_connection
def delete(connection: Connection, endpoint_id: str) -> None:
    """Delete an endpoint. Nothing more is delivered to it."""
    with connection.client() as client:
        client.delete_webhook_endpoint(endpoint_id)
    notice(f"Deleted {endpoint_id}")


@endpoints.command("rotate-secret")
@click.argument("endpoint_id")
@FORMAT
@pass_connection
def rotate_secret(connection: Connection, endpoint_id: str, output: str) -> None:
    """Make a new secret. The former one signs as well for 24 hours."""
    with connection.client() as client:
        show_one(_row(client.rotate_webhook_secret(endpoint_id)), output)
    notice(STORE_IT)


@endpoints.command("test")
@click.argument("endpoint_id")
@FORMAT
@pass_connection
def test_(connection: Connection, endpoint_id: str, output: str) -> None:
    """Have an event of the type webhook.test delivered."""
    with connection.client() as client:
        show_one(as_row(client.test_webhook_endpoint(endpoint_id)), output)
    notice(f"See what becomes of it: holdfast endpoints deliveries {endpoint_id}")


@endpoints.command()
@click.argument("endpoint_id")
@click.option("--status", type=click.Choice(["pending", "succeeded", "failed"]))
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--all", "all_", is_flag=True, help="All of them, whatever --limit says.")
@FORMAT
@pass_connection
def deliveries(
    connection: Connection, endpoint_id: str, status: str | None, limit: int, all_: bool, output: str
) -> None:
    """List deliveries, newest first."""
    with connection.client() as client:
        page_size = 100 if all_ else min(limit + 1, 100)
        found = client.webhook_deliveries(endpoint_id, status=status, page_size=page_size)
        show_some(found, None if all_ else limit, lambda rows: show_all(map(as_row, rows), output, OF_DELIVERIES))


@endpoints.command()
@click.argument("endpoint_id")
@click.option("--delivery", "delivery_id", help="This one.")
@click.option("--since", type=when, help="Those since this time: 2h, or 2026-01-31T12:00:00Z.")
@click.option("--all", "all_", is_flag=True, help="With --since: what was delivered, too. By default what failed.")
@FORMAT
@pass_connection
def resend(
    connection: Connection, endpoint_id: str, delivery_id: str | None, since: datetime | None, all_: bool, output: str
) -> None:
    """Have events delivered once more."""
    if (delivery_id is None) == (since is None):
        raise click.UsageError("Give either --delivery or --since.")
    with connection.client() as client:
        if delivery_id is not None:
            show_one(as_row(client.resend_webhook_delivery(endpoint_id, delivery_id)), output)
            return
        resent = 0
        while since is not None:
            answer = client.resend_webhook_deliveries(endpoint_id, since=since, only_failed=not all_)
            resent, since = resent + answer.resent, answer.next_since
    show_one({"resent": resent}, output)


def _row(endpoint: WebhookEndpoint) -> dict[str, Any]:
    row = as_row(endpoint)
    if endpoint.secret is None:
        del row["secret"]
    return row
