"""Webhook endpoints and deliveries as dataclasses. Times are aware and in UTC.

`from_json` raises KeyError, TypeError or ValueError when a required value is missing or has the wrong type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class WebhookEndpoint:
    """A URL to which events are delivered. `secret` is None but in the answers that make one."""

    id: str
    url: str
    event_types: tuple[str, ...]
    description: str | None
    status: str
    """`enabled` or `disabled`."""
    disabled_at: datetime | None
    disabled_reason: str | None
    last_success_at: datetime | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime
    secret: str | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WebhookEndpoint:
        return cls(
            id=str(data["id"]),
            url=str(data["url"]),
            event_types=tuple(data["event_types"]),
            description=data.get("description"),
            status=str(data["status"]),
            disabled_at=_time(data.get("disabled_at")),
            disabled_reason=data.get("disabled_reason"),
            last_success_at=_time(data.get("last_success_at")),
            failing_since=_time(data.get("failing_since")),
            created_at=datetime.fromisoformat(data["created_at"]),
            updated_at=datetime.fromisoformat(data["updated_at"]),
            secret=data.get("secret"),
        )


@dataclass(frozen=True)
class WebhookDelivery:
    """One event for one endpoint. `response_body`: the first 1,024 bytes of the receiver's last answer."""

    id: str
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    order_ledger_id: str | None
    sequence: int | None
    status: str
    """`pending`, `succeeded` or `failed`."""
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    response_status: int | None
    response_body: str | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WebhookDelivery:
        return cls(
            id=str(data["id"]),
            webhook_endpoint_id=str(data["webhook_endpoint_id"]),
            event_id=str(data["event_id"]),
            event_type=str(data["event_type"]),
            order_ledger_id=data.get("order_ledger_id"),
            sequence=data.get("sequence"),
            status=str(data["status"]),
            attempts=int(data["attempts"]),
            next_attempt_at=_time(data.get("next_attempt_at")),
            last_attempt_at=_time(data.get("last_attempt_at")),
            response_status=data.get("response_status"),
            response_body=data.get("response_body"),
            error=data.get("error"),
            created_at=datetime.fromisoformat(data["created_at"]),
            ended_at=_time(data.get("ended_at")),
        )


@dataclass(frozen=True)
class Resent:
    """How many deliveries will be sent again. Call again with `next_since`, unless it is None."""

    resent: int
    next_since: datetime | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resent:
        return cls(int(data["resent"]), _time(data["next_since"]))


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
