"""What the console's API takes and answers about products."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from common.api.fields import HumanText, Id, PageSize, SingleLine, Timestamp
from common.products import schemas as products
from edge_api.cursor import Cursor

MAX_PAGE = 100
SKU = "^[A-Za-z0-9_-]+$"


class Sku(SingleLine):
    def __init__(self, **options: Any) -> None:
        super().__init__(1, 100, pattern=SKU, **options)


class ProductQuery(Schema):
    sku = Sku()
    limit = PageSize(load_default=50, validate=validate.Range(1, MAX_PAGE))
    cursor = Sku()


class AdjustmentQuery(Schema):
    limit = PageSize(load_default=20, validate=validate.Range(1, MAX_PAGE))
    cursor = Cursor()


class ProductChange(products.ProductChange):
    """What is left out stays as it is."""

    reason = HumanText(1, 500, required=True)  # for the record; no personal data

    @validates_schema
    def check_has_change(self, data: dict[str, Any], **_: Any) -> None:
        if data.keys() <= {"reason"}:
            raise ValidationError("There is nothing to change.")


class ListedProduct(products.Product):
    reserved = fields.Integer(required=True, metadata={"description": "pieces that open orders have reserved"})
    reserved_is_all = fields.Boolean(
        required=True, metadata={"description": "false: there are too many open orders to look at all"}
    )


class ListedProducts(Schema):
    products = fields.List(fields.Nested(ListedProduct), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class Adjustment(Schema):
    id = Id(required=True)
    quantity = fields.Integer(required=True)
    reason = fields.String(required=True)
    reference_id = fields.String(required=True, allow_none=True)
    notes = fields.String(required=True, allow_none=True)
    created_at = Timestamp(required=True)


class Version(Schema):
    number = fields.Integer(required=True)
    name = fields.String(required=True)
    price_cents = fields.Integer(required=True)
    is_active = fields.Boolean(required=True)
    created_at = Timestamp(required=True)


class ProductDetails(ListedProduct):
    versions = fields.List(fields.Nested(Version), required=True)
    adjustments = fields.List(fields.Nested(Adjustment), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
