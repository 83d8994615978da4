"""The bodies of the orders service's requests and responses."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from common.api.fields import Cents, Currency, Id, Timestamp, WholeNumber
from orders_service.domain import MAX_LINES, MAX_QUANTITY


class Line(Schema):
    product_id = Id(required=True)
    quantity = WholeNumber(1, MAX_QUANTITY, required=True)
    unit_price_cents = Cents(required=True)


class NewOrder(Schema):
    order_ledger_id = Id(required=True)
    user_id = Id(required=True)
    total_amount_cents = Cents(required=True)
    currency = Currency(required=True)
    items = fields.List(fields.Nested(Line), required=True, validate=validate.Length(1, MAX_LINES))

    @validates_schema
    def check_products_differ(self, data: dict[str, Any], **_: Any) -> None:
        if len({line["product_id"] for line in data["items"]}) < len(data["items"]):
            raise ValidationError("Each product may be in one line only.", "items")

    @validates_schema
    def check_total(self, data: dict[str, Any], **_: Any) -> None:
        total = sum(line["quantity"] * line["unit_price_cents"] for line in data["items"])
        if total != data["total_amount_cents"]:
            raise ValidationError(f"The lines add up to {total}.", "total_amount_cents")


class Order(Schema):
    id = Id(required=True)
    order_ledger_id = Id(required=True)
    user_id = Id(required=True)
    status = fields.String(required=True)
    total_amount_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    items = fields.List(fields.Nested(Line), required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
