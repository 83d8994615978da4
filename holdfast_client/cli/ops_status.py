"""Whether everything is well: what `holdfast ops status` and `watch` read, and what is wrong with it."""

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
DUE_FOR_S = 60  # as the alert HoldfastOldestDue
STARTED_FOR_S = 15  # a process tells every 10 s whether it listens
AGES = ("hour", "day", "week", "older")
OLD_HOLDS = {"day": "for more than an hour", "week": "for more than a day", "older": "for more than a week"}
PROCESS = ("process", "host", "pid", "version", "last_seen", "state", "threads")


def read_status(console: ConsoleClient) -> Row:
    """How everything is, with `problems`. Waits a few seconds until the participants have been asked."""
    found = console.get("/status")
    for _ in range(TRIES):
        if all(each["state"] != ASKING for each in found["participants"]):
            break
        time.sleep(PAUSE_S)
        found = console.get("/status")
    return {**found, "problems": problems_of(found)}


def problems_of(found: Row) -> list[str]:
    """What an operator should look at, each as a sentence."""
    return [
        *_of_processes(found["processes"]),
        *(_of_participant(each) for each in found["participants"] if each["state"] != "healthy"),
        *_of_orders(found),
    ]


def _of_participant(each: Row) -> str:
    if each["state"] == ASKING:
        return f"nobody knows yet whether {each['name']} is healthy"
    return f"{each['name']} is {each['state']}: {each['detail']}"


def _of_processes(processes: Sequence[Row]) -> list[str]:
    problems = []
    if not any(each["process"] == "orchestrator" and not each["is_silent"] for each in processes):
        problems.append("no orchestrator is alive: orders are accepted, and not processed")
    for each in processes:
        name = f"{each['process']} {each['host']}:{each['pid']}"
        if each["is_silent"]:
            problems.append(f"{name} is silent since {short_time(each['seen_at'])}")
            continue
        if each["hanging"]:
            problems.append(f"{name}: {', '.join(each['hanging'])} makes no progress")
        if each["open_breakers"]:
            problems.append(f"{name}: circuit breaker for {', '.join(each['open_breakers'])} is open")
        if each["is_listening"] is False and _seconds(each["started_at"], each["seen_at"]) > STARTED_FOR_S:
            problems.append(f"{name} gets no notifications: orders wait for its next poll")
    return problems


def _of_orders(found: Row) -> list[str]:
    problems = []
    if found["oldest_due_at"] and _seconds(found["oldest_due_at"], found["as_of"]) > DUE_FOR_S:
        problems.append(f"an order or a refund is due since {short_time(found['oldest_due_at'])}, and nobody takes it")
    problems += [
        f"{_number(held[age]['holds'])} {money(held[age]['amount_cents'], held['currency'])} {text}"
        for held in found["held"]
        for age, text in OLD_HOLDS.items()
        if held[age]["holds"]
    ]
    if found["needs_attention"]:
        problems.append(f"{found['needs_attention']} need attention: holdfast ops attention")
    if found["audit"] and not found["audit"]["healthy"]:
        problems.append(f"the last audit found {found['audit']['rows_found']} violations: holdfast ops audit")
    return problems


def _number(orders: int) -> str:
    return "1 order that has not ended holds" if orders == 1 else f"{orders} orders that have not ended hold"


def show_status(found: Row) -> None:
    """The system on one screen, with what is wrong first."""
    click.echo("\n".join(f"! {problem}" for problem in found["problems"]) or "All well.")
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
