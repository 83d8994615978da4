"""Calls about webhook endpoints. HoldfastClient has them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import requests

from holdfast_client.webhook_models import DeliveryPage, Resent, WebhookDelivery, WebhookEndpoint

Result = TypeVar("Result")
PATH = "/webhook_endpoints"


class _Calls(Protocol):
    def _call(
        self, method: str, path: str, read: Callable[[requests.Response], Result], *, once: bool = False, **content: Any
    ) -> Result: ...


class WebhookEndpoints:
    """The part of HoldfastClient that is about webhooks.

    Calls that must not happen twice are sent once: if no answer comes they raise `Unavailable`, and
    `webhook_endpoints()` shows what has happened.
    """

    def create_webhook_endpoint(
        self: _Calls, *, url: str, event_types: Sequence[str] = ("*",), description: str | None = None
    ) -> WebhookEndpoint:
        """Make an endpoint. Store its `secret`: no other answer has it but that of a rotation.

        :param event_types: such as `order.completed`; `*` is all of them
        :raises ValidationError: the URL or a type cannot be used
        """
        body = {"url": url, "event_types": list(event_types), "description": description}
        return self._call("POST", PATH, _endpoint, once=True, json=body)

    def webhook_endpoints(self: _Calls) -> list[WebhookEndpoint]:
        """Return all endpoints, oldest first."""
        return self._call("GET", PATH, _endpoints)

    def get_webhook_endpoint(self: _Calls, endpoint_id: str) -> WebhookEndpoint:
        """:raises NotFound: there is no such endpoint, or it belongs to another client"""
        return self._call("GET", _path(endpoint_id), _endpoint)

    def change_webhook_endpoint(self: _Calls, endpoint_id: str, **changes: Any) -> WebhookEndpoint:
        """Change `url`, `event_types`, `description` or `status` (`enabled`, `disabled`).

        :raises NotFound: there is no such endpoint, or it belongs to another client
        :raises ValidationError: a field cannot have this value
        """
        return self._call("PATCH", _path(endpoint_id), _endpoint, json=changes)

    def delete_webhook_endpoint(self: _Calls, endpoint_id: str) -> None:
        """:raises NotFound: there is no such endpoint, also after the first of two calls"""
        return self._call("DELETE", _path(endpoint_id), lambda _: None, once=True)

    def rotate_webhook_secret(self: _Calls, endpoint_id: str) -> WebhookEndpoint:
        """Make a new secret and return it with the endpoint. The former one signs as well for 24 hours."""
        return self._call("POST", _path(endpoint_id, "rotate_secret"), _endpoint, once=True)

    def test_webhook_endpoint(self: _Calls, endpoint_id: str) -> WebhookDelivery:
        """Have an event of the type `webhook.test` delivered."""
        return self._call("POST", _path(endpoint_id, "test"), _delivery, once=True)

    def webhook_deliveries(
        self: _Calls, endpoint_id: str, *, status: str | None = None, limit: int = 20, cursor: str | None = None
    ) -> DeliveryPage:
        """Return one page of the endpoint's deliveries, newest first.

        :param status: `pending`, `succeeded` or `failed`
        :param limit: at most 100
        :param cursor: `next_cursor` of the page before
        """
        given = {"status": status, "limit": limit, "cursor": cursor}
        params = {name: value for name, value in given.items() if value is not None}
        return self._call("GET", _path(endpoint_id, "deliveries"), _page, params=params)

    def resend_webhook_delivery(self: _Calls, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Have an event delivered once more, whether or not it was delivered before."""
        return self._call("POST", _path(endpoint_id, "deliveries", delivery_id, "resend"), _delivery)

    def resend_webhook_deliveries(
        self: _Calls, endpoint_id: str, *, since: datetime, only_failed: bool = True
    ) -> Resent:
        """Have delivered once more what failed since a time, or everything since then.

        :param since: an aware time
        """
        if since.tzinfo is None:
            raise ValueError("since must have a time zone")
        body = {"since": since.isoformat(), "only_failed": only_failed}
        return self._call("POST", _path(endpoint_id, "resend"), _resent, json=body)


def _path(endpoint_id: str, *rest: str) -> str:
    return "/".join((PATH, *(quote(str(part), safe="") for part in (endpoint_id, *rest))))


def _endpoint(response: requests.Response) -> WebhookEndpoint:
    return WebhookEndpoint.from_json(response.json())


def _endpoints(response: requests.Response) -> list[WebhookEndpoint]:
    return [WebhookEndpoint.from_json(each) for each in response.json()["webhook_endpoints"]]


def _delivery(response: requests.Response) -> WebhookDelivery:
    return WebhookDelivery.from_json(response.json())


def _page(response: requests.Response) -> DeliveryPage:
    return DeliveryPage.from_json(response.json())


def _resent(response: requests.Response) -> Resent:
    return Resent.from_json(response.json())
