"""What the payments service asks of a gateway, and the four answers that there are.

*Yes*: the money moved as asked, now or by an earlier request. *No*: it did not and will not, whoever asks again.
*Pending*: the gateway accepted the request and decides later. *Nothing*: everything else. The money may have moved, so
the same question is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

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


@dataclass(frozen=True)
class Pending:
    pass


@dataclass(frozen=True)
class Nothing:
    reason: str
    """For operators."""


class Gateway(Protocol):
    """Moves money. It never raises: whatever happens is one of its answers."""

    def authorize(self, payment: Row, token: str) -> Yes | No | Nothing:
        """Hold `amount_cents` on the card that the token stands for. The token is kept nowhere."""

    def capture(self, payment: Row, amount_cents: int) -> Yes | No | Nothing:
        """Take this much of the hold. The rest is no longer held."""

    def refund(self, payment: Row, refund: Row) -> Yes | No | Pending | Nothing:
        """Return `amount_cents` of the refund from what was captured."""
