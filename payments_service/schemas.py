"""The bodies of the payments service's requests and responses."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from common.api.fields import MAX_TOKEN, Cents, Currency, HumanText, Id, SingleLine, Timestamp
from payments_service.domain import CAPTURED, FAILED, PENDING, REFUND_STATUSES, STATUSES, VOIDED

MOVEMENTS = ("authorize", "capture", "void", "refund")


class Key(SingleLine):
    """An idempotency key: 1 to 255 printable ASCII characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(1, 255, r"^[\x20-\x7e]*$", required=True, **options)


class Reason(HumanText):
    """A note for people who read the books later."""

    def __init__(self) -> None:
        super().__init__(1, 1000, load_default=None, allow_none=False)


class AuthorizeRequest(Schema):
    user_id = Id(required=True)
    amount_cents = Cents(required=True)
    currency = Currency(required=True)
    payment_token = SingleLine(1, MAX_TOKEN, example="tok_visa", required=True, load_only=True)
    idempotency_key = Key()


class CaptureRequest(Schema):
    idempotency_key = Key()
    amount_cents = Cents(load_default=None, allow_none=False)


class VoidRequest(Schema):
    idempotency_key = Key()
    reason = Reason()


class VoidByKeyRequest(VoidRequest):
    authorization_key = Key()


class RefundRequest(Schema):
    idempotency_key = Key()
    amount_cents = Cents(load_default=None, allow_none=False)
    reason = Reason()


class Authorization(Schema):
    authorization_id = fields.String(attribute="id", required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    amount_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    created_at = Timestamp(required=True)


class Capture(Schema):
    capture_id = fields.String(required=True)
    authorization_id = fields.String(attribute="id", required=True)
    status = fields.Constant(CAPTURED)
    amount_cents = fields.Integer(attribute="captured_amount_cents", required=True)
    currency = fields.String(required=True)
    captured_at = Timestamp(required=True)


class Void(Schema):
    authorization_id = fields.String(attribute="id", required=True)
    status = fields.Constant(VOIDED)
    voided_at = Timestamp(required=True)


class VoidByKey(Void):
    """`authorization_id` is null if nothing was ever held under the key."""

    authorization_id = fields.String(attribute="id", required=True, allow_none=True)


class Refund(Schema):
    """A pending refund has no `refunded_at`. The same call returns its latest state."""

    refund_id = fields.String(attribute="id", required=True)
    authorization_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(REFUND_STATUSES))
    amount_cents = fields.Integer(required=True)
    refunded_at = Timestamp(required=True, allow_none=True)


class ChangesRequest(Schema):
    noted = fields.List(SingleLine(1, 255), load_default=list, validate=validate.Length(max=100))


class FailedRefund(Schema):
    refund_id = fields.String(attribute="id", required=True)
    idempotency_key = fields.String(required=True)


class EndingHold(Schema):
    authorization_id = fields.String(attribute="id", required=True)
    capture_before = Timestamp(required=True)


class Changes(Schema):
    failed_refunds = fields.List(fields.Nested(FailedRefund), required=True)
    decided_refunds = fields.List(fields.String(), required=True)
    ending_holds = fields.List(fields.Nested(EndingHold), required=True)
    has_more = fields.Boolean(required=True)


class MessageTaken(Schema):
    is_a_hint = fields.Boolean(required=True)


class Settled(Schema):
    settled_count = fields.Integer(required=True)


class Movement(Schema):
    type = fields.String(required=True, validate=validate.OneOf(MOVEMENTS))
    status = fields.String(required=True, validate=validate.OneOf((*STATUSES, PENDING, FAILED)))
    id = fields.String(required=True)
    amount_cents = fields.Integer(required=True)
    at = Timestamp(required=True)


class Payment(Authorization):
    user_id = Id(required=True)
    capture_id = fields.String(allow_none=True)
    captured_amount_cents = fields.Integer(required=True)
    captured_at = Timestamp(allow_none=True)
    refunded_amount_cents = fields.Integer(required=True)
    pending_refund_cents = fields.Integer(required=True)
    voided_at = Timestamp(allow_none=True)
    capture_before = Timestamp(allow_none=True)
    movements = fields.List(fields.Nested(Movement), required=True)
