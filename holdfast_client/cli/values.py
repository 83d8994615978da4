"""Kinds of arguments: lines of an order, pairs, and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from holdfast_client.models import Line

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
AGO = re.compile(r"([0-9]{1,6})([smhd])")


def when(value: str) -> datetime:
    """`2h` ago, or an RFC 3339 time. :raises click.BadParameter: it is neither"""
    try:
        if ago := AGO.fullmatch(value):
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value} is not a time. Write 30s, 15m, 2h or 3d ago, or 2026-01-31T12:00:00Z."
        ) from None
    return _aware(time, value)


def moment(value: str) -> datetime:
    """An RFC 3339 time, in UTC. :raises click.BadParameter: it is not one"""
    try:
        return _aware(datetime.fromisoformat(value), value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value} is not a time in RFC 3339. Write 2027-01-31T12:00:00Z.") from None


def _aware(time: datetime, value: str) -> datetime:
    if time.tzinfo is None:
        raise click.BadParameter(f"{value} has no time zone: add Z for UTC.")
    return time


def order_line(value: str) -> Line:
    """`PRODUCT_ID` or `PRODUCT_ID:QUANTITY`. :raises click.BadParameter: it is neither"""
    product_id, separator, quantity = value.partition(":")
    if not product_id or (separator and not re.fullmatch("[0-9]{1,6}", quantity, re.ASCII)):
        raise click.BadParameter(f"{value} is not a line of an order. Write PRODUCT_ID:2.")
    return Line(product_id=product_id, quantity=int(quantity or 1))


def name_and_value(value: str) -> tuple[str, str]:
    """`NAME=VALUE`. :raises click.BadParameter: it is not"""
    name, separator, text = value.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{value} is not NAME=VALUE.")
    return name, text


REASONS = ("requested_by_customer", "duplicate", "fraudulent", "out_of_stock", "other")
REASON = click.option("--reason", type=click.Choice(REASONS), default="requested_by_customer", show_default=True)
NOTE = click.option("--note", help="For other operators.")
KEY = click.option(
    "--idempotency-key", help="Your name for this: however often it is sent, it is done once. By default a new one."
)
METADATA = click.option(
    "--metadata", type=name_and_value, metavar="NAME=VALUE", multiple=True, help="A note of yours. Can be repeated."
)
