"""`holdfast webhooks`: receive webhooks on your own machine, and make events happen."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.events import TYPE
from holdfast_client.cli.failures import Failed
from holdfast_client.cli.feed import LOOK_EVERY_S, events_since, follow, newest_place
from holdfast_client.cli.output import STREAM_FORMAT, TABLE, cell, notice, show_line
from holdfast_client.cli.stopping import until_stopped
from holdfast_client.cli.trigger import trigger
from holdfast_client.cli.tunnel import Delivery, Sender, Tunnel, as_line, new_secret
from holdfast_client.cli.values import when
from holdfast_client.client import HoldfastClient
from holdfast_client.models import Event
from holdfast_client.webhooks import SECRET_PREFIX, SHORTEST_KEY

VARIABLE = "HOLDFAST_WEBHOOK_SECRET"


def check_address(_: click.Context, __: click.Parameter, url: str) -> str:
    """:raises click.BadParameter: it is not http:// or https:// with a host"""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter(f"{url} is not an address. Write http://127.0.0.1:8500/holdfast")
    return url


def check_secret(_: click.Context, __: click.Parameter, secret: str | None) -> str | None:
    """:raises click.BadParameter: it is not a secret of a webhook"""
    if secret is None:
        return None
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < SHORTEST_KEY:
        raise click.BadParameter("A secret is whsec_ and base64. Make one: holdfast webhooks new-secret")
    return secret


FORWARD_TO = click.option(
    "--forward-to", "url", required=True, callback=check_address, help="Where your shop receives webhooks."
)
SECRET = click.option("--secret", envvar=VARIABLE, show_envvar=True, callback=check_secret, help="Sign with this one.")


@click.group()
def webhooks() -> None:
    """Receive webhooks on your own machine, and make events happen."""


webhooks.add_command(trigger)


@webhooks.command("new-secret")
def new_secret_() -> None:
    """Print a new secret. Give it to `listen` and to your shop as HOLDFAST_WEBHOOK_SECRET."""
    click.echo(new_secret())


@webhooks.command()
@FORWARD_TO
@TYPE
@click.option("--since", type=when, help="Begin with the events since this time: 2h, or 2026-01-31T12:00:00Z.")
@SECRET
@STREAM_FORMAT
@pass_connection
def listen(
    connection: Connection, url: str, types: tuple[str, ...], since: datetime | None, secret: str | None, output: str
) -> None:
    """Forward events to an address of yours, signed, until Ctrl-C.

    Your machine needs no public address. An event that your shop does not accept is sent again after 2 s, 5 s, 15 s,
    1 min and 5 min; the next one of the same order waits for it.
    """
    with connection.client() as client:
        if secret is None:
            secret = new_secret()
            notice(f"Signing with {secret}\nThis secret is shown once. To choose it yourself, set {VARIABLE}.")
        tunnel = Tunnel(Sender(url, secret).send, lambda delivery, delay_s: _show(delivery, delay_s, output))
        with until_stopped():
            _forward(_events(client, since, types or None, url), tunnel)
    if len(tunnel):
        notice(f"{len(tunnel)} events were not delivered. Begin with them the next time: --since 1h")


@webhooks.command()
@click.argument("event_ids", nargs=-1, required=True, metavar="EVENT_ID…")
@FORWARD_TO
@click.option("--since", type=when, default="1d", show_default=True, help="How far back to look for the events.")
@SECRET
@STREAM_FORMAT
@pass_connection
def resend(
    connection: Connection, event_ids: tuple[str, ...], url: str, since: datetime, secret: str | None, output: str
) -> None:
    """Send events to an address of yours once more. They have the same webhook-id as before."""
    if secret is None:
        raise click.UsageError(f"Give the secret that your shop knows: --secret or {VARIABLE}.")
    sender, missing, refused = Sender(url, secret), set(event_ids), 0
    with connection.client() as client:
        for event in events_since(client, since):
            if event.id in missing:
                missing.remove(event.id)
                answer = sender.send(event)
                refused += not answer.is_yes
                _show(Delivery(event, attempts=1, answer=answer), None, output)
            if not missing:
                break
    if missing:
        raise Failed(f"Not found: {', '.join(sorted(missing))}.", "Look further back: --since 30d")
    if refused:
        raise Failed(f"{refused} of {len(event_ids)} events were not accepted.", "Correct the receiver, and resend.")


def _forward(events: Iterator[Event | None], tunnel: Tunnel) -> None:
    """Send each event, and again what is due, without end. :param events: with None after each look at the feed"""
    for event in events:
        if event is not None:
            tunnel.add(event)
        tunnel.send_due()
        while tunnel.is_full:  # read no more of the feed
            time.sleep(LOOK_EVERY_S)
            tunnel.send_due()
        if event is None:
            time.sleep(LOOK_EVERY_S)


def _events(
    client: HoldfastClient, since: datetime | None, types: tuple[str, ...] | None, url: str
) -> Iterator[Event | None]:
    after = None
    if since is None:
        after = newest_place(client)
    else:
        for event in events_since(client, since, types=types):
            yield event
            after = event.id
        after = after or newest_place(client)
    notice(f"Forwarding to {url}. Ctrl-C ends it.")
    yield from follow(client, after, types=types)


def _show(delivery: Delivery, delay_s: float | None, output: str) -> None:
    row = as_line(delivery, delay_s)
    if output != TABLE:
        show_line(row)
        return
    result = str(row["status"]) if row["status"] is not None else str(row["problem"])
    click.echo("  ".join((*(cell(row, name) for name in ("type", "event_id", "order_ledger_id", "sequence")), result)))
    notice_of_failure(row)


def notice_of_failure(row: dict[str, Any]) -> None:
    """Say what happens next, if the receiver has not accepted an event."""
    if row["next_attempt_in_s"] is not None:
        notice(f"{row['event_id']} is sent again in {row['next_attempt_in_s']} s.")
    elif row["status"] is None or not 200 <= row["status"] < 300:
        notice(f"{row['event_id']} is not sent again by itself: holdfast webhooks resend {row['event_id']}")
