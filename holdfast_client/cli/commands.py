"""The command `holdfast` and its groups."""

from __future__ import annotations

import click

from holdfast_client.cli.connection import Connection
from holdfast_client.cli.endpoints import endpoints
from holdfast_client.cli.events import events
from holdfast_client.cli.failures import Reporting
from holdfast_client.cli.keys import keys
from holdfast_client.cli.ops import ops
from holdfast_client.cli.orders import orders
from holdfast_client.cli.products import products
from holdfast_client.cli.profiles import profiles
from holdfast_client.cli.refunds import refund, refunds
from holdfast_client.cli.webhooks import webhooks

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EPILOG = """\b
Exit codes:
  0  done
  1  refused, or found wrong: an order that was watched has failed
  2  the command was not used correctly
  3  Holdfast cannot be reached, or gives no final answer

\b
Where the address and the key come from, the first that has one of them:
  --url and --api-key
  --profile
  HOLDFAST_URL and HOLDFAST_API_KEY
  var/credentials.env in this folder, which `make run` writes
  the profile named default
`holdfast ops` and `holdfast keys` call the console, and have other names for the same places:
see holdfast ops --help
"""


@click.group(cls=Reporting, context_settings=SETTINGS, epilog=EPILOG)
@click.version_option(package_name="holdfast-client", prog_name="holdfast")
@click.option("--url", help="The address of the Edge API, such as https://orders.example.")
@click.option("--api-key", help="An API key. Others on this machine can see it: prefer HOLDFAST_API_KEY.")
@click.option("--profile", help="A profile that `holdfast profiles set` has stored.")
@click.option("--env-url", envvar="HOLDFAST_URL", hidden=True)
@click.option("--env-api-key", envvar="HOLDFAST_API_KEY", hidden=True)
@click.option(
    "--retry-for",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long a call is repeated while there is no final answer.",
)
@click.pass_context
def holdfast(
    context: click.Context,
    url: str | None,
    api_key: str | None,
    profile: str | None,
    env_url: str | None,
    env_api_key: str | None,
    retry_for: float,
) -> None:
    """Place, follow and refund orders, change products, and receive webhooks on your own machine.

    For operators: `holdfast ops` sees and mends what runs. For admins: `holdfast keys` makes the keys of clients.
    """
    context.obj = Connection(
        given=(url, api_key), profile=profile, environment=(env_url, env_api_key), retry_for=retry_for
    )


for command in (refund, refunds):
    orders.add_command(command)
for group in (orders, products, events, webhooks, endpoints, ops, keys, profiles):
    holdfast.add_command(group)
