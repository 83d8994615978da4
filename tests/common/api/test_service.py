"""What every service shares: the error shape, request ids, health checks and the OpenAPI document."""

from __future__ import annotations

import io
import socket
import time
import uuid

import pytest
from flask import Flask
from marshmallow import Schema

from common.api.access import callers
from common.api.errors import ApiError, RateLimited, ValidationFailed
from common.api.fields import WholeNumber
from common.api.routes import Api, Reply
from common.api.service import create_service
from common.database.database import Database
from common.database.errors import DatabaseBusy, DatabaseUnavailable, RowsLocked
from common.process import logs
from common.process.settings import Settings
from tests.bad_bodies import BAD_REQUESTS, JSON, MALFORMED

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


class Count(Schema):
    count = WholeNumber(0, 10, required=True)


def service(url: str) -> Flask:
    api = Api("Demo", "A service that counts.")

    @api.route("POST", "/counts", access=callers(), body=Count, answer=Count, status=201)
    def count(database: Database, body):
        """Count."""
        return body

    @api.route("GET", "/counts/<uuid:count_id>", access=callers(), answer=Count)
    def get_count(database: Database, count_id: str):
        """Get a count."""
        return Reply({"count": 1}, 203, {"X-Count": count_id})

    @api.route("GET", "/failures/<kind>", access=callers(), answer=Count, errors=(RateLimited,))
    def fail(database: Database, kind: str):
        raise {
            "ours": RateLimited(limit=3), "plain": ApiError(), "surprise": ZeroDivisionError("secret"),
            "locked": RowsLocked(), "conflict": DatabaseBusy(), "lost": DatabaseUnavailable(),
        }[kind]  # fmt: skip

    settings = Settings.load({"DATABASE_URL": url, "LOG_LEVEL": "ERROR"})
    database = Database(url, name="demo", size=1)
    return create_service("demo", api, database, settings, database, lambda *_: "caller")


@pytest.fixture(scope="module")
def client():
    """A client of a service without a database: only /health may notice."""
    return service(NOWHERE).test_client()


def test_error_has_the_standard_shape(client):
    answer = client.post("/counts", json={"count": 11}, headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 400
    body = answer.get_json()
    assert body.pop("message")
    assert list(body.pop("details")) == ["count"]
    assert body == {"error": "validation_error", "request_id": "r-1"}
    assert answer.content_type == "application/json"


def test_error_without_details_has_no_details_field(client):
    assert set(client.get("/nowhere").get_json()) == {"error", "message", "request_id"}


def test_api_error_sends_its_headers(client):
    answer = client.get("/failures/ours")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.get_json()["details"] == {"limit": 3}


@pytest.mark.parametrize(
    ("kind", "code"),
    [("locked", "busy"), ("conflict", "service_unavailable"), ("lost", "database_unavailable")],
)
def test_trouble_with_the_database_is_503(client, kind, code):
    answer = client.get(f"/failures/{kind}")
    assert (answer.status_code, answer.get_json()["error"]) == (503, code)
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("kind", ["surprise", "plain"])
def test_unexpected_error_reveals_nothing(client, kind):
    answer = client.get(f"/failures/{kind}")
    assert (answer.status_code, answer.get_json()["error"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_REQUESTS)
def test_bad_requests(client, body, headers, status, code):
    answer = client.post("/counts", data=body, headers=headers)
    assert (answer.status_code, answer.get_json()["error"]) == (status, code)
    assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a NUL", "a text contains NUL"), ("a name twice", "a name is repeated in one object"),
        ("NaN", "NaN is not a number"), ("minus infinity", "-Infinity is not a number"),
        ("bad UTF-8", "it is not UTF-8"),
        ("half of a surrogate pair", "a text contains half of a surrogate pair"),
        ("deep lists", "it is nested too deeply"),
        ("a number of 5,000 digits", "a number has too many digits"), ("two values", "Extra data: line 1 column 4"),
    ],
)  # fmt: skip
def test_invalid_json_is_refused_with_the_reason(client, name, reason):
    message = client.post("/counts", data=MALFORMED[name], headers=JSON).get_json()["message"]
    assert message.startswith(f"The body is not valid JSON in UTF-8: {reason}")


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON; charset="UTF-8"',
        "application/json;charset=utf8",
    ],
)
def test_media_type_is_case_insensitive_and_may_name_utf_8(client, media_type):
    answer = client.post("/counts", data=b'{"count": 3}', headers={"Content-Type": media_type})
    assert (answer.status_code, answer.get_json()) == (201, {"count": 3})


def test_body_without_a_length_is_read_up_to_the_limit(client):
    """As gunicorn passes on a chunked body: its length is unknown."""
    chunked = {"headers": JSON, "environ_overrides": {"wsgi.input_terminated": True}}
    for body, status in ((b'{"count": 3}', 201), (b" " * 70_000, 413)):
        assert client.post("/counts", input_stream=io.BytesIO(body), **chunked).status_code == status


