"""Events of the feed since a time, and those that come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from holdfast_client.cli.output import notice
from holdfast_client.client import HoldfastClient
from holdfast_client.errors import Unavailable
from holdfast_client.models import Event

# The feed has no filter by time, and a transaction may commit late: events are read from so long before the time on.
# No transaction of Holdfast takes this long.
MARGIN = timedelta(minutes=10)
ORDERS_TO_TRY = 5  # the newest one before the time may have no event yet
LOOK_EVERY_S = 1.0
PAUSE_WITHOUT_ANSWER_S = 2.0
Types = Iterable[str] | None


def events_since(
    client: HoldfastClient, since: datetime, *, after: str | None = None, types: Types = None
) -> Iterator[Event]:
    """The events since a time, oldest first, up to the newest one."""
    begin = after or place_before(client, since)
    return (event for event in client.events(after=begin, type=types) if event.timestamp >= since)


def place_before(client: HoldfastClient, since: datetime) -> str | None:
    """An event of the feed after which all events since that time come. None: begin with the oldest one.

    It is the first event of an order that was placed before. Thus the events of a month need not be read.
    """
    orders = client.list_orders(created_before=since - MARGIN, page_size=ORDERS_TO_TRY)
    for order in islice(orders, ORDERS_TO_TRY):
        first = next(client.events(order_ledger_id=order.order_ledger_id, page_size=1), None)
        if first is not None and first.timestamp < since - MARGIN / 2:
            return first.id
    return None


def newest_place(client: HoldfastClient) -> str | None:
    """The id of the newest event. None: there is none."""
    newest = None
    for event in client.events(after=place_before(client, datetime.now(UTC))):
        newest = event.id
    return newest


def follow(client: HoldfastClient, after: str | None, *, types: Types = None) -> Iterator[Event | None]:
    """Yield events after one, without end, and None after each look. A server that is away is asked again."""
    while True:
        try:
            for event in client.events(after=after, type=types):
                yield event
                after = event.id
        except Unavailable:
            notice("No answer from Holdfast. Trying again.")
            time.sleep(PAUSE_WITHOUT_ANSWER_S)
        yield None
