"""The API's answers as dataclasses. Fields that a newer server adds are ignored.

`from_json` raises KeyError, TypeError or ValueError when a required value is missing or has the wrong type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

TERMINAL = frozenset({"AUTHORIZATION_FAILED", "COMPLETED", "FAILED"})


class Line(TypedDict):
    """One line of an order to place: `{"product_id": "…", "quantity": 2}`, quantity 1 to 100."""

    product_id: str
    quantity: int


@dataclass(frozen=True)
class PlacedOrder:
    """The server has accepted the order and will finish it; the payment is authorized.

    `replayed`: this is the stored answer to an earlier request with the same key. That request may also be an
    earlier try of this call whose answer was lost.
    """

    order_ledger_id: str
    status: str
    total_amount_cents: int
    currency: str
    replayed: bool

    @classmethod
    def from_json(cls, data: Mapping[str, Any], replayed: bool) -> PlacedOrder:
        return cls(
            order_ledger_id=_text(data["order_ledger_id"]),
            status=_text(data["status"]),
            total_amount_cents=_whole(data["total_amount_cents"]),
            currency=_text(data["currency"]),
            replayed=replayed,
        )


@dataclass(frozen=True)
class Item:
    """One line of an order, with the price at the time of the order."""

    product_id: str
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True)
class TimelineEntry:
    """The time at which an order reached a status; aware, in UTC."""

    status: str
    at: datetime
    detail: str | None


@dataclass(frozen=True)
class Failure:
    """The reason why an order failed, for example `insufficient_stock`."""

    code: str
    message: str


@dataclass(frozen=True)
class Cancellation:
    """A request to cancel an order. `status`: `pending`, `done` or `refused`."""

    requested_at: datetime
    reason: str
    status: str


@dataclass(frozen=True)
class Order:
    """The state of an order. Amounts are in the smallest unit of `currency`; times are aware and in UTC."""

    order_ledger_id: str
    client_request_id: str
    status: str
    user_id: str
    email: str
    total_amount_cents: int
    currency: str
    items: tuple[Item, ...]
    timeline: tuple[TimelineEntry, ...]
    """Empty in a list."""
    failure: Failure | None
    payment_authorization_id: str | None
    order_id: str | None
    retry_count: int
    next_retry_at: datetime | None
    needs_attention_at: datetime | None
    created_at: datetime
    updated_at: datetime
    reference: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    refunded_cents: int = 0
    refund_status: str = "none"
    """`none`, `partial` or `full`."""
    cancellation: Cancellation | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the order has ended; its status never changes again."""
        return self.status in TERMINAL

    @property
    def is_completed(self) -> bool:
        """Whether the order was sold: paid, reserved and confirmed."""
        return self.status == "COMPLETED"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        failure = data.get("failure")
        return cls(
            order_ledger_id=_text(data["order_ledger_id"]),
            client_request_id=_text(data["client_request_id"]),
            status=_text(data["status"]),
            user_id=_text(data["user_id"]),
            email=_text(data["email"]),
            total_amount_cents=_whole(data["total_amount_cents"]),
            currency=_text(data["currency"]),
            items=tuple(
                Item(_text(item["product_id"]), _whole(item["quantity"]), _whole(item["unit_price_cents"]))
                for item in data["items"]
            ),
            timeline=tuple(
                TimelineEntry(_text(entry["status"]), datetime.fromisoformat(entry["at"]), entry.get("detail"))
                for entry in data.get("timeline", ())
            ),
            failure=Failure(_text(failure["code"]), str(failure.get("message", ""))) if failure else None,
            payment_authorization_id=data.get("payment_authorization_id"),
            order_id=data.get("order_id"),
            retry_count=_whole(data.get("retry_count", 0)),
            next_retry_at=_time(data.get("next_retry_at")),
            needs_attention_at=_time(data.get("needs_attention_at")),
            created_at=datetime.fromisoformat(data["created_at"]),
            updated_at=datetime.fromisoformat(data["updated_at"]),
            reference=data.get("reference"),
            metadata={_text(name): _text(value) for name, value in data.get("metadata", {}).items()},
            refunded_cents=_whole(data.get("refunded_cents", 0)),
            refund_status=_text(data.get("refund_status", "none")),
            cancellation=_cancellation(data.get("cancellation")),
        )


