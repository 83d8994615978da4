"""The bodies of the inventory service's requests and responses. Those of products are in common/products/schemas.py."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from common.api.fields import Id, WholeNumber


class Availability(Schema):
    product_id = Id(required=True)
    sku = fields.String(required=True)
    stock_quantity = fields.Integer(required=True)
    available = fields.Boolean(required=True)


class Line(Schema):
    product_id = Id(required=True)
    quantity = WholeNumber(1, 100, required=True)


class NewReservation(Schema):
    order_id = Id(required=True)
    items = fields.List(fields.Nested(Line), required=True, validate=validate.Length(1, 50))


class Reservation(Schema):
    order_id = Id(required=True)
    reservation_ids = fields.List(Id(), required=True)
    line_items_reserved = fields.Integer(required=True)
    total_quantity_reserved = fields.Integer(required=True)


class Release(Schema):
    order_id = Id(required=True)
    released_count = fields.Integer(required=True)
    total_quantity_restored = fields.Integer(required=True)
