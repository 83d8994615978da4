"""What the API of jobs takes and answers."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from common.api.fields import Flag, HumanText, Id, PageSize, Timestamp, WholeNumber
from console.action_schemas import MAX_REASON
from console.job_states import ACTIONS, MAX_RATE, RESULT_REFUSED, RESULTS, STATES
from console.schemas import OrderQuery, Plain
from domain.refunds import REASONS
from edge_api.cursor import Cursor

MAX_ITEMS = 100


class TrueOrText(Flag):
    """`true` or `false`, also as text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        return value if isinstance(value, bool) else super()._deserialize(value, attr, data, **options)


class JobFilter(OrderQuery):
    """The filters of `GET /api/orders`, in the same spelling."""

    class Meta:
        exclude = ("limit", "cursor")

    needs_attention = TrueOrText()


class NewJob(Schema):
    """`note` is for the orders, and only with `cancel`."""

    action = fields.String(required=True, validate=validate.OneOf(ACTIONS))
    filter = fields.Nested(JobFilter, required=True)
    reason = HumanText(
        1, MAX_REASON, required=True, metadata={"description": f"with `cancel` one of: {', '.join(REASONS)}"}
    )
    note = HumanText(1, 500)
    rate_per_s = WholeNumber(1, MAX_RATE, required=True)
    expected = WholeNumber(
        0, 2**31 - 1, metadata={"description": "refuse if more orders fit now: the number that the operator has seen"}
    )

    @validates_schema
    def _check_reason(self, data: dict[str, Any], **_: Any) -> None:
        if data["action"] == "cancel" and data["reason"] not in REASONS:
            raise ValidationError(f"Must be one of: {', '.join(REASONS)}.", "reason")
        if data["action"] != "cancel" and "note" in data:
            raise ValidationError("Only a cancel has a note.", "note")


class Job(Schema):
    job_id = Id(required=True)
    author = fields.String(required=True)
    action = fields.String(required=True, validate=validate.OneOf(ACTIONS))
    filter = Plain(required=True)
    reason = fields.String(required=True)
    note = fields.String(required=True, allow_none=True)
    rate_per_s = fields.Integer(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    stop_reason = fields.String(required=True, allow_none=True)
    stopped_by = fields.String(required=True, allow_none=True)
    total = fields.Integer(required=True)
    acted_on = fields.Integer(required=True)
    done = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    created_at = Timestamp(required=True)
    ended_at = Timestamp(required=True, allow_none=True)


class JobItem(Schema):
    number = fields.Integer(required=True)
    order_ledger_id = Id(required=True)
    result = fields.String(required=True, allow_none=True, validate=validate.OneOf(RESULTS))
    code = fields.String(required=True, allow_none=True)
    message = fields.String(required=True, allow_none=True)
    ended_at = Timestamp(required=True, allow_none=True)


class JobDetails(Job):
    items = fields.List(fields.Nested(JobItem), required=True)
    next_after = fields.Integer(required=True, allow_none=True)


class ItemQuery(Schema):
    result = fields.String(validate=validate.OneOf([RESULT_REFUSED]))
    after = PageSize(load_default=0)


class JobQuery(Schema):
    cursor = Cursor()


class JobPage(Schema):
    jobs = fields.List(fields.Nested(Job), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class CountQuery(OrderQuery):
    class Meta:
        exclude = ("limit", "cursor")


class CountedAmount(Schema):
    currency = fields.String(required=True)
    amount_cents = fields.Integer(required=True)


class OrderCount(Schema):
    """`is_more`: more than these fit. The amounts are those of the orders that were counted."""

    orders = fields.Integer(required=True)
    is_more = fields.Boolean(required=True)
    amounts = fields.List(fields.Nested(CountedAmount), required=True)
