"""What an operator should look at: the overview and `holdfast ops status` show it first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from common.database.database import Row
from console.formats import money
from console.participants import ASKING, HEALTHY

DUE_FOR_S = 60  # as the alert HoldfastOldestDue
STARTED_FOR_S = 15  # a process tells every 10 s whether it listens
OLD_HOLDS = {"day": "for more than an hour", "week": "for more than a day", "older": "for more than a week"}
ABOUT = ("processes", "services", "in-flight", "held", "attention", "audit")
"""Where more is said: a table of the overview, or a page."""
NO_ORCHESTRATOR = "no orchestrator is alive: orders are accepted, and not processed"


def problems_of(found: Row) -> list[Row]:
    """What is wrong, each as a sentence."""
    return [
        *_of_processes(found["processes"]),
        *(
            _told("services", f"{each['name']} is {each['state']}: {each['detail']}")
            for each in found["participants"]
            if each["state"] not in (HEALTHY, ASKING)
        ),
        *_of_orders(found),
    ]


def notices_of(found: Row) -> list[Row]:
    """What is not known, and may be well."""
    notices = []
    if asked := [each["name"] for each in found["participants"] if each["state"] == ASKING]:
        notices.append(_told("services", f"{_listed(asked)} {'is' if len(asked) == 1 else 'are'} being asked"))
    if found["audit"] is None:
        notices.append(_told("audit", "no audit has been recorded: nobody knows whether the books agree"))
    return notices


def _of_processes(processes: Sequence[Row]) -> Iterator[Row]:
    if not any(each["process"] == "orchestrator" and not each["is_silent"] for each in processes):
        yield _told("processes", NO_ORCHESTRATOR)
    for each in processes:
        name = f"{each['process']} {each['host']}:{each['pid']}"
        if each["is_silent"]:
            yield _told("processes", f"{name} is silent", each["seen_at"])
        else:
            yield from (_told("processes", f"{name}{problem}") for problem in _of_process(each))


def _of_process(each: Row) -> Iterator[str]:
    if each["hanging"]:
        yield f": {', '.join(each['hanging'])} makes no progress"
    if each["open_breakers"]:
        yield f": circuit breaker for {', '.join(each['open_breakers'])} is open"
    if each["is_listening"] is False and _seconds(each["started_at"], each["seen_at"]) > STARTED_FOR_S:
        yield " gets no notifications: orders wait for its next poll"


def _of_orders(found: Row) -> Iterator[Row]:
    due = found["oldest_due_at"]
    if due and _seconds(due, found["as_of"]) > DUE_FOR_S:
        yield _told("in-flight", "nobody takes an order or a refund that is due", due)
    for held in found["held"]:
        for age, text in OLD_HOLDS.items():
            if held[age]["holds"]:
                amount = money(held[age]["amount_cents"], held["currency"])
                yield _told("held", f"{_number(held[age]['holds'])} {amount} {text}")
    if found["needs_attention"]:
        number = found["needs_attention"]
        yield _told("attention", f"{number} {'needs' if number == 1 else 'need'} attention")
    if found["audit"] and not found["audit"]["healthy"]:
        yield _told("audit", f"the last audit found {_violations(found['audit']['rows_found'])}")


def _told(about: str, text: str, since: datetime | None = None) -> dict[str, Any]:
    return {"about": about, "text": text, "since": since}


def _number(orders: int) -> str:
    return "1 order that has not ended holds" if orders == 1 else f"{orders} orders that have not ended hold"


def _violations(rows: int) -> str:
    return "1 violation" if rows == 1 else f"{rows} violations"


def _listed(names: Iterable[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()
