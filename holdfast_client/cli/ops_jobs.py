"""`holdfast ops orders`: the orders of all clients, and one action on all that fit a filter, as a recorded job."""

from __future__ import annotations

import shlex
import time
import uuid
from typing import Any

import click
from click.shell_completion import CompletionItem

from holdfast_client.cli.connection import Connection, pass_connection
from holdfast_client.cli.console import YES, ask
from holdfast_client.cli.failures import Failed
from holdfast_client.cli.ops_orders import OF_MONEY, WHY
from holdfast_client.cli.orders import STATUSES, show_some
from holdfast_client.cli.output import FORMAT, JSON, TABLE, money, notice, rfc3339, short_time, show_all, show_one
from holdfast_client.cli.values import KEY, NOTE, when
from holdfast_client.console import ConsoleClient, Row
from holdfast_client.models import TERMINAL

COLUMNS = (
    "order_ledger_id",
    "created_at",
    "status",
    "failure_code",
    "total_amount_cents",
    "client",
    "reference",
    "email",
)
JOB = ("job_id", "created_at", "action", "state", "acted_on", "total", "refused", "author", "reason")
REFUSED = ("order_ledger_id", "code", "message")
FILTERS = (
    "status", "refund_status", "client", "reference", "email", "user_id", "client_request_id", "needs_attention",
    "created_from", "created_before",
)  # fmt: skip
TIMES = ("created_from", "created_before")
LOOK_EVERY_S = 0.5
RATE = click.option("--rate", type=click.IntRange(1, 50), default=5, show_default=True, help="Orders a second.")