@pytest.mark.parametrize("given", ["a", "a" * 128, "A-z_0.9:~+/=", "0b5c9c1e-6f5f-4f8e-9d53-6d1f3c7e2a10"])
def test_a_request_id_is_kept(client, given):
    answer = client.get("/live", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "a" * 129,
        "a b",
        "a;b",
        "ä",
        '"',
        "a,b",
        "hf_0123456789abcdef_x",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
        "token=tok_visa",
    ],
)
def test_a_request_id_is_made(client, given):
    headers = {} if given is None else {"X-Request-ID": given}
    first, second = (client.get("/live", headers=headers).headers["X-Request-ID"] for _ in range(2))
    assert str(uuid.UUID(first)) == first != second


def test_request_id_is_cleared_after_a_request(client):
    client.get("/live", headers={"X-Request-ID": "r-9"})
    assert logs.request_id.get() == ""


def test_unknown_path_is_404(client):
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "not_found")
    assert "X-Request-ID" in answer.headers


def test_unsupported_method_is_405(client):
    answer = client.delete("/counts")
    assert (answer.status_code, answer.get_json()["error"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    assert client.options("/counts").status_code == 405, "an answer would need a credential"


def test_path_id_is_lowercased(client):
    some = uuid.uuid4()
    answer = client.get(f"/counts/{str(some).upper()}")
    assert (answer.status_code, answer.headers["X-Count"]) == (203, str(some))
    assert client.get("/counts/7").status_code == 404


def test_live_needs_no_database(client):
    answer = client.get("/live")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "alive", "service": "demo"})


def test_health(url):
    answer = service(url).test_client().get("/health")
    assert answer.status_code == 200
    assert answer.get_json() == {"status": "healthy", "service": "demo", "database": "connected"}


def unhealthy(answer) -> bool:
    body = {"status": "unhealthy", "service": "demo", "database": "disconnected"}
    return (answer.status_code, answer.get_json()) == (503, body)


def test_health_without_a_database(client):
    assert unhealthy(client.get("/health"))


def test_health_with_a_silent_database():
    """A stopped or overloaded server accepts the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = service(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing").test_client()
        started = time.monotonic()
        assert unhealthy(client.get("/health"))
        assert time.monotonic() - started < 2


def test_the_openapi_document(client):
    document = client.get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.")
    assert set(document["paths"]) == {"/counts", "/counts/{count_id}", "/failures/{kind}", "/", "/health", "/live"}
    post = document["paths"]["/counts"]["post"]
    assert set(post["responses"]) == {"201", "400", "401", "403", "413", "415", "503"}
    assert "429" in document["paths"]["/failures/{kind}"]["get"]["responses"]


def test_openapi_document_keeps_the_declared_order(client):
    text = client.get("/openapi.json").text
    assert text.index('"/counts/{count_id}"') < text.index('"components"'), "sorted, the components would come first"


def test_the_openapi_document_names_headers_and_codes(client):
    document = client.get("/openapi.json").get_json()
    responses = document["paths"]["/failures/{kind}"]["get"]["responses"]
    required = {
        status: {name for name, header in response["headers"].items() if header["required"]}
        for status, response in responses.items()
    }
    assert required["200"] == required["404"] == {"X-Request-ID"}
    assert required["429"] == required["503"] == {"X-Request-ID", "Retry-After"}
    _, limits = responses["503"]["content"]["application/json"]["schema"]["allOf"]
    codes = ["service_unavailable", "busy", "database_unavailable", "not_migrated"]
    assert limits == {"properties": {"error": {"enum": codes}}}


def test_the_openapi_document_says_that_probes_need_no_key(client):
    probe = client.get("/openapi.json").get_json()["paths"]["/health"]["get"]
    assert probe["security"] == []
    assert set(probe["responses"]) == {"200", "503"}


def test_the_openapi_document_says_that_a_credential_is_needed(client):
    document = client.get("/openapi.json").get_json()
    assert document["security"] == [{"Bearer": []}]
    assert {"401", "403"} <= set(document["paths"]["/counts"]["post"]["responses"])


def test_every_reference_in_the_openapi_document_resolves(client):
    document = client.get("/openapi.json").get_json()
    references = list(_references(document))
    assert references
    for reference in references:
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def _references(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _references(each)


def test_docs_page_is_served(client):
    assert 'spec-url="openapi.json"' in client.get("/docs").text
    with client.get("/docs/rapidoc-min.js") as script:
        assert script.status_code == 200


def test_refusals_name_what_is_wrong():
    assert ValidationFailed(message=["clashes with nothing"]).details == {"message": ["clashes with nothing"]}
