"""The request and response bodies of webhook endpoints."""

import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, validate

from common.api.fields import HumanText, Id, Moment, PageSize, Timestamp, TrueOrFalse
from common.webhooks.deliveries import MAX_RESPONSE_CHARACTERS, STATUSES
from domain.events import EventType
from edge_api.cursor import Cursor
from edge_api.schemas import MAX_PAGE

EVERY_TYPE = "*"
MAX_URL, MAX_HOST = 2048, 253
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
# What ASCII has, without blanks, `#` and `\\`. There is no user, and no IPv6 address.
URL = rf"^https?://{_LABEL}(\.{_LABEL})*(:{_PORT})?([/?][!-\"$-\[\]-~]*)?$"
ENDPOINT_STATUSES = ("enabled", "disabled")


class WebhookUrl(fields.String):
    """An http:// or https:// address in ASCII, without a user and without a fragment."""

    def __init__(self, **options: Any) -> None:
        metadata = {"pattern": URL, "maxLength": MAX_URL, "example": "https://shop.example/holdfast"}
        super().__init__(metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **options))
        if len(text) > MAX_URL or not re.fullmatch(URL, text) or len(urlsplit(text).hostname or "") > MAX_HOST:
            raise ValidationError(
                f"Must be an http:// or https:// address of at most {MAX_URL} ASCII characters, without a user and"
                " without a fragment. An international name must be in its ASCII form (xn--…)."
            )
        return text


class EventTypes(fields.List[str]):
    """`["*"]`, or some types of events. Each is kept once."""

    def __init__(self, **options: Any) -> None:
        one = fields.String(validate=validate.OneOf([EVERY_TYPE, *map(str, EventType)]))
        super().__init__(one, validate=validate.Length(1, len(EventType)), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> list[str | None]:
        types = super()._deserialize(value, attr, data, **options)
        if EVERY_TYPE in types and types != [EVERY_TYPE]:
            raise ValidationError('"*" is every type: give it alone, or the types without it.')
        if len(types) > len(EventType):
            raise ValidationError(f"Must have at most {len(EventType)} types.")
        return list(dict.fromkeys(types))


class NewWebhookEndpoint(Schema):
    url = WebhookUrl(required=True)
    event_types = EventTypes(required=True)
    description = HumanText(1, 255, allow_none=True)


class WebhookEndpointChange(Schema):
    url = WebhookUrl()
    event_types = EventTypes()
    description = HumanText(1, 255, allow_none=True)
    status = fields.String(validate=validate.OneOf(ENDPOINT_STATUSES))


class WebhookEndpoint(Schema):
    id = fields.String(required=True)
    url = fields.String(required=True)
    event_types = fields.List(fields.String(), required=True)
    description = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, validate=validate.OneOf(ENDPOINT_STATUSES))
    disabled_at = Timestamp(required=True, allow_none=True)
    disabled_reason = fields.String(required=True, allow_none=True)
    last_success_at = Timestamp(required=True, allow_none=True)
    failing_since = Timestamp(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class WebhookEndpointWithSecret(WebhookEndpoint):
    secret = fields.String(required=True)


class WebhookEndpoints(Schema):
    webhook_endpoints = fields.List(fields.Nested(WebhookEndpoint), required=True)


class DeletedWebhookEndpoint(Schema):
    id = fields.String(required=True)
    deleted = fields.Boolean(required=True)


class WebhookDelivery(Schema):
    id = Id(required=True)
    webhook_endpoint_id = fields.String(required=True)
    event_id = fields.String(required=True)
    event_type = fields.String(required=True)
    order_ledger_id = Id(required=True, allow_none=True)
    sequence = fields.Integer(required=True, allow_none=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    attempts = fields.Integer(required=True)
    next_attempt_at = Timestamp(required=True, allow_none=True)
    last_attempt_at = Timestamp(required=True, allow_none=True)
    response_status = fields.Integer(required=True, allow_none=True)
    response_body = fields.String(required=True, allow_none=True, validate=validate.Length(max=MAX_RESPONSE_CHARACTERS))
    error = fields.String(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    ended_at = Timestamp(required=True, allow_none=True)


class WebhookDeliveryQuery(Schema):
    status = fields.String(validate=validate.OneOf(STATUSES))
    limit = PageSize(load_default=20, validate=validate.Range(1, MAX_PAGE))
    cursor = Cursor()


class WebhookDeliveries(Schema):
    deliveries = fields.List(fields.Nested(WebhookDelivery), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ResendSince(Schema):
    since = Moment(required=True)
    only_failed = TrueOrFalse(load_default=True)


class Resent(Schema):
    resent = fields.Integer(required=True)
    next_since = Timestamp(required=True, allow_none=True)
