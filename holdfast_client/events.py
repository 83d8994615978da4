"""Calls about events: what has happened to your orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import requests

from holdfast_client.calls import Calls, Id, given
from holdfast_client.models import Event


class EventCalls(Calls):
    """The part of HoldfastClient that is about events."""

    def events(
        self,
        *,
        after: str | None = None,
        type: str | Iterable[str] | None = None,
        order_ledger_id: Id | None = None,
        page_size: int = 100,
        poll_every: float | None = None,
    ) -> Iterator[Event]:
        """Return your events, oldest first. Pages are read while you iterate.

        The server keeps events for 30 days. To miss none, store the id of each event when you are done with it, and
        pass the last one as `after` when you begin again.

        :param after: the id of an event; None: begin with the oldest one
        :param type: one type or several, for example `order.completed`
        :param page_size: events in one answer, 1 to 100
        :param poll_every: seconds between two looks for new events, without end; None: stop at the newest event
        :raises ValidationError: `after` is unknown, or events after it were deleted: begin without it
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        types = type if type is None or isinstance(type, str) else ",".join(type)
        filters = given(type=types, order_ledger_id=None if order_ledger_id is None else str(order_ledger_id))
        return self._events(after, filters | {"limit": page_size}, poll_every)

    def _events(self, after: str | None, params: dict[str, Any], poll_every: float | None) -> Iterator[Event]:
        while True:
            found, after = self._call("GET", "/events", _page, params={**params, **given(after=after)})
            yield from found
            if not found:
                if poll_every is None:
                    return
                self._sleep(poll_every)


def _page(response: requests.Response) -> tuple[list[Event], str | None]:
    body = response.json()
    return [Event.from_json(each) for each in body["events"]], body["next_after"]
