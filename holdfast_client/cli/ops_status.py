"""Whether everything is well: what `holdfast ops status` and `watch` show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from holdfast_client.cli.output import money, short_time, show_section
from holdfast_client.console import ConsoleClient

Row = dict[str, Any]
# The console asks the participants only while somebody looks, and each of its processes by itself.
ASKING, TRIES, PAUSE_S = "not asked yet", 12, 0.5
AGES = ("hour", "day", "week", "older")
COMMANDS = {"attention": ": holdfast ops attention", "audit": ": holdfast ops audit"}
PROCESS = ("process", "host", "pid", "version", "last_seen", "state", "threads")


def read_status(console: ConsoleClient) -> Row:
    """How everything is, with `problems` and `notices` as sentences.

    Waits a few seconds until the participants have been asked.
    """
    found = console.get("/status")
    for _ in range(TRIES):
        if all(each["state"] != ASKING for each in found["participants"]):
            break
        time.sleep(PAUSE_S)
        found = console.get("/status")
    return {**found, "problems": [*map(_sentence, found["problems"]), *_unasked(found)], "notices": _notices(found)}


def _sentence(told: Row) -> str:
    since = f" since {short_time(told['since'])}" if told["since"] else ""
    return f"{told['text']}{since}{COMMANDS.get(told['about'], '')}"


def _unasked(found: Row) -> list[str]:
    """Services without an answer after all tries. The console does not report them yet: it goes on asking."""
    return [
        f"nobody knows yet whether {each['name']} is healthy"
        for each in found["participants"]
        if each["state"] == ASKING
    ]


def _notices(found: Row) -> list[str]:
    return [told["text"] for told in found["notices"] if told["about"] != "services"]


def show_status(found: Row) -> None:
    """The system on one screen, with what is wrong first."""
    click.echo("\n".join(f"! {problem}" for problem in found["problems"]) or "All well.")
    for each in found["notices"]:
        click.echo(f"- {each}")
    click.echo(f"\nAs of {short_time(found['as_of'])}")
    orders = found["orders"]
    shares = ", ".join(f"{name} {share:.1%}" for name, share in orders["shares"].items() if share is not None)
    click.echo(f"Orders accepted: {orders['per_minute']:.1f} a minute, in the last five minutes")
    click.echo(f"Ended in the last hour: {shares or 'none'}")
    if orders["p50_s"] is not None:
        click.echo(f"From POST to COMPLETED: p50 {orders['p50_s']:.2f} s, p95 {orders['p95_s']:.2f} s")
    click.echo(f"In flight: {_in_flight(found)}")
    click.echo(f"Money held: {_held(found['held'])}")
    click.echo(f"Need attention: {found['needs_attention']}, and {found['dealt_with']} dealt with")
    click.echo(f"Last audit: {_audit(found['audit'])}")
    show_section("Processes", [_process(each, found["as_of"]) for each in found["processes"]], PROCESS)
    show_section("Participants", found["participants"], ("name", "state", "detail"))


def line_of(found: Row) -> str:
    """The system in one line."""
    in_flight = sum(each["orders"] for each in found["in_flight"])
    return (
        f"{short_time(found['as_of'])}  {found['orders']['per_minute']:.1f} orders a minute  {in_flight} in flight"
        f"  {found['retrying']} retrying  {found['needs_attention']} need attention"
        f"  {'; '.join(found['problems']) or 'all well'}"
    )


def _in_flight(found: Row) -> str:
    open_ = [f"{each['orders']} {each['status']}" for each in found["in_flight"] if each["orders"]]
    open_ += [f"{each['refunds']} refunds {each['status']}" for each in found["refunds_in_flight"] if each["refunds"]]
    return f"{', '.join(open_)}; {found['retrying']} of them retrying" if open_ else "nothing"


def _held(held: Sequence[Row]) -> str:
    sums = [(sum(each[age]["amount_cents"] for age in AGES), each["currency"]) for each in held]
    return ", ".join(money(cents, currency) for cents, currency in sums) or "none"


def _audit(audit: Row | None) -> str:
    if audit is None:
        return "none is recorded"
    old = ", more than an hour ago" if audit["is_old"] else ""
    return f"{short_time(audit['at'])}{old}, {'healthy' if audit['healthy'] else 'NOT healthy'}"


def _process(each: Row, as_of: str) -> Row:
    states = [
        "SILENT" if each["is_silent"] else "",
        f"stuck: {', '.join(each['hanging'])}" if each["hanging"] else "",
        "" if each["is_listening"] is None else "listens" if each["is_listening"] else "polls only",
    ]
    threads = [f"{name} {pool['in_flight']}/{pool['threads']}" for name, pool in (each["pools"] or {}).items()]
    ago = f"{max(0, _seconds(each['seen_at'], as_of)):.0f} s ago"
    return {**each, "last_seen": ago, "state": ", ".join(filter(None, states)) or "alive", "threads": threads}


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
