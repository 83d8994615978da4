"""The request and response bodies of the Edge API."""

import re
from collections import Counter
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from common.api.fields import (
    MAX_TOKEN,
    Cents,
    Currency,
    HumanText,
    Id,
    Moment,
    PageSize,
    SingleLine,
    Timestamp,
    WholeNumber,
    one_line,
)
from common.api.idempotency import WELL_FORMED
from domain.refunds import REASONS
from domain.states import Status
from edge_api.cursor import Cursor
from edge_api.metadata import Metadata

MAX_LINES = 50
MAX_QUANTITY = 100
MAX_WAIT_S = 30
MAX_PAGE = 100
REFUND_STATUSES = ("none", "partial", "full")


class Item(Schema):
    product_id = Id(required=True)
    quantity = WholeNumber(1, MAX_QUANTITY, required=True)


class Payment(Schema):
    method = fields.String(required=True, validate=validate.OneOf(["card"]))
    # The same limit as in the payments service: a token that only that service refuses would look like a decline.
    token = SingleLine(1, MAX_TOKEN, example="tok_visa", required=True)


class Email(fields.Email):
    def __init__(self, **options: Any) -> None:
        metadata = {"example": "a@b.example"} | options.pop("metadata", {})
        super().__init__(validate=[validate.Length(max=254), one_line], metadata=metadata, **options)


class NewOrder(Schema):
    user_id = Id(required=True)
    email = Email(required=True)
    items = fields.List(fields.Nested(Item), required=True, validate=validate.Length(1, MAX_LINES))
    payment = fields.Nested(Payment, required=True)
    currency = Currency(
        metadata={"description": "must be the currency of the products; without it the order is in their currency"}
    )
    reference = HumanText(1, 255, example="2026-1742")
    metadata = Metadata()

    @post_load
    def _add_up_lines(self, order: dict[str, Any], **_: Any) -> dict[str, Any]:
        return order | {"items": added_up(order["items"])}


def added_up(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two lines for one product become one. :raises ValidationError: they are too many pieces together"""
    quantities: Counter[str] = Counter()
    for line in lines:
        quantities[line["product_id"]] += line["quantity"]
    if max(quantities.values()) > MAX_QUANTITY:
        raise ValidationError(f"The lines for one product are more than {MAX_QUANTITY} together.", "items")
    return [{"product_id": product_id, "quantity": quantity} for product_id, quantity in quantities.items()]


class Seconds(fields.Float):
    """A number in the spelling of JSON: no `1_0`, no digits of other scripts."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", str(value)):
            raise ValidationError("Not a valid number.")
        return float(super()._deserialize(value, attr, data, **options))


class Waiting(Schema):
    wait = Seconds(
        load_default=0.0,
        validate=validate.Range(0, MAX_WAIT_S),
        metadata={"description": "answer when the order or refund has ended, or after this many seconds"},
    )


class Cancel(Schema):
    reason = fields.String(required=True, validate=validate.OneOf(REASONS))
    note = HumanText(1, 500, load_default=None, allow_none=False)


class Statuses(fields.String):
    """Statuses of orders, separated by commas."""

    def __init__(self) -> None:
        one = f"({'|'.join(Status)})"
        super().__init__(metadata={"description": "separated by commas", "pattern": f"^{one}(,{one})*$"})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> set[Status]:  # type: ignore[override]
        try:
            return {Status(text) for text in value.split(",")}
        except ValueError:
            raise ValidationError(f"Must be of {', '.join(Status)}, separated by commas.") from None


class OrderQuery(Schema):
    status = Statuses()
    reference = HumanText(1, 255)
    client_request_id = SingleLine(1, 255, pattern=f"^{WELL_FORMED.pattern}$")
    user_id = Id()
    email = Email(metadata={"description": "upper and lower case of a to z are the same"})
    refund_status = fields.String(validate=validate.OneOf(REFUND_STATUSES))
    created_from = Moment()
    created_before = Moment()
    limit = PageSize(load_default=20, validate=validate.Range(1, MAX_PAGE))
    cursor = Cursor()


class AcceptedOrder(Schema):
    order_ledger_id = Id(required=True)
    status = fields.String(required=True)
    total_amount_cents = Cents(required=True)
    currency = Currency(required=True)
    message = fields.String(required=True)


class PricedItem(Item):
    unit_price_cents = Cents(required=True)


class TimelineEntry(Schema):
    status = fields.String(required=True)
    at = fields.String(required=True, metadata={"format": "date-time"})
    detail = fields.String(required=True, allow_none=True)


class Failure(Schema):
    code = fields.String(required=True)
    message = fields.String(required=True)


class Cancellation(Schema):
    requested_at = fields.String(required=True, metadata={"format": "date-time"})
    reason = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["pending", "done", "refused"]))


class ListedOrder(Schema):
    order_ledger_id = Id(required=True)
    client_request_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(map(str, Status))))
    user_id = Id(required=True)
    email = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    metadata = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    total_amount_cents = Cents(required=True)
    refunded_cents = Cents(0, required=True)
    refund_status = fields.String(required=True, validate=validate.OneOf(REFUND_STATUSES))
    currency = Currency(required=True)
    payment_authorization_id = fields.String(required=True, allow_none=True)
    order_id = Id(required=True, allow_none=True)
    cancellation = fields.Nested(Cancellation, required=True, allow_none=True)
    retry_count = fields.Integer(required=True)
    next_retry_at = Timestamp(required=True, allow_none=True)
    needs_attention_at = Timestamp(required=True, allow_none=True)
    failure = fields.Nested(Failure, required=True, allow_none=True)
    items = fields.List(fields.Nested(PricedItem), required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class Order(ListedOrder):
    timeline = fields.List(fields.Nested(TimelineEntry), required=True)


class OrderPage(Schema):
    orders = fields.List(fields.Nested(ListedOrder), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
