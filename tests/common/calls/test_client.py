"""Which responses count as yes, no or nothing, and how a request is sent."""

import json

import pytest
import requests
import responses

from common.calls.client import ALWAYS_REFUSALS, No, NotAllowed, Nothing, ServiceClient, Yes
from common.process.logs import request_id

BASE = "http://orders.test"
TAKEN = {"error": "taken", "message": "It is taken.", "details": {"by": "you"}, "request_id": "r"}
REFUSALS = frozenset({"taken"})


@pytest.fixture
def orders():
    return ServiceClient("orders", BASE)


@pytest.fixture
def mocked():
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def answer_to(orders, mocked):
    """Return the client's reading of one response."""

    def ask(status=200, body=None, *, raw=None, refusals=REFUSALS, headers=None, **options):
        text = json.dumps(body) if raw is None else raw
        mocked.add("POST", f"{BASE}/x", body=text, status=status, headers=headers)
        return orders.ask("POST", "/x", {}, refusals=refusals, **options)

    return ask


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_readable_2xx_is_a_yes(answer_to, status):
    assert answer_to(status, {"id": 1}) == Yes({"id": 1})


@pytest.mark.parametrize(
    "raw",
    ["", "{", "<html>", '{"id": 1} {', "[]", '"text"', "1", "null", "true", "[" * 100_000, b"\xff\xfe\xfa", "\x00"],
)
def test_unreadable_2xx_is_nothing(answer_to, raw):
    assert answer_to(raw=raw) == Nothing("orders: unreadable answer with status 200")


@pytest.mark.parametrize(
    "is_yes",
    [
        lambda body: False,
        lambda body: body["other"] == 1,
        lambda body: body["id"]["nested"] == 1,
        lambda body: int(body["name"]) == 1,
        lambda body: all(each > 1 for each in body["id"]),
    ],
)
def test_2xx_about_something_else_is_nothing(answer_to, is_yes):
    found = answer_to(body={"id": 1, "name": "one"}, is_yes=is_yes)
    assert found == Nothing("orders: unreadable answer with status 200")


@pytest.mark.parametrize("status", [400, 402, 404, 409, 422])
def test_expected_refusal_is_a_no(answer_to, status):
    assert answer_to(status, TAKEN) == No("taken", "It is taken.", {"by": "you"})


@pytest.mark.parametrize("code", sorted(ALWAYS_REFUSALS))
def test_common_refusals_are_always_expected(answer_to, code):
    assert answer_to(422, {"error": code}, refusals=frozenset()) == No(code, "")


@pytest.mark.parametrize("details", [None, [], "text", 1])
def test_malformed_details_are_dropped(answer_to, details):
    assert answer_to(409, TAKEN | {"details": details}) == No("taken", "It is taken.")


@pytest.mark.parametrize("status", [400, 402, 404, 409, 422])
@pytest.mark.parametrize(
    "body", [{"error": "other"}, {"error": ["taken"]}, {"error": {"taken": 1}}, {"error": None}, {"code": "taken"}, {}]
)
def test_unexpected_refusal_is_nothing(answer_to, status, body):
    assert answer_to(status, body) == Nothing(f"orders: status {status}")


@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 422, 500, 502])
@pytest.mark.parametrize("raw", ["", "<html>Not Found</html>", '["taken"]', '"taken"'])
def test_refusal_in_another_shape_is_nothing(answer_to, status, raw):
    assert answer_to(status, raw=raw) == Nothing(f"orders: unreadable answer with status {status}")


@pytest.mark.parametrize("status", [405, 408, 410, 413, 415, 418, 425, 429, 500, 501, 502, 503, 504, 520])
def test_other_statuses_are_nothing_whatever_the_body(answer_to, status):
    assert answer_to(status, TAKEN) == Nothing(f"orders: status {status}")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not_found"),
        (405, "method_not_allowed"),
        (409, "request_in_progress"),
        (429, "rate_limited"),
        (503, "gateway_error"),
    ],
)
def test_transient_refusal_is_nothing(answer_to, status, code):
    assert answer_to(status, {"error": code}) == Nothing(f"orders: status {status}")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("raw", ["", "<html>Forbidden</html>", '{"error": "taken"}'])
def test_refused_token_is_not_an_answer_and_is_alarmed_once_a_minute(answer_to, caplog, status, raw):
    assert answer_to(status, raw=raw) == NotAllowed(f"orders: status {status}")
    assert [(each.levelname, "SERVICE_TOKEN_KEYS" in each.message) for each in caplog.records] == [("ERROR", True)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", [f"{BASE}/elsewhere", "http://[", "http://exa℀mple", "ftp://x", "//", ""])
def test_a_redirect_is_not_followed(answer_to, mocked, status, location):
    headers = {"Location": location.encode().decode("latin-1")}
    assert isinstance(answer_to(status, TAKEN, headers=headers), Nothing)
    assert len(mocked.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectTimeout("no answer"),
        requests.ReadTimeout("no answer"),
        requests.ConnectionError("refused by 10.0.0.1"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.ContentDecodingError("not gzip"),
        requests.exceptions.SSLError("expired"),
        requests.exceptions.InvalidURL("no host"),
    ],
)
def test_missing_answer_is_nothing_and_reveals_no_address(answer_to, error):
    assert answer_to(raw=error) == Nothing(f"orders: {type(error).__name__}")


def test_how_a_request_is_sent(orders, mocked):
    mocked.add("POST", f"{BASE}/x", json={})
    token = request_id.set("request-7")
    orders.ask("POST", "/x", {"a": "é", "b": [1]}, params={"ids": "1,2"})
    request_id.reset(token)
    sent = mocked.calls[0].request
    assert json.loads(sent.body) == {"a": "é", "b": [1]}
    assert sent.params == {"ids": "1,2"}
    assert sent.headers["X-Request-ID"] == "request-7"
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.req_kwargs["timeout"] == (2, 8)


def test_a_request_without_a_body(orders, mocked):
    mocked.add("DELETE", f"{BASE}/x", json={})
    assert orders.ask("DELETE", "/x") == Yes({})
    assert mocked.calls[0].request.body is None
