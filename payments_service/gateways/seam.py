"""What the payments service asks of a gateway, and the four answers that there are.

*Yes*: the money moved as asked, now or by an earlier request. *No*: it did not and will not, whoever asks again.
*Pending*: the gateway accepted the request and decides later. *Nothing*: everything else. The money may have moved, so
the same question is asked again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

ANSWER_WITHIN_S = 7.8  # a service that calls the payments service waits for 8 s
_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)

Row = Mapping[str, Any]
"""A payment or a refund, as the books have it."""


@dataclass(frozen=True)
class Yes:
    keeps: Mapping[str, Any] = field(default_factory=dict)
    """Columns of the payment that the gateway wants to find there later."""


@dataclass(frozen=True)
class No:
    code: str = ""
    """Why, as `decline_code`. Empty: the gateway does not say."""
    captured_cents: int = 0
    """Of a void: what was captured, which is why it is refused."""


@dataclass(frozen=True)
class Pending:
    gateway_id: str = ""
    """Of the refund, to ask for it later."""


@dataclass(frozen=True)
class Nothing:
    reason: str
    """For operators."""
    retry_after_s: int | None = None


@dataclass(frozen=True)
class Hint:
    """A gateway's message about a refund. What it says is not believed: the gateway is asked."""

    gateway_id: str
    refund_id: str = ""
    """Ours, where the message has it."""


class InvalidMessage(Exception):
    """The message was not signed with the secret that we share with the gateway, or cannot be read."""


class Inbox(Protocol):
    """Reads what a gateway sends by itself."""

    def read(self, body: bytes, signature: str) -> Hint | None:
        """None: nothing that we wait for. :raises InvalidMessage:"""


@dataclass(frozen=True)
class Span:
    """A page of what was made at the gateway from `start` until before `end`, by the gateway's clock."""

    start: datetime
    end: datetime
    after: str = ""
    """Of the page before. Empty: the first page."""


@dataclass(frozen=True)
class Page:
    lines: Sequence[Row]
    """As `GatewayPayment` or `GatewayRefund` dumps them (reconciliation_schemas)."""
    after: str = ""
    """Empty: this is the last page."""


@dataclass(frozen=True)
class Found:
    payment: Row | None
    """None: the gateway does not know it."""
    refunds: Sequence[Row] = ()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit how long a gateway may take for what is asked inside."""
    before = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(before)


def is_time_for(seconds: float) -> bool:
    """Whether another request of this length ends before the caller stops waiting."""
    return time.monotonic() + seconds <= _ends_at.get()


class Gateway(Protocol):
    """Moves money. It never raises: whatever happens is one of its answers."""

    def authorize(self, payment: Row, token: str) -> Yes | No | Nothing:
        """Hold `amount_cents` on the card that the token stands for. The token is kept nowhere.

        *Yes* keeps `capture_before`, where the hold ends by itself.
        """

    def capture(self, payment: Row, amount_cents: int) -> Yes | No | Nothing:
        """Take this much of the hold. The rest is no longer held."""

    def refund(self, payment: Row, refund: Row) -> Yes | No | Pending | Nothing:
        """Return `amount_cents` of the refund from what was captured."""


class RemoteGateway(Gateway, Protocol):
    """A gateway with books of its own. It is asked while no transaction is open.

    It may fail a refund after a *yes*. A *yes* to a refund keeps its `gateway_id`, and `refund_state` is asked later.

    Each payment has the `gateway_id` that `open` returned. All requests about it name that id, so the gateway itself
    decides between two of them, and none depends on how long it remembers an idempotency key.
    """

    name: str
    """Is kept with each payment."""

    def open(self, payment: Row) -> Yes | No | Nothing:
        """Make the place for a hold, which holds nothing yet. *Yes* keeps its `gateway_id`."""

    def refund_state(self, payment: Row, refund: Row) -> Yes | No | Pending | Nothing:
        """Where a refund that was asked for stands now. Moves no money. One that is not found is *nothing*."""

    def void(self, payment: Row) -> Yes | No | Nothing:
        """End the hold for good, or the place that could have got one. *No* says what was captured."""

    def payments(self, span: Span) -> Page | Nothing:
        """The payments that were made in a span, also those that hold nothing."""

    def refunds(self, span: Span) -> Page | Nothing:
        """The refunds that were made in a span, of whatever payment."""

    def look(self, gateway_id: str) -> Found | Nothing:
        """One payment with all of its refunds."""
