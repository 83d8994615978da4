"""What the console's API takes and answers about webhook endpoints."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from common.api.fields import Flag, HumanText, PageSize, SingleLine, Timestamp
from edge_api import webhook_schemas as edge

MAX_PAGE = 100


class EndpointQuery(Schema):
    client = HumanText(1, 64)
    in_trouble = Flag(metadata={"description": "`true`: those that are disabled, or whose receiver does not work"})
    limit = PageSize(load_default=50, validate=validate.Range(1, MAX_PAGE))
    cursor = SingleLine(1, 64)


class Endpoint(edge.WebhookEndpoint):
    client = fields.String(required=True)
    warnings = fields.Integer(required=True)
    oldest_pending_at = Timestamp(required=True, allow_none=True)


class EndpointPage(Schema):
    webhook_endpoints = fields.List(fields.Nested(Endpoint), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class EndpointStatus(Schema):
    status = fields.String(required=True, validate=validate.OneOf(edge.ENDPOINT_STATUSES))
    reason = HumanText(1, 500, required=True)  # for the record; no personal data


class Resent(Schema):
    resent = fields.Integer(required=True)
    next_since = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
