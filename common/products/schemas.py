"""The bodies of requests and responses about products and their stock."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from common.api.fields import (
    UUID_TEXT,
    Cents,
    Currency,
    HumanText,
    Id,
    PageSize,
    SingleLine,
    Timestamp,
    TrueOrFalse,
    WholeNumber,
)
from domain.stock import MAX_STOCK, MORE_OR_LESS, ONLY_MORE

MAX_CHANGE = 1_000_000_000  # far above any delivery, and no sum of two overflows an integer column
MAX_IDS = 100  # as many as fit into the request line that gunicorn reads (4,094 bytes), even with each comma as %2C
MAX_PAGE = 100


class IdList(fields.String):
    """UUIDs, separated by commas."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> list[str]:  # type: ignore[override]
        texts = super()._deserialize(value, attr, data, **options).split(",")
        if len(texts) > MAX_IDS:
            raise ValidationError(f"At most {MAX_IDS} ids.")
        return [Id().deserialize(text) for text in texts]


class NewProduct(Schema):
    name = HumanText(1, 255, required=True)
    sku = SingleLine(1, 100, pattern="^[A-Za-z0-9_-]+$", required=True)
    price_cents = Cents(required=True)
    currency = Currency()
    initial_stock = WholeNumber(0, MAX_STOCK, load_default=0)


class Product(Schema):
    id = Id(required=True)
    name = fields.String(required=True)
    sku = fields.String(required=True)
    price_cents = fields.Integer(required=True)
    currency = Currency(required=True)
    is_active = fields.Boolean(required=True)
    stock_quantity = fields.Integer(required=True)
    created_at = Timestamp(required=True)


class ProductChange(Schema):
    """What is left out stays as it is."""

    name = HumanText(1, 255)
    price_cents = Cents()
    is_active = TrueOrFalse(metadata={"description": "an inactive product cannot be ordered"})


class ProductQuery(Schema):
    ids = IdList(
        metadata={
            "description": f"UUIDs separated by commas, at most {MAX_IDS}; unknown ones are left out. All come in one"
            " page, so that `limit` and `cursor` cannot be combined with it.",
            "pattern": f"^{UUID_TEXT.pattern}(,{UUID_TEXT.pattern}){{0,{MAX_IDS - 1}}}$",
        }
    )
    limit = PageSize(validate=validate.Range(1, MAX_PAGE), metadata={"default": 50})
    cursor = Id()  # `next_cursor` of the page before

    @validates_schema
    def check_ids_stand_alone(self, data: dict[str, Any], **_: Any) -> None:
        if "ids" in data and len(data) > 1:
            raise ValidationError("Products selected by ids come in one page, without limit or cursor.", "ids")


class ProductPage(Schema):
    products = fields.List(fields.Nested(Product), required=True)
    next_cursor = Id(required=True, allow_none=True)


class StockChange(Schema):
    quantity = WholeNumber(-MAX_CHANGE, MAX_CHANGE, required=True, metadata={"not": {"enum": [0]}})
    reason = fields.String(required=True, validate=validate.OneOf((*ONLY_MORE, *MORE_OR_LESS)))
    reference_id = HumanText(1, 255)
    notes = HumanText(0, 1000)

    @validates_schema
    def check_sign(self, data: dict[str, Any], **_: Any) -> None:
        if data["quantity"] == 0:
            raise ValidationError("Must not be 0.", "quantity")
        if data["quantity"] < 0 and data["reason"] in ONLY_MORE:
            raise ValidationError(f"Must be 1 or more if the reason is {data['reason']}.", "quantity")


class ChangedStock(Schema):
    product_id = Id(required=True)
    sku = fields.String(required=True)
    previous_quantity = fields.Integer(required=True)
    added_quantity = fields.Integer(required=True)
    new_quantity = fields.Integer(required=True)
    adjustment_id = Id(required=True)
    created_at = Timestamp(required=True)
