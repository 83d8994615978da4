"""`make run`: the database, the migrations and every process of the Procfile on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from common.process.settings import SettingError
from common.schema.reaching import DatabaseUnreachable, check_reachable
from local.binaries import PostgresError
from local.plan import Plan, PortTaken
from local.postgres import EmbeddedPostgres
from local.processes import how_it_ended, run_together
from local.terminal import StopRequest, foreground, say
from ops.check import check
from ops.database import Unusable

PROJECT = Path(__file__).resolve().parent.parent
PROCFILE = PROJECT / "Procfile"
DATA = PROJECT / "var" / "postgres"
HEALTH_PATIENCE_S = 30  # a start takes 2 to 5 s; after this long, say what is missing

BANNER = """
Holdfast is up. Ctrl-C ends it.

{places}

Create a product, order two of it, and see what became of the order:

  PRODUCT=$(curl -s {inventory}/inventory/products -H 'Content-Type: application/json' \\
    -d '{{"name": "Coffee", "sku": "COFFEE-'$(date +%s)'", "price_cents": 1250, "initial_stock": 10}}' \\
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

  ORDER=$(curl -s {web}/orders -H 'Content-Type: application/json' -H "Idempotency-Key: $(date +%s)" \\
    -d '{{"user_id": "5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11", "email": "ada@shop.example",
         "items": [{{"product_id": "'$PRODUCT'", "quantity": 2}}],
         "payment": {{"method": "card", "token": "tok_visa"}}}}' \\
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["order_ledger_id"])')

  curl -s "{web}/orders/$ORDER?wait=10"

Or let it show you more, in a second terminal:  make demo
"""


def main(procfile: Path = PROCFILE, data_dir: Path = DATA) -> int:
    """Run until SIGINT or SIGTERM: 0 then, 1 where it could not start or did not stay up."""
    stop = StopRequest()
    stop.listen()
    try:
        plan = Plan.read(procfile, os.environ)
        plan.check_ports()
        with foreground(), _database(plan, data_dir) as (url, trouble):
            return _serve(plan, url, trouble, procfile.resolve().parent, stop)
    except (SettingError, PortTaken, PostgresError, DatabaseUnreachable) as error:
        sys.stderr.write(f"{error}\n")
        return 1


@contextmanager
def _database(plan: Plan, data_dir: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """The database's address, and a way to ask whether it is still there (where it is ours)."""
    given = plan.environ.get("DATABASE_URL")
    if given:
        try:
            check_reachable(given)
        except DatabaseUnreachable as error:
            raise DatabaseUnreachable(f"DATABASE_URL names a database that cannot be reached: {error}") from None
        yield given, lambda: ""
        return
    with EmbeddedPostgres(data_dir) as server:
        say(f"database: DATABASE_URL is not set, so an embedded PostgreSQL keeps its data in {server.folder}")
        yield server.url, lambda: _how_it_ended(server)


def _how_it_ended(server: EmbeddedPostgres) -> str:
    code = server.returncode
    return "" if code is None else f"the database {how_it_ended(code)} (its log: {server.log})"


def _serve(plan: Plan, url: str, trouble: Callable[[], str], folder: Path, stop: StopRequest) -> int:
    if not _release(plan, url, folder, stop) and not stop.made:
        return 1
    if not stop.made:
        _check(plan.environ_of("release", url))
    why = (
        ""
        if stop.made
        else run_together(plan.processes(url), folder, stop, trouble, started=lambda: _announce(plan, url, stop))
    )
    say(f"stopped, because {why}" if why else "stopped")
    return 1 if why else 0


def _release(plan: Plan, url: str, folder: Path, stop: StopRequest) -> bool:
    """Run the Procfile's `release` line, which migrates; whether it went well. It says itself what went wrong."""
    environ = plan.environ_of("release", url)
    # A session of its own keeps the terminal's Ctrl-C from it; like this it is ended once, by us, and in order.
    process = subprocess.Popen(plan.release, shell=True, cwd=folder, env=environ, start_new_session=True)
    while process.poll() is None and not stop.made:
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)  # what it did not commit is rolled back
    return process.wait() == 0 and not stop.made


def _check(environ: Mapping[str, str]) -> None:
    """Say what about the database would break a promise. The start goes on: most of it does no harm on one machine."""
    try:
        problems = [problem for _, found in check(environ) for problem in found]
    except Unusable as error:
        say(f"the database cannot be checked: {error}")
        return
    for problem in problems:
        say(f"database: {problem.what}. To mend it: {problem.remedy}")


def _announce(plan: Plan, url: str, stop: StopRequest) -> None:
    """Say how to use the system once every service is healthy."""
    missing, patience_ends = plan.services(), time.monotonic() + HEALTH_PATIENCE_S
    while missing and not stop.made:
        time.sleep(0.1)
        missing = [name for name in missing if not _healthy(plan.url(name))]
        if missing and time.monotonic() > patience_ends:
            say(f"not healthy after {HEALTH_PATIENCE_S} s: {', '.join(missing)}; the lines above may say why")
            patience_ends = float("inf")
    if not stop.made:
        say(_banner(plan, url))


def _healthy(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the company's cannot know what runs on this machine
        try:
            return session.get(f"{url}/health", timeout=(1, 3)).status_code == 200  # it promises an answer within 2 s
        except requests.RequestException:
            return False


def _banner(plan: Plan, url: str) -> str:
    names = {"web": "Edge API"} | {name: name.replace("_", " ") for name in plan.services() if name != "web"}
    lines = [f"  {names[name]:<20} {plan.url(name)}  (its API: {plan.url(name)}/docs)" for name in plan.services()]
    # An address that was given may hold a password; ours holds none.
    lines += [f"  {'database':<20} " + ("as in DATABASE_URL" if plan.environ.get("DATABASE_URL") else f"psql '{url}'")]
    web, inventory = plan.url("web"), plan.url("inventory_service")
    return BANNER.format(places="\n".join(lines), web=web, inventory=inventory)
