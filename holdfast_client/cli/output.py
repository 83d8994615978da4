"""What a command prints: tables for people, JSON for programs. Notices go to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

Row = Mapping[str, Any]
TABLE, JSON, JSONL = "table", "json", "jsonl"
NOTHING = "-"
# ISO 4217: the currencies whose smallest unit is not a hundredth.
NO_DECIMALS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
THREE_DECIMALS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())

FORMAT = click.option(
    "-o",
    "--output",
    type=click.Choice([TABLE, JSON, JSONL]),
    default=TABLE,
    show_default=True,
    help="table is for people and may change; json and jsonl are for programs.",
)
STREAM_FORMAT = click.option(
    "-o",
    "--output",
    type=click.Choice([TABLE, JSONL]),
    default=TABLE,
    show_default=True,
    help="jsonl: one JSON object for each line. A stream has no end, so there is no json.",
)


def notice(text: str) -> None:
    """Tell a person something that is not the result."""
    click.echo(text, err=True)


def as_row(answer: Any) -> dict[str, Any]:
    """The fields of an answer of the client, as JSON has them."""
    return {name: _jsonable(value) for name, value in asdict(answer).items()}


def show_one(row: Row, output: str, fields: Sequence[str] = ()) -> None:
    """Print one object. In a table: one line for each of the fields, by default for all."""
    if output != TABLE:
        click.echo(json.dumps(row, ensure_ascii=False, indent=2 if output == JSON else None))
        return
    names = fields or list(row)
    labels = [label(name, [row]) for name in names]
    width = max(map(len, labels))
    for name, text in zip(names, labels, strict=True):
        click.echo(f"{text:{width}}  {cell(row, name)}")


def show_all(rows: Iterable[Row], output: str, columns: Sequence[str]) -> None:
    """Print a list. As JSON it is always an array, complete or not there at all."""
    if output == JSONL:
        for row in rows:
            show_line(row)
    elif output == JSON:
        click.echo(json.dumps(list(rows), ensure_ascii=False, indent=2))
    elif found := list(rows):
        click.echo(table(found, columns))
    else:
        notice("None found.")


def show_section(title: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print a list below its title, as a part of a screen. An empty one is left out."""
    if rows:
        click.echo(f"\n{title}\n{table(rows, columns)}")


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """A table for people, below its headings."""
    lines = [[label(name, rows).upper() for name in columns], *([cell(row, name) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def show_line(row: Row) -> None:
    """Print one object of a stream, at once."""
    click.echo(json.dumps(row, ensure_ascii=False))


def label(name: str, rows: Sequence[Row]) -> str:
    """What a table calls a field: an amount that is shown with its currency is not in cents."""
    if name.endswith("_cents") and all("currency" in row for row in rows):
        return name.removesuffix("_cents").removesuffix("_amount")
    return name


def cell(row: Row, name: str) -> str:
    """The value of a column. An amount is shown with the currency of its row."""
    value = row.get(name)
    if value is None or value in ({}, [], ""):
        return NOTHING
    if name.endswith("_cents") and "currency" in row:
        return money(value, row["currency"])
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={part}" for key, part in value.items() if part is not None)
    if isinstance(value, list):
        return ", ".join(cell({"": part}, "") for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def printable(text: str) -> str:
    """The text without what would move the cursor of a terminal: customers and receivers have written parts of it."""
    return "".join(each if each.isprintable() else "�" for each in text)


def money(cents: int, currency: str) -> str:
    """`12.50 USD` for 1250 of the smallest unit."""
    decimals = 0 if currency in NO_DECIMALS else 3 if currency in THREE_DECIMALS else 2
    whole, rest = divmod(abs(cents), 10**decimals)
    sign = "-" if cents < 0 else ""
    return f"{sign}{whole}{f'.{rest:0{decimals}}' if decimals else ''} {currency}"


def rfc3339(time: datetime) -> str:
    """As the Edge API writes times."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def short_time(time: str) -> str:
    """A time of an answer, for people: UTC, to the second."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def duration(ms: float) -> str:
    """`87 ms`, `8.0 s`, `12 min` or `30 h`."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {name: _jsonable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    return value
