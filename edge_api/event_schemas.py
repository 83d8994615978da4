"""The query and the pages of `GET /events`."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from common.api.fields import Cents, Currency, Id, PageSize
from domain.events import EventType
from domain.states import Status
from edge_api.schemas import MAX_PAGE, Failure

EVENT_ID = "^evt_[0-9A-Za-z]{24}$"
TYPES = [str(each) for each in EventType]


class EventTypes(fields.String):
    """Types of events, separated by commas."""

    def __init__(self) -> None:
        one = f"({'|'.join(TYPES)})".replace(".", "\\.")
        super().__init__(metadata={"description": "separated by commas", "pattern": f"^{one}(,{one})*$"})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> set[EventType]:  # type: ignore[override]
        try:
            return {EventType(text) for text in value.split(",")}
        except ValueError:
            raise ValidationError(f"Must be of {', '.join(TYPES)}, separated by commas.") from None


class EventQuery(Schema):
    type = EventTypes()
    order_ledger_id = Id()
    after = fields.String(
        validate=validate.Regexp(f"{EVENT_ID[:-1]}\\Z", error="Not the id of an event."),
        metadata={"pattern": EVENT_ID, "description": "the id of an event: `next_after` of the page before"},
    )
    limit = PageSize(load_default=20, validate=validate.Range(1, MAX_PAGE))


class EventData(Schema):
    order_ledger_id = Id(required=True)
    order_id = Id(required=True, allow_none=True)
    client_request_id = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    metadata = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(map(str, Status))))
    sequence = fields.Integer(required=True, metadata={"description": "counts the events of an order from 1"})
    total_amount_cents = Cents(required=True)
    refunded_cents = Cents(0, required=True)
    currency = Currency(required=True)
    failure = fields.Nested(Failure, required=True, allow_none=True)
    refund_id = Id()  # in events about a refund only


class Event(Schema):
    id = fields.String(required=True, metadata={"pattern": EVENT_ID})
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    timestamp = fields.String(required=True, metadata={"format": "date-time"})
    data = fields.Nested(EventData, required=True)


class EventPage(Schema):
    events = fields.List(fields.Nested(Event), required=True)
    next_after = fields.String(required=True, allow_none=True)
