"""Calls about webhook endpoints: where events are delivered, and what became of each delivery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from urllib.parse import quote

import requests

from holdfast_client.calls import Calls, given
from holdfast_client.webhook_models import Resent, WebhookDelivery, WebhookEndpoint

PATH = "/webhook_endpoints"


class WebhookCalls(Calls):
    """The part of HoldfastClient that is about webhooks.

    Calls that must not happen twice are sent once: if no answer comes they raise `Unavailable`, and
    `webhook_endpoints()` shows what has happened.
    """

    def create_webhook_endpoint(
        self, *, url: str, event_types: Sequence[str] = ("*",), description: str | None = None
    ) -> WebhookEndpoint:
        """Make an endpoint. Store its `secret`: no other answer has it but that of a rotation.

        :param event_types: such as `order.completed`; `*` is all of them
        :raises ValidationError: the URL or a type cannot be used
        """
        body = {"url": url, "event_types": list(event_types), "description": description}
        return self._call("POST", PATH, _endpoint, once=True, json=body)

    def webhook_endpoints(self) -> list[WebhookEndpoint]:
        """Return all endpoints, oldest first."""
        return self._call("GET", PATH, _endpoints)

    def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """:raises NotFound: there is no such endpoint, or it belongs to another client"""
        return self._call("GET", _path(endpoint_id), _endpoint)

    def change_webhook_endpoint(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        event_types: Sequence[str] | None = None,
        description: str | None = None,
        status: str | None = None,
    ) -> WebhookEndpoint:
        """Change what is given. What is None stays as it is.

        :param description: an empty one deletes it
        :param status: `enabled` or `disabled`
        :raises NotFound: there is no such endpoint, or it belongs to another client
        :raises ValidationError: a field cannot have this value
        """
        types = None if event_types is None else list(event_types)
        changes = given(url=url, event_types=types, status=status)
        if description is not None:
            changes["description"] = description or None
        return self._call("PATCH", _path(endpoint_id), _endpoint, json=changes)

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """:raises NotFound: there is no such endpoint, also after the first of two calls"""
        return self._call("DELETE", _path(endpoint_id), lambda _: None, once=True)

    def rotate_webhook_secret(self, endpoint_id: str) -> WebhookEndpoint:
        """Make a new secret and return it with the endpoint. The former one signs as well for 24 hours."""
        return self._call("POST", _path(endpoint_id, "rotate_secret"), _endpoint, once=True)

    def test_webhook_endpoint(self, endpoint_id: str) -> WebhookDelivery:
        """Have an event of the type `webhook.test` delivered."""
        return self._call("POST", _path(endpoint_id, "test"), _delivery, once=True)

    def webhook_deliveries(
        self, endpoint_id: str, *, status: str | None = None, page_size: int = 100
    ) -> Iterator[WebhookDelivery]:
        """Return the endpoint's deliveries, newest first. Pages are read while you iterate.

        :param status: `pending`, `succeeded` or `failed`
        :param page_size: deliveries in one answer, 1 to 100
        """
        params = given(status=status) | {"limit": page_size}
        return self._pages(_path(endpoint_id, "deliveries"), "deliveries", WebhookDelivery.from_json, params)

    def resend_webhook_delivery(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Have an event delivered once more, whether or not it was delivered before."""
        return self._call("POST", _path(endpoint_id, "deliveries", delivery_id, "resend"), _delivery)

    def resend_webhook_deliveries(self, endpoint_id: str, *, since: datetime, only_failed: bool = True) -> Resent:
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


def _resent(response: requests.Response) -> Resent:
    return Resent.from_json(response.json())
