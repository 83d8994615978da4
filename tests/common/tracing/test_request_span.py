"""The span of a request: its name, its attributes, and whose trace it continues."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from marshmallow import Schema

from common.api.access import PUBLIC, Scope, callers
from common.api.errors import Unauthorized
from common.api.fields import WholeNumber
from common.api.routes import Api
from common.api.service import create_service
from common.api.waits import Parked
from common.calls.client import ServiceClient
from common.database.database import Database
from common.process.settings import Settings
from common.tracing import tracer
from tests.collector import Collector
from tests.common.tracing.conftest import NOWHERE

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE_PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
GOOD = {"Authorization": "good"}
Exported = Callable[[], Collector]


class Count(Schema):
    count = WholeNumber(0, 10, required=True)


def guard(authorization, _):
    if authorization != "good":
        raise Unauthorized()
    return "caller"


@pytest.fixture
def client():
    api = Api("Demo", "A service that counts.")
    pause = [Parked(lambda _: lambda: None)]

    @api.route("GET", "/counts/<uuid:count_id>", access=callers(), answer=Count)
    def get_count(database, count_id):
        """Get a count."""
        return {"count": 1}

    @api.route("GET", "/of_client", access=Scope("orders:read"), answer=Count)
    def get_of_client(database):
        """Get a count."""
        return {"count": 1}

    @api.route("GET", "/open", access=PUBLIC, answer=Count)
    def get_open(database):
        """Get a count."""
        return {"count": 1}

    @api.route("GET", "/failure", access=callers(), answer=Count)
    def fail(database):
        """Fail."""
        raise ZeroDivisionError

    @api.route("GET", "/wait", access=callers(), answer=Count)
    def wait(database):
        """Wait without a thread, once."""
        if pause:
            raise pause.pop()
        return {"count": 1}

    settings = Settings.load({"DATABASE_URL": NOWHERE, "LOG_LEVEL": "ERROR"})
    database = Database(NOWHERE, name="demo", size=1)
    return create_service("demo", api, database, settings, database, guard).test_client()


def test_span_has_the_route_and_no_id(client, exported: Exported) -> None:
    client.get("/counts/7b9d2c2e-1111-4222-8333-123456789abc", headers=GOOD)
    (span,) = exported().spans
    assert (span.name, span.kind) == ("GET /counts/{count_id}", "SERVER")
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/counts/{count_id}",
        "http.response.status_code": 200,
    }


def test_trace_of_an_authenticated_caller_is_continued(client, exported: Exported) -> None:
    client.get("/failure", headers=GOOD | TRACE_PARENT)
    (span,) = exported().spans
    assert (span.trace_id, span.parent_id) == (TRACE, SPAN)
    assert (span.has_failed, span.attributes["error.type"]) == (True, "500")


@pytest.mark.parametrize(("ratio", "flag", "is_exported"), [("0", "01", False), ("1", "00", True), ("1", "01", True)])
def test_client_does_not_decide_whether_its_trace_is_exported(
    client, start: Callable[..., None], collector: Collector, ratio: str, flag: str, is_exported: bool
) -> None:
    start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_SAMPLER_ARG=ratio)
    client.get("/of_client", headers=GOOD | {"traceparent": f"00-{TRACE}-{SPAN}-{flag}"})
    tracer.stop()
    assert [span.trace_id for span in collector.spans] == [TRACE] * is_exported


@pytest.mark.parametrize(("flag", "is_exported"), [("01", True), ("00", False)])
def test_our_own_process_decides_whether_its_trace_is_exported(
    client, exported: Exported, flag: str, is_exported: bool
) -> None:
    client.get("/failure", headers=GOOD | {"traceparent": f"00-{TRACE}-{SPAN}-{flag}"})
    assert len(exported().spans) == is_exported


@pytest.mark.parametrize("path", ["/failure", "/open", "/unknown?secret=1"])
def test_trace_of_anybody_else_is_not_continued(client, exported: Exported, path: str) -> None:
    client.get(path, headers={"Authorization": "bad"} | TRACE_PARENT)
    (span,) = exported().spans
    assert (span.trace_id != TRACE, span.parent_id) == (True, "")
    assert span.name == ("GET" if "unknown" in path else f"GET {path}")
    assert "secret" not in str(span)


@pytest.mark.parametrize("bad", [f"ff-{TRACE}-{SPAN}-01", "x", f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"])
def test_bad_traceparent_is_ignored(client, exported: Exported, bad: str) -> None:
    assert client.get("/open", headers={"traceparent": bad}).status_code == 200
    assert (
        client.get("/counts/7b9d2c2e-1111-4222-8333-123456789abc", headers=GOOD | {"traceparent": bad}).status_code
        == 200
    )
    assert [span.parent_id for span in exported().spans] == ["", ""]


def test_unknown_method_has_no_name_of_its_own(client, exported: Exported) -> None:
    client.open("/open", method="INVENTED")
    (span,) = exported().spans
    assert (span.name, span.attributes["http.request.method"]) == ("HTTP", "_OTHER")


def test_probes_are_not_traced(client, exported: Exported) -> None:
    client.get("/live")
    assert exported().spans == []


def test_waiting_request_has_one_span(client, exported: Exported) -> None:
    with pytest.raises(Parked):
        client.get("/wait", headers=GOOD)
    client.get("/wait", headers=GOOD)
    assert [span.name for span in exported().spans] == ["GET /wait"]


def test_call_without_an_answer_is_a_failed_span(exported: Exported) -> None:
    ServiceClient("orders", "http://127.0.0.1:1").ask("GET", "/orders/secret", params={"id": "secret"})
    (span,) = exported().spans
    assert (span.name, span.kind, span.has_failed) == ("GET orders", "CLIENT", True)
    assert span.attributes == {
        "http.request.method": "GET",
        "peer.service": "orders",
        "error.type": "ConnectionError",
    }
