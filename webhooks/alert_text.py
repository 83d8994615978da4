"""What operators read: what it is, since when, how many, and where to look. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from common.api.fields import rfc3339
from common.json_text import encode
from webhooks.alert_statements import MANY
from webhooks.alert_store import Message

FORMATS = ("json", "slack")


@dataclass(frozen=True)
class Words:
    """How a kind of condition is told."""

    what: str
    """`{count}`, which has the unit, and `{subject}` are replaced."""
    unit: tuple[str, str]
    command: str
    page: str
    """Of the console."""
    runbook: str
    """The heading in docs/runbook.md."""


WORDS = {
    "attention": Words(
        "{count} a person",
        ("order or refund needs", "orders or refunds need"),
        *("holdfast ops attention", "/attention", "needs-attention"),
    ),
    "audit": Words(
        "The last audit found {count}: the books do not agree",
        ("violation", "violations"),
        *("holdfast ops audit", "/audit", "audit-violations"),
    ),
    "endpoints": Words(
        "{count} disabled because the receiver does not work",
        ("webhook endpoint was", "webhook endpoints were"),
        *("holdfast ops endpoints", "/webhooks", "endpoint-disabled"),
    ),
    "silent": Words(
        "{count} of `{subject}` died, and no other has taken its place",
        ("process", "processes"),
        *("holdfast ops status", "/", "process-silent"),
    ),
    "stuck": Words(
        "{count} been due for more than 5 minutes, and no orchestrator takes them",
        ("order or refund has", "orders or refunds have"),
        *("holdfast ops status", "/", "oldest-due"),
    ),
}
TITLES = {"began": "ALERT", "grew": "STILL, AND MORE", "ended": "OVER"}


def body(message: Message, form: str, console_url: str) -> bytes:
    """The body to send. It is the same for each attempt.

    :param form: `json`, an event in the form of Standard Webhooks, or `slack`
    :param console_url: where the console is; empty: the text names the command
    """
    words = WORDS[message.kind]
    if form == "slack":
        return encode.readable({"text": text(message, console_url)}).encode()
    link = console_url + words.page if console_url else None
    data = {
        "kind": message.kind,
        "subject": message.subject or None,
        "count": message.count,
        "since": rfc3339(message.since),
        "text": text(message, console_url),
        "command": words.command,
        "console_url": link,
        "runbook": f"docs/runbook.md#{words.runbook}",
    }
    event = {"type": f"operator_alert.{message.event}", "timestamp": rfc3339(message.at), "data": data}
    return encode.readable(event).encode()


def text(message: Message, console_url: str) -> str:
    """The message in one or two lines."""
    words = WORDS[message.kind]
    what = words.what.format(count=_counted(message.count, words.unit), subject=message.subject)
    if message.event == "ended":
        return f"{TITLES['ended']}: {what}. It lasted from {_minute(message.since)} to {_minute(message.at)}."
    look = f"Open {console_url}{words.page}" if console_url else f"Run: {words.command}"
    headline = f"{TITLES[message.event]}: {what}, since {_minute(message.since)}."
    return f"{headline}\n{look} – what to do: docs/runbook.md#{words.runbook}"


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _counted(count: int, unit: tuple[str, str]) -> str:
    return f"{count:,}{' or more' if count >= MANY else ''} {unit[count != 1]}"
