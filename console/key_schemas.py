"""What the console's API takes and answers about keys."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from common.api.fields import Flag, Moment, PageSize, SingleLine, Timestamp
from common.credentials import client_keys, operator_keys

MAX_PAGE = 100
MAX_NAME = 128  # of an operator of OpenID Connect


class KeyQuery(Schema):
    with_ended = Flag(metadata={"description": "`true`: with those that are revoked or expired"})
    limit = PageSize(load_default=MAX_PAGE, validate=validate.Range(1, MAX_PAGE))
    cursor = SingleLine(1, 64)


class Key(Schema):
    id = fields.String(required=True)
    created_at = Timestamp(required=True)
    expires_at = Timestamp(required=True, allow_none=True)
    revoked_at = Timestamp(required=True, allow_none=True)
    last_used_at = Timestamp(required=True, allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf(["valid", "expired", "revoked"]))


class ClientKey(Key):
    client = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)


class ClientKeys(Schema):
    client_keys = fields.List(fields.Nested(ClientKey), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class OperatorKey(Key):
    name = fields.String(required=True)
    role = fields.String(required=True)


class OperatorKeys(Schema):
    operator_keys = fields.List(fields.Nested(OperatorKey), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class NewClientKey(Schema):
    client = SingleLine(1, 64, pattern=f"^{client_keys.CLIENT.pattern}$", required=True)
    scopes = fields.List(
        fields.String(validate=validate.OneOf(client_keys.SCOPES)),
        required=True,
        validate=validate.Length(1, len(client_keys.SCOPES)),
    )
    expires_at = Moment(allow_none=True, load_default=None)


class NewOperatorKey(Schema):
    name = SingleLine(1, 64, pattern=f"^{operator_keys.NAME.pattern}$", required=True)
    role = fields.String(required=True, validate=validate.OneOf(operator_keys.ROLES))
    expires_at = Moment(allow_none=True, load_default=None)


class Rotation(Schema):
    """When the new key ends. Null: when the former one would have ended."""

    expires_at = Moment(allow_none=True, load_default=None)


class Sessions(Schema):
    """Of one operator."""

    name = fields.String(required=True)
    sessions = fields.Integer(required=True)
    without_key = fields.Integer(required=True, metadata={"description": "those by OpenID Connect"})
    last_at = Timestamp(required=True)
    expires_at = Timestamp(required=True)


class AllSessions(Schema):
    sessions = fields.List(fields.Nested(Sessions), required=True)


class EndSessions(Schema):
    name = SingleLine(1, MAX_NAME, required=True)


class SessionsEnded(Schema):
    name = fields.String(required=True)
    sessions = fields.Integer(required=True)
    jobs = fields.Integer(required=True, metadata={"description": "jobs that were made without a key, and stopped"})


class KeyMade(Schema):
    id = fields.String(required=True)
    text = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "the key, in this answer only. null: it was made before with the same Idempotency-Key"
        },
    )


class KeyRevoked(Schema):
    id = fields.String(required=True)
    revoked = fields.Boolean(required=True)
