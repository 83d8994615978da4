"""What the console's API takes and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from marshmallow import Schema, fields, validate

from common.api.fields import Flag, HumanText, Id, Timestamp, rfc3339
from edge_api import schemas as edge

MAX_TEXT = 320  # the longest e-mail address


class OrderQuery(edge.OrderQuery):
    """The filters of the Edge API, and two more."""

    client = HumanText(1, 64)
    needs_attention = Flag()


class Plain(fields.Field[Any]):
    """A value as the database gives it. Times become RFC 3339."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        if isinstance(value, datetime):
            return rfc3339(value)
        if isinstance(value, dict):
            return {name: self._serialize(each, None, None) for name, each in value.items()}
        return [self._serialize(each, None, None) for each in value] if isinstance(value, list) else value


class ListedOrder(Schema):
    order_ledger_id = Id(required=True)
    client = fields.String(required=True)
    client_request_id = fields.String(required=True)
    status = fields.String(required=True)
    email = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    total_amount_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    refunded_cents = fields.Integer(required=True)
    failure_code = fields.String(required=True, allow_none=True)
    retry_count = fields.Integer(required=True)
    next_retry_at = Timestamp(required=True, allow_none=True)
    needs_attention_at = Timestamp(required=True, allow_none=True)
    attention_reason = fields.String(required=True, allow_none=True)
    is_cancelled = fields.Boolean(required=True)
    needs_attention = fields.Boolean(required=True, metadata={"description": "marked, and nobody has dealt with it"})
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class SearchQuery(Schema):
    q = HumanText(1, MAX_TEXT, required=True)


class FoundOrder(Schema):
    order_ledger_id = Id(required=True)
    client = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    email = fields.String(required=True)
    status = fields.String(required=True)
    total_amount_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    created_at = Timestamp(required=True)
    found_by = fields.String(required=True, metadata={"description": "what the text is of this order"})


class FoundThing(Schema):
    kind = fields.String(required=True, validate=validate.OneOf(["product", "job", "webhook endpoint"]))
    id = fields.String(required=True)
    name = fields.String(required=True)


class Found(Schema):
    orders = fields.List(fields.Nested(FoundOrder), required=True)
    others = fields.List(fields.Nested(FoundThing), required=True, metadata={"description": "what is not an order"})


class OrderPage(Schema):
    orders = fields.List(fields.Nested(ListedOrder), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class Step(Schema):
    action = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(["done", "now", "open", "stopped here", "left out"]))
    is_undo = fields.Boolean(required=True)


class Check(Schema):
    about = fields.String(required=True)
    ledger = fields.String(required=True)
    participant = fields.String(required=True)
    agrees = fields.Boolean(required=True)


class Verdict(Schema):
    agrees = fields.Boolean(required=True)
    checks = fields.List(fields.Nested(Check), required=True)


class OrderDetails(Schema):
    """Everything on one screen. The parts are as the books have them."""

    order_ledger_id = Id(required=True)
    client = fields.String(required=True)
    client_request_id = fields.String(required=True)
    status = fields.String(required=True)
    needs_attention = fields.Boolean(required=True)
    money = fields.String(required=True, metadata={"description": "what is held, charged or returned, in a sentence"})
    steps = fields.List(fields.Nested(Step), required=True)
    verdict = fields.Nested(Verdict, required=True)
    timeline = fields.List(Plain(), required=True)
    attempts = Plain(required=True, metadata={"description": "the first 20 and the newest 80, newest first"})
    attempts_left_out = fields.Integer(required=True, metadata={"description": "how many are between those"})
    items = Plain(required=True)
    payments = Plain(required=True)
    orders = Plain(required=True)
    reservations = Plain(required=True)
    refunds = Plain(required=True)
    events = Plain(required=True)
    notes = Plain(required=True)
    metadata = Plain(required=True)
    user_id = Id(required=True)
    email = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    total_amount_cents = fields.Integer(required=True)
    refunded_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    request_id = fields.String(required=True)
    trace_id = fields.String(required=True, allow_none=True)
    payment_authorization_id = fields.String(required=True, allow_none=True)
    order_id = Id(required=True, allow_none=True)
    failure_code = fields.String(required=True, allow_none=True)
    failure_message = fields.String(required=True, allow_none=True)
    status_detail = fields.String(required=True, allow_none=True)
    retry_count = fields.Integer(required=True)
    next_retry_at = Timestamp(required=True, allow_none=True)
    due_at = Timestamp(required=True, allow_none=True)
    claimed_by = fields.String(required=True, allow_none=True)
    claimed_until = Timestamp(required=True, allow_none=True)
    needs_attention_at = Timestamp(required=True, allow_none=True)
    attention_reason = fields.String(required=True, allow_none=True)
    dealt_with = Plain(required=True)
    set_aside = Plain(required=True, metadata={"description": "since when and why the database refuses to write it"})
    cancel_requested_at = Timestamp(required=True, allow_none=True)
    cancel_reason = fields.String(required=True, allow_none=True)
    cancel_note = fields.String(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    as_of = Timestamp(required=True, attribute="now")
