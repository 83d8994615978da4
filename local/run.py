"""`make run`: the database, the migrations and every process of the Procfile, on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from common.process.settings import SettingError
from common.schema.reaching import DatabaseUnreachable, check_reachable
from local import credentials, roles
from local.binaries import PostgresError
from local.plan import DOUBLE, Plan, PortTaken
from local.postgres import EmbeddedPostgres
from local.processes import how_it_ended, run_together
from local.release import release
from local.terminal import StopRequest, foreground, say

PROJECT = Path(__file__).resolve().parent.parent
PROCFILE = PROJECT / "Procfile"
DATA = PROJECT / "var" / "postgres"
HEALTH_PATIENCE_S = 30  # a start takes 2 to 5 s; after this time, say what is missing

BANNER = """
Holdfast is up. Ctrl-C stops it.

{places}

To create a product, order two of it, and see the result, paste this into a second terminal:

  . {secrets}
  NAME=$(python3 -c 'import uuid; print(uuid.uuid4())')

  PRODUCT=$(curl -s {web}/products -H "Authorization: Bearer $HOLDFAST_API_KEY" \\
    -H 'Content-Type: application/json' \\
    -d '{{"name": "Coffee", "sku": "COFFEE-'$NAME'", "price_cents": 1250, "initial_stock": 10}}' \\
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

  ORDER=$(curl -s {web}/orders -H "Authorization: Bearer $HOLDFAST_API_KEY" \\
    -H 'Content-Type: application/json' -H "Idempotency-Key: $NAME" \\
    -d '{{"user_id": "5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11", "email": "ada@shop.example",
         "items": [{{"product_id": "'$PRODUCT'", "quantity": 2}}],
         "payment": {{"method": "card", "token": "{token}"}}}}' \\
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["order_ledger_id"])')

  curl -s "{web}/orders/$ORDER?wait=10" -H "Authorization: Bearer $HOLDFAST_API_KEY"

`make demo` shows more. `make reset` deletes everything, once this is stopped.
"""


class Served(NamedTuple):
    plan: Plan
    database_url: str
    secrets: Path


def main(procfile: Path = PROCFILE, data_dir: Path = DATA) -> int:
    """Run until SIGINT or SIGTERM and return 0; return 1 when something does not start or ends by itself."""
    stop = StopRequest()
    stop.listen()
    try:
        secrets = credentials.path_beside(data_dir)
        plan = Plan.read(procfile, credentials.with_secrets(os.environ, secrets))
        plan.check_ports()
        with foreground(), _database(plan, data_dir) as (url, trouble):
            plan = plan.with_environ(_addresses(plan, url))
            return _serve(Served(plan, url, secrets), trouble, procfile.resolve().parent, stop)
    except (SettingError, PortTaken, PostgresError, DatabaseUnreachable) as error:
        sys.stderr.write(f"{error}\n")
        return 1


@contextmanager
def _database(plan: Plan, data_dir: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """The database's address, and a function that says how our own database ended (empty: it runs)."""
    given = plan.environ.get("DATABASE_URL")
    if given:
        try:
            check_reachable(given)
        except DatabaseUnreachable as error:
            raise DatabaseUnreachable(f"The database in DATABASE_URL cannot be reached: {error}") from None
        yield given, lambda: ""
        return
    with EmbeddedPostgres(data_dir) as server:
        say(f"database: an embedded PostgreSQL in {server.folder}, because DATABASE_URL is not set")
        yield server.url, lambda: _how_it_ended(server)


def _addresses(plan: Plan, url: str) -> dict[str, str]:
    """The settings by which each process logs in with its own role. Empty: all use the role in DATABASE_URL."""
    if not plan.environ.get("DATABASE_URL"):
        return roles.addresses(url)
    try:
        return roles.addresses_in(url)
    except roles.NoRoles as reason:
        say(f"database: every process uses the role in DATABASE_URL, because {reason}")
        return {}


def _how_it_ended(server: EmbeddedPostgres) -> str:
    code = server.returncode
    return "" if code is None else f"the database {how_it_ended(code)} (its log: {server.log})"


def _serve(served: Served, trouble: Callable[[], str], folder: Path, stop: StopRequest) -> int:
    plan, url, secrets = served
    if not release(plan, url, folder, stop) and not stop.made:
        return 1
    why = ""
    if not stop.made:
        console = plan.url("console") if "console" in plan.commands else ""
        credentials.keep_keys(secrets, url, plan.url("web"), console)
        why = run_together(plan.processes(url), folder, stop, trouble, started=lambda: _announce(served, stop))
    say(f"stopped, because {why}" if why else "stopped")
    return 1 if why else 0


def _announce(served: Served, stop: StopRequest) -> None:
    """Print how to use the system once every service is healthy."""
    plan = served.plan
    missing, patience_ends = plan.services(), time.monotonic() + HEALTH_PATIENCE_S
    while missing and not stop.made:
        time.sleep(0.1)
        missing = [name for name in missing if not _healthy(plan.url(name))]
        if missing and time.monotonic() > patience_ends:
            say(f"not healthy after {HEALTH_PATIENCE_S} s: {', '.join(missing)}; see the lines above")
            patience_ends = float("inf")
    if not stop.made:
        say(_banner(served))


def _healthy(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a company's proxy cannot reach this machine's ports
        try:
            return (
                session.get(f"{url}/health", timeout=(1, 3), allow_redirects=False).status_code == 200
            )  # it answers within 2 s
        except requests.RequestException:
            return False


def _banner(served: Served) -> str:
    plan, url, secrets = served
    names = {"web": "Edge API"} | {name: name.replace("_", " ") for name in plan.services() if name != "web"}
    lines = [f"  {names[name]:<20} {plan.url(name)}  (API: {plan.url(name)}/docs)" for name in plan.services()]
    if "console" in names:
        lines.append(f"  {'':<20} sign in with HOLDFAST_OPERATOR_KEY from {secrets}")
    # DATABASE_URL may contain a password. The embedded database has none.
    lines += [f"  {'database':<20} " + ("as in DATABASE_URL" if plan.environ.get("DATABASE_URL") else f"psql '{url}'")]
    if DOUBLE in plan.commands:
        lines.append(f"  {'Stripe':<20} {plan.url(DOUBLE)}  (a stand-in: no money moves)")
    token = "pm_card_visa" if plan.environ.get("PAYMENT_GATEWAY") == "stripe" else "tok_visa"
    where = shlex.quote(str(secrets.resolve()))
    return BANNER.format(places="\n".join(lines), web=plan.url("web"), token=token, secrets=where)
