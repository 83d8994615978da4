"""The bodies of the lists of a gateway."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from common.api.fields import Moment, SingleLine, Timestamp

PAYMENT_STATES = ("open", "held", "captured", "ended")
"""Of these, `open` and `ended` hold nothing."""
REFUND_STATES = ("pending", "returned", "failed")


class GatewayId(SingleLine):
    """An id that the gateway made."""

    def __init__(self, **options: Any) -> None:
        super().__init__(1, 255, r"^[!-~]*$", **options)


class SpanQuery(Schema):
    created_from = Moment(required=True)
    created_before = Moment(required=True)
    cursor = GatewayId()


class PaymentQuery(Schema):
    gateway_id = GatewayId(required=True)


class GatewayPayment(Schema):
    """`authorization_id` is ours, if the gateway knows it."""

    gateway_id = fields.String(required=True)
    authorization_id = fields.String(required=True, allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf(PAYMENT_STATES))
    held_cents = fields.Integer(required=True)
    captured_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    created_at = Timestamp(required=True)


class GatewayRefund(Schema):
    """`refund_id` is ours, if the gateway knows it."""

    gateway_id = fields.String(required=True)
    payment_gateway_id = fields.String(required=True, allow_none=True)
    refund_id = fields.String(required=True, allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf(REFUND_STATES))
    amount_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    created_at = Timestamp(required=True)


class GatewayPayments(Schema):
    gateway = fields.String(required=True)
    payments = fields.List(fields.Nested(GatewayPayment), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class GatewayRefunds(Schema):
    gateway = fields.String(required=True)
    refunds = fields.List(fields.Nested(GatewayRefund), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class PaymentAtGateway(Schema):
    """`payment` is null if the gateway does not know it."""

    gateway = fields.String(required=True)
    payment = fields.Nested(GatewayPayment, required=True, allow_none=True)
    refunds = fields.List(fields.Nested(GatewayRefund), required=True)