class Query(click.ParamType[dict[str, str]]):
    """`status=FAILED client=shop`: each order must fit all parts."""

    name = "FILTERS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        if isinstance(value, dict):
            return value
        found: dict[str, str] = {}
        for part in self._parts(value, param, ctx):
            name, separator, text = part.partition("=")
            if not separator or not text:
                self.fail(f"{part} is not NAME=VALUE.", param, ctx)
            if name not in FILTERS:
                self.fail(f"{name} is none of: {', '.join(FILTERS)}.", param, ctx)
            if name in found:
                self.fail(f"{name} is there twice.", param, ctx)
            found[name] = rfc3339(when(text)) if name in TIMES else text
        return found

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        words = [f"{name}=" for name in FILTERS] + [f"status={status}" for status in STATUSES]
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]

    def _parts(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        lexer = shlex.shlex(value, posix=True)
        lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\n&", True, ""
        try:
            return list(lexer)
        except ValueError:
            self.fail("A quotation mark is not closed.", param, ctx)


@click.group(invoke_without_command=True)
@click.option(
    "--query",
    type=Query(),
    default="",
    help=f'As "status=FAILED created_from=2h": {", ".join(FILTERS)}. A value with a space: "reference=\'A 1\'".',
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@FORMAT
@click.pass_context
def orders(context: click.Context, query: dict[str, str], limit: int, output: str) -> None:
    """List the orders of all clients, or act on all that fit: `orders --query … retry --reason … --rate … --yes`."""
    context.meta["filters"] = query
    if context.invoked_subcommand:
        return
    with context.obj.console() as console:
        found = console.pages("/orders", "orders", limit=min(limit + 1, 100), **query)
        show_some(
            found, limit, lambda rows: show_all(map(_for_people, rows) if output == TABLE else rows, output, COLUMNS)
        )


def _for_people(order: Row) -> Row:
    return {**order, "created_at": short_time(order["created_at"])}


@orders.command()
@WHY
@RATE
@YES
@KEY
@FORMAT
@click.pass_context
def retry(
    context: click.Context, reason: str, rate: int, yes: bool, idempotency_key: str | None, output: str
) -> None:  # fmt: skip
    """Retry all orders that fit the query, as a recorded job."""
    _run(context, {"action": "retry", "reason": reason, "rate_per_s": rate}, yes, idempotency_key, output)


@orders.command()
@OF_MONEY
@NOTE
@RATE
@YES
@KEY
@FORMAT
@click.pass_context
def cancel(
    context: click.Context, /, reason: str, note: str | None, rate: int, yes: bool, idempotency_key: str | None,
    output: str,
) -> None:  # fmt: skip
    """Cancel all orders that fit the query and are not completed, as a recorded job."""
    wanted = {"action": "cancel", "reason": reason, "rate_per_s": rate, **({"note": note} if note else {})}
    _run(context, wanted, yes, idempotency_key, output)


@click.command()
@click.argument("job_id", type=click.UUID, required=False)
@click.argument("action", type=click.Choice(["stop"]), required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@FORMAT
@pass_connection
def jobs(connection: Connection, job_id: uuid.UUID | None, action: str | None, limit: int, output: str) -> None:
    """List the jobs of all operators; show one with what it refused: `jobs ID`; or stop one: `jobs ID stop`."""
    with connection.console() as console:
        if job_id is None:
            found = console.pages("/jobs", "jobs")
            show_some(found, limit, lambda rows: show_all(map(_job_for_people, rows) if output == TABLE else rows,
                                                          output, JOB))  # fmt: skip
            return
        path = f"/jobs/{job_id}"
        if action:
            job = console.act(f"{path}/stop", {})
            notice(f"Job {job['job_id']} is stopped. What it has done stays done.")
        else:
            job = console.get(path, result="refused")
    _show_job(job, output)


def _job_for_people(job: Row) -> Row:
    return {**job, "created_at": short_time(job["created_at"])}


def _show_job(job: Row, output: str) -> None:
    refused = job.pop("items", [])
    job.pop("next_after", None)
    if output != TABLE:
        show_one({**job, "refused_orders": [{name: each[name] for name in REFUSED} for each in refused]}, output)
        return
    click.echo(f"{job['state']}: {job['action']}, {_progress(job)}")
    click.echo(f"By {job['author']}, {short_time(job['created_at'])}: {job['reason']}")
    if refused:
        show_all(refused, output, REFUSED)


def _run(context: click.Context, wanted: Row, yes: bool, key: str | None, output: str) -> None:
    filters = context.meta["filters"]
    if not filters:
        raise click.UsageError("Say which orders: holdfast ops orders --query FILTERS …")
    if key is None and set(filters.get("status", "").split(",")) <= TERMINAL:  # with a key it may be a repeat
        raise Failed(f"Orders that are {filters['status']} have ended: none of them can be retried or cancelled.")
    with context.obj.console() as console:
        count = console.get("/jobs/count", **filters)
        if not count["orders"] and key is None:  # with a key it may be a repeat, after which none fits any more
            notice("No matching orders.")
            if output == JSON:
                click.echo("null")
            return
        ask(_question(wanted["action"], count), yes)
        expected = {} if count["is_more"] else {"expected": count["orders"]}
        key = key or str(uuid.uuid4())
        job = _wait(console, console.act("/jobs", {**wanted, **expected, "filter": filters}, key), key)
        refused = console.get(f"/jobs/{job['job_id']}", result="refused") if job["refused"] else {"items": []}
    _show(job, refused["items"], output)


def _question(action: str, count: Row) -> str:
    number = f"more than {count['orders']}" if count["is_more"] else count["orders"]
    sums = ", ".join(money(each["amount_cents"], each["currency"]) for each in count["amounts"])
    return f"{action.capitalize()} {number} order{'' if number == 1 else 's'} ({sums or 'none'})?"


def _wait(console: ConsoleClient, job: Row, key: str) -> Row:
    """The job at its end. It goes on when nobody waits for it."""
    job_id, told = job["job_id"], ""
    notice(f"Job {job_id}, with the idempotency key {key}. It goes on without this command.")
    notice(f"To stop it: holdfast ops jobs {job_id} stop")
    while job["ended_at"] is None:
        text = "collecting the orders" if job["state"] == "filling" else _progress(job)
        if text != told:
            notice(told := text)
        time.sleep(LOOK_EVERY_S)
        job = console.get(f"/jobs/{job_id}")
    return {name: value for name, value in job.items() if name not in ("items", "next_after")}


def _progress(job: Row) -> str:
    return f"{job['acted_on']} of {job['total']} orders: {job['done']} done, {job['refused']} refused"


def _show(job: Row, refused: list[Row], output: str) -> None:
    """:raises Failed: an order was refused, or the job was stopped"""
    if output == TABLE:
        click.echo(f"{job['state']}: {_progress(job)}")
        if refused:
            show_all(refused, output, REFUSED)
    else:
        show_one({**job, "refused_orders": [{name: each[name] for name in REFUSED} for each in refused]}, output)
    if job["state"] != "done":
        by = {"operator": f"by {job['stopped_by']}", "key": "because the key was revoked"}.get(
            job["stop_reason"], "by an error"
        )
        raise Failed(f"The job was stopped {by}, after {job['acted_on']} of {job['total']} orders.")
    if job["refused"]:
        more = "" if job["refused"] == len(refused) else f" These are the first {len(refused)}; all are in the console."
        raise Failed(f"{job['refused']} of {job['total']} orders were refused.{more}")
