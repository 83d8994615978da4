"""The request and response bodies of webhook endpoints."""

import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, validate

from common.api.fields import HumanText, Id, Moment, PageSize, Timestamp
from common.webhooks.deliveries import MAX_RESPONSE_CHARACTERS, STATUSES
from domain.events import EventType
from edge_api.cursor import Cursor
from edge_api.schemas import MAX_PAGE

EVERY_TYPE = "*"
MAX_URL = 2048
URL = r"^https?://[!-~]+$"
MAX_HOST, MAX_LABEL = 253, 63  # RFC 1035
ENDPOINT_STATUSES = ("enabled", "disabled")


class WebhookUrl(fields.String):
    """An http:// or https:// address in ASCII, without a user and without a fragment."""

    def __init__(self, **options: Any) -> None:
        metadata = {"pattern": URL, "maxLength": MAX_URL, "example": "https://shop.example/holdfast"}
        super().__init__(metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **options))
        if not _is_usable(text):
            raise ValidationError(
                f"Must be an http:// or https:// address of at most {MAX_URL} ASCII characters, without a user and"
                " without a fragment."
            )
        return text


def _is_usable(text: str) -> bool:
    if len(text) > MAX_URL or not re.fullmatch(URL, text) or set(text) & set("\\#"):
        return False
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_host = 0 < len(host) <= MAX_HOST and all(len(label) <= MAX_LABEL for label in host.split("."))
    return is_host and "@" not in parts.netloc and port != 0


class EventTypes(fields.List[str]):
    """`["*"]`, or some types of events. Each is kept once."""

    def __init__(self, **options: Any) -> None:
        one = fields.String(validate=validate.OneOf([EVERY_TYPE, *map(str, EventType)]))
        super().__init__(one, validate=validate.Length(1, len(EventType)), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> list[str | None]:
        types = list(dict.fromkeys(super()._deserialize(value, attr, data, **options)))
        if EVERY_TYPE in types and len(types) > 1:
            raise ValidationError('"*" is every type: give it alone, or the types without it.')
        return types


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
    response_body = fields.String(
        required=True, allow_none=True, validate=validate.Length(max=MAX_RESPONSE_CHARACTERS)
    )
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
    only_failed = fields.Boolean(load_default=True, truthy={True}, falsy={False})


class Resent(Schema):
    resent = fields.Integer(required=True)
    next_since = Timestamp(required=True, allow_none=True)
