"""The request and response bodies of refunds."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from common.api.fields import Cents, Flag, HumanText, Id, Timestamp, TrueOrFalse
from domain.refunds import PUBLIC_STATUSES, REASONS
from edge_api.schemas import MAX_LINES, Failure, Item, added_up


class NewRefund(Schema):
    """With neither `amount_cents` nor `items`, all that is left is refunded."""

    amount_cents = Cents(metadata={"description": "not together with `items`"})
    items = fields.List(
        fields.Nested(Item),
        validate=validate.Length(1, MAX_LINES),
        metadata={"description": "refunds these pieces at the prices at which they were bought"},
    )
    restock = TrueOrFalse(
        load_default=False,
        metadata={"description": "puts the pieces back into stock; not together with `amount_cents`"},
    )
    reason = fields.String(required=True, validate=validate.OneOf(REASONS))
    note = HumanText(1, 1000)

    @validates_schema
    def _check_what(self, data: dict[str, Any], **_: Any) -> None:
        if "amount_cents" in data and "items" in data:
            raise ValidationError("Send an amount or items, not both.", "amount_cents")
        if "amount_cents" in data and data["restock"]:
            raise ValidationError("Only pieces can be put back into stock: send items instead of an amount.", "restock")

    @post_load
    def _add_up_items(self, refund: dict[str, Any], **_: Any) -> dict[str, Any]:
        return refund | {"items": added_up(refund["items"])} if "items" in refund else refund


class RefundOptions(Schema):
    dry_run = Flag(load_default=False, metadata={"description": "say what would be refunded, and do nothing"})


class Refund(Schema):
    """A dry run has no `refund_id`, no `status` and no times."""

    refund_id = Id(required=True, allow_none=True)
    order_ledger_id = Id(required=True)
    status = fields.String(required=True, allow_none=True, validate=validate.OneOf(PUBLIC_STATUSES))
    amount_cents = Cents(required=True)
    items = fields.List(fields.Nested(Item), required=True)
    restock = fields.Boolean(required=True)
    reason = fields.String(required=True, validate=validate.OneOf(REASONS))
    note = fields.String(required=True, allow_none=True)
    failure = fields.Nested(Failure, required=True, allow_none=True)
    created_at = Timestamp(required=True, allow_none=True)
    updated_at = Timestamp(required=True, allow_none=True)


class RefundList(Schema):
    refunds = fields.List(fields.Nested(Refund), required=True)
