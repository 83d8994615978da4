"""The calls about webhook endpoints, against the real Edge API."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from werkzeug.serving import make_server

from common.process.settings import Settings
from edge_api.app import create_app
from holdfast_client import HoldfastClient, NotFound, Unavailable, ValidationError
from tests import credentials


@pytest.fixture
def client(url):
    app = create_app(Settings.load({"DATABASE_URL": url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS}))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with HoldfastClient(f"http://127.0.0.1:{server.server_port}", credentials.EDGE_KEY) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def test_endpoint_from_its_beginning_to_its_end(client):
    made = client.create_webhook_endpoint(url="https://shop.example/hook", description="shop")
    assert made.secret
    assert made.secret not in repr(made)
    assert client.get_webhook_endpoint(made.id) == client.webhook_endpoints()[0]
    changed = client.change_webhook_endpoint(made.id, status="disabled", event_types=["order.failed"])
    assert (changed.status, changed.event_types, changed.description) == ("disabled", ("order.failed",), "shop")
    assert client.change_webhook_endpoint(made.id, description="").description is None
    assert client.rotate_webhook_secret(made.id).secret not in (None, made.secret)
    test = client.test_webhook_endpoint(made.id)
    assert (test.event_type, test.status, test.order_ledger_id) == ("webhook.test", "pending", None)
    assert list(client.webhook_deliveries(made.id, status="pending", page_size=1)) == [test]
    assert list(client.webhook_deliveries(made.id, status="failed")) == []
    assert client.resend_webhook_delivery(made.id, test.id).id == test.id
    assert client.resend_webhook_deliveries(made.id, since=datetime(2026, 1, 1, tzinfo=UTC)).resent == 0
    client.delete_webhook_endpoint(made.id)
    with pytest.raises(NotFound):
        client.get_webhook_endpoint(made.id)


def test_refusal_names_the_field(client):
    with pytest.raises(ValidationError) as caught:
        client.create_webhook_endpoint(url="ftp://shop.example")
    assert set(caught.value.details) == {"url"}


def test_time_needs_a_zone(client):
    with pytest.raises(ValueError, match="time zone"):
        client.resend_webhook_deliveries("we_1", since=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.create_webhook_endpoint(url="https://shop.example"),
        lambda client: client.rotate_webhook_secret("we_1"),
        lambda client: client.test_webhook_endpoint("we_1"),
        lambda client: client.delete_webhook_endpoint("we_1"),
    ],
)
def test_call_that_must_not_happen_twice_is_sent_once(call):
    pauses = []
    with HoldfastClient("http://127.0.0.1:1", "key", sleep=pauses.append) as client, pytest.raises(Unavailable):
        call(client)
    assert pauses == []
