"""How the pages show values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from domain.money import decimals_of

SHORT = 8  # characters of an id in tables
AMOUNT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?", re.ASCII)


def input_time(text: str | None) -> str:
    """A time of RFC 3339 in UTC, as an input for a date and a time takes it. Empty: there is none, or it is not one."""
    try:
        return datetime.fromisoformat(text or "").astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return ""


def money(cents: int | None, currency: str) -> str:
    """`12.50 USD`. The number of decimals is the currency's."""
    if cents is None:
        return "–"
    digits = decimals_of(currency)
    sign, whole = ("−" if cents < 0 else ""), f"{abs(cents):0{digits + 1}d}"
    amount = f"{int(whole[:-digits]):,}.{whole[-digits:]}" if digits else f"{int(whole):,}"
    return f"{sign}{amount} {currency}"


def plain(cents: int, currency: str) -> str:
    """`1250.50`, as a person types it into a form."""
    digits = decimals_of(currency)
    text = f"{cents:0{digits + 1}d}"
    return f"{text[:-digits]}.{text[-digits:]}" if digits else text


def cents_of(text: str, currency: str) -> int:
    """The opposite of `plain`. :raises ValueError: not an amount in this currency"""
    found, digits = AMOUNT.fullmatch(text.strip()), decimals_of(currency)
    if found is None or len(found[2] or "") > digits:
        raise ValueError(f"Must be an amount such as {plain(1250, currency)}.")
    return int(found[1] + (found[2] or "").ljust(digits, "0"))


def when(value: str | datetime | None) -> Markup:
    """A time in UTC. The browser shows it in its own zone."""
    if value is None:
        return Markup("–")
    time = _utc(value)
    return Markup('<time datetime="{}">{}</time>').format(time.isoformat(), f"{time:%Y-%m-%d %H:%M:%S} UTC")


def iso(value: str | datetime) -> str:
    return _utc(value).isoformat()


def took(ms: float | None) -> str:
    """A duration that is given in milliseconds."""
    if ms is None:
        return "–"
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def words(name: str) -> str:
    """`PAYMENT_CAPTURED` → `payment captured`, `void_payment` → `void payment`."""
    return name.replace("_", " ").lower()


def problems(found: Any) -> list[str]:
    """What is wrong with a field, or with what is in it."""
    if isinstance(found, str):
        return [found]
    if isinstance(found, Mapping):
        return problems(list(found.values()))
    return [text for part in found for text in problems(part)] if isinstance(found, list) else [str(found)]


def short(id_: str) -> str:
    """The end of an id. Ids that were made within a minute begin alike."""
    return id_ if len(id_) <= SHORT + 2 else f"…{id_[-SHORT:]}"


def _utc(value: str | datetime) -> datetime:
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


FILTERS = {
    "money": money,
    "input_time": input_time,
    "when": when,
    "iso": iso,
    "took": took,
    "words": words,
    "short": short,
    "plain": plain,
    "problems": problems,
}
