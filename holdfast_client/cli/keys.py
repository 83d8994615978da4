"""`holdfast keys`: the keys with which clients call the Edge API, for admins, over the console's API."""

from __future__ import annotations

import re
from datetime import datetime

import click

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.console import YES, ask, console_options
from holdfast_client.cli.failures import Failed, Reporting
from holdfast_client.cli.output import FORMAT, TABLE, notice, rfc3339, short_time, show_all, show_one
from holdfast_client.cli.values import KEY, moment
from holdfast_client.console import ConsoleClient, Row

SCOPES = ("orders:read", "orders:write", "refunds:write", "products:read", "products:write", "webhooks:write")
COLUMNS = ("id", "client", "state", "scopes", "created_at", "expires_at", "last_used_at")
TIMES = ("created_at", "expires_at", "last_used_at")
PART_OF_A_KEY = re.compile("[0-9A-Za-z]{1,64}", re.ASCII)


def key_id(value: str) -> str:
    """The id of a key. A whole key is refused without being shown: the id becomes a part of an address.

    :raises click.BadParameter: it is not an id
    """
    if not PART_OF_A_KEY.fullmatch(value):
        raise click.BadParameter("The id of a key is the part between hf_ and the next _")
    return value


ID = click.argument("id_", metavar="ID", type=key_id)


@click.group(cls=Reporting)
@console_options
def keys() -> None:
    """Make, list, rotate and revoke the keys of clients, for admins: over the console's API, with its record.

    The address and the key of an admin come from the first of: these options, --profile, HOLDFAST_CONSOLE_URL and
    HOLDFAST_OPERATOR_KEY, var/credentials.env, and the profile named operator.
    """


@keys.command()
@click.argument("client")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help="Can be repeated. By default all scopes."
)
@click.option("--expires", type=moment, metavar="TIME", help="RFC 3339: 2027-01-31T00:00:00Z. By default never.")
@KEY
@FORMAT
@pass_connection
def create(
    connection: Connection, client: str, scopes: tuple[str, ...], expires: datetime | None,
    idempotency_key: str | None, output: str,
) -> None:  # fmt: skip
    """Make a key for CLIENT and print it, once. The key sees the orders of this client.

    Nothing else is printed to stdout: API_KEY=$(holdfast keys create shop)
    """
    wanted = [scope for scope in SCOPES if scope in (scopes or SCOPES)]
    body = {"client": client, "scopes": wanted, "expires_at": _text(expires)}
    with connection.console() as console:
        made = console.act("/client_keys", body, idempotency_key)
    _show_made(made, output, f"holdfast keys revoke {made['id']}, and create another one.")


@keys.command("list")
@click.option("--all", "all_", is_flag=True, help="Also the keys that are revoked or expired.")
@FORMAT
@pass_connection
def list_(connection: Connection, all_: bool, output: str) -> None:
    """List the keys of all clients, without their secrets."""
    with connection.console() as console:
        found = _keys(console, all_)
    if output != TABLE:
        show_all(found, output, COLUMNS)
    elif found:
        show_all(map(_for_people, found), output, COLUMNS)
    else:
        no_key = "There is no key." if all_ else "No key is valid. --all shows those that are revoked or expired."
        notice(f"{no_key} `holdfast keys create CLIENT` makes one.")


@keys.command()
@ID
@click.option("--expires", type=moment, metavar="TIME", help="Of the new key. By default as the former one.")
@KEY
@FORMAT
@pass_connection
def rotate(
    connection: Connection, id_: str, expires: datetime | None, idempotency_key: str | None, output: str
) -> None:
    """Make a key that replaces another one, and print it, once. Both work for 24 hours.

    The new key belongs to the same client and has the same scopes. The former one ends by itself.
    """
    with connection.console() as console:
        made = console.act(f"/client_keys/{id_}/rotate", {"expires_at": _text(expires)}, idempotency_key)
    _show_made(made, output, f"holdfast keys rotate {made['id']}")
    notice(f"Both keys work for 24 hours. {id_} ends then, or earlier if it expires earlier.")


@keys.command()
@ID
@YES
@KEY
@FORMAT
@pass_connection
def revoke(connection: Connection, id_: str, yes: bool, idempotency_key: str | None, output: str) -> None:
    """End a key. It stops working within a minute. Asks first, and names the client."""
    with connection.console() as console:
        if not yes:
            _confirm(_one(console, id_))
        answer = console.act(f"/client_keys/{id_}/revoke", {}, idempotency_key)
    if output == TABLE:
        click.echo(f"{id_} is revoked. It stops working within a minute.")
    else:
        show_one(answer, output)


def _keys(console: ConsoleClient, with_ended: bool) -> list[Row]:
    some = {"with_ended": "true"} if with_ended else {}
    return list(console.pages("/client_keys", "client_keys", limit=100, **some))


def _one(console: ConsoleClient, id_: str) -> Row:
    """:raises Failed: there is no such key"""
    for key in _keys(console, with_ended=True):
        if key["id"] == id_:
            return key
    raise Failed(f"{id_} is not the id of a client's key.", "See the ids: holdfast keys list --all")


def _confirm(key: Row) -> None:
    """Ask, unless the key is revoked already: the console says so.

    :raises click.Abort: the answer is no, or there is none
    """
    used = f"last used at {short_time(key['last_used_at'])}" if key["last_used_at"] else "never used"
    ask(f"Revoke key {key['id']} of {key['client']} ({used})?", yes=key["revoked_at"] is not None)


def _show_made(made: Row, output: str, advice: str) -> None:
    """:raises Failed: the text of the key is not in this answer"""
    if output != TABLE:
        show_one(made, output)
    elif made["text"] is not None:
        click.echo(made["text"])
    if made["text"] is None:
        raise Failed(
            f"The key {made['id']} was made before, with the same idempotency key."
            " Its text was in the first answer only.",
            f"If that answer is lost: {advice}",
        )
    notice("Store the key now: it is shown only once.")


def _for_people(key: Row) -> Row:
    times = {name: key[name] and short_time(key[name]) for name in TIMES}
    return {**key, **times, "scopes": "all" if set(key["scopes"]) >= set(SCOPES) else " ".join(key["scopes"])}


def _text(time: datetime | None) -> str | None:
    return rfc3339(time) if time else None