@dataclass(frozen=True)
class Product:
    """What can be ordered. The price is in the smallest unit of `currency`."""

    id: str
    name: str
    sku: str
    price_cents: int
    currency: str
    is_active: bool
    stock_quantity: int
    created_at: datetime

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Product:
        return cls(
            id=_text(data["id"]),
            name=_text(data["name"]),
            sku=_text(data["sku"]),
            price_cents=_whole(data["price_cents"]),
            currency=_text(data["currency"]),
            is_active=bool(data["is_active"]),
            stock_quantity=_whole(data["stock_quantity"]),
            created_at=datetime.fromisoformat(data["created_at"]),
        )


@dataclass(frozen=True)
class ChangedStock:
    """The stock of a product before and after a change."""

    product_id: str
    previous_quantity: int
    added_quantity: int
    new_quantity: int
    adjustment_id: str
    created_at: datetime

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ChangedStock:
        return cls(
            product_id=_text(data["product_id"]),
            previous_quantity=_whole(data["previous_quantity"]),
            added_quantity=_whole(data["added_quantity"]),
            new_quantity=_whole(data["new_quantity"]),
            adjustment_id=_text(data["adjustment_id"]),
            created_at=datetime.fromisoformat(data["created_at"]),
        )


@dataclass(frozen=True)
class Event:
    """What happened to an order, and what that has made of it. Amounts are in the smallest unit of `currency`.

    `type`: `order.authorized`, `order.authorization_failed`, `order.completed`, `order.failed`, `order.cancelled`,
    `refund.succeeded` or `refund.failed`; a newer server may have more. `sequence` counts the events of an order from
    1. `refund_id` is given in events about a refund. `raw` is the event as the server sent it.
    """

    id: str
    type: str
    timestamp: datetime
    sequence: int
    order_ledger_id: str
    order_id: str | None
    client_request_id: str
    reference: str | None
    metadata: Mapping[str, str]
    status: str
    total_amount_cents: int
    refunded_cents: int
    currency: str
    failure: Failure | None
    refund_id: str | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, event: Mapping[str, Any]) -> Event:
        data = event["data"]
        failure = data["failure"]
        return cls(
            id=_text(event["id"]),
            type=_text(event["type"]),
            timestamp=datetime.fromisoformat(event["timestamp"]),
            sequence=_whole(data["sequence"]),
            order_ledger_id=_text(data["order_ledger_id"]),
            order_id=data["order_id"],
            client_request_id=_text(data["client_request_id"]),
            reference=data["reference"],
            metadata={_text(name): _text(value) for name, value in data["metadata"].items()},
            status=_text(data["status"]),
            total_amount_cents=_whole(data["total_amount_cents"]),
            refunded_cents=_whole(data["refunded_cents"]),
            currency=_text(data["currency"]),
            failure=Failure(_text(failure["code"]), str(failure.get("message", ""))) if failure else None,
            refund_id=data.get("refund_id"),
            raw=event,
        )


@dataclass(frozen=True)
class RefundItem:
    """Pieces of a product that are refunded."""

    product_id: str
    quantity: int


@dataclass(frozen=True)
class Refund:
    """The state of a refund. A dry run has no `refund_id`, no `status` and no times."""

    refund_id: str | None
    order_ledger_id: str
    status: str | None
    """`PENDING`, `SUCCEEDED` or `FAILED`."""
    amount_cents: int
    items: tuple[RefundItem, ...]
    restock: bool
    reason: str
    note: str | None
    failure: Failure | None
    created_at: datetime | None
    updated_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended. A bank may still send the money back days later: `SUCCEEDED` becomes `FAILED`."""
        return self.status in ("SUCCEEDED", "FAILED")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Refund:
        failure = data.get("failure")
        return cls(
            refund_id=None if data["refund_id"] is None else _text(data["refund_id"]),
            order_ledger_id=_text(data["order_ledger_id"]),
            status=None if data["status"] is None else _text(data["status"]),
            amount_cents=_whole(data["amount_cents"]),
            items=tuple(RefundItem(_text(item["product_id"]), _whole(item["quantity"])) for item in data["items"]),
            restock=bool(data["restock"]),
            reason=_text(data["reason"]),
            note=data.get("note"),
            failure=Failure(_text(failure["code"]), str(failure.get("message", ""))) if failure else None,
            created_at=_time(data.get("created_at")),
            updated_at=_time(data.get("updated_at")),
        )


def _cancellation(data: Mapping[str, Any] | None) -> Cancellation | None:
    if data is None:
        return None
    return Cancellation(datetime.fromisoformat(data["requested_at"]), _text(data["reason"]), _text(data["status"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError("not a whole number")
    return value


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
