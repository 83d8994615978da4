"""What an operator's actions take."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from common.api.fields import HumanText
from domain.refunds import REASONS

MAX_REASON, MAX_NOTE = 500, 2000


class Why(Schema):
    reason = HumanText(1, MAX_REASON, required=True, metadata={"description": "stays in the record: name no customer"})


class NewNote(Schema):
    text = HumanText(1, MAX_NOTE, required=True)


class CancelOrder(Schema):
    reason = fields.String(required=True, validate=validate.OneOf(REASONS))
    note = HumanText(1, 500)
