"""`verify_webhook` accepts what Holdfast signs, and raises one exception for everything else."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.webhooks.secrets import SECRET_PREFIX, signature
from holdfast_client import HoldfastError, InvalidWebhook, verify_webhook

# The same in each process of a test run, as they are in the names of tests.
SECRET, OTHER = (SECRET_PREFIX + base64.b64encode(bytes(range(first, first + 32))).decode() for first in (0, 100))
NOW = 1_790_000_000
BODY = json.dumps({"type": "order.completed", "data": {"reference": "Ünal"}}, ensure_ascii=False).encode()


def signed(body=BODY, secrets=(SECRET,), timestamp=NOW):
    return {
        "Webhook-Id": "evt_1",
        "webhook-timestamp": str(timestamp),
        "WEBHOOK-SIGNATURE": signature(secrets, "evt_1", timestamp, body),
    }


def verified(headers=None, body=BODY, secrets=SECRET, now=NOW):
    return verify_webhook(signed() if headers is None else headers, body, secrets, now=lambda: now)


@pytest.mark.parametrize("body", [BODY, BODY.decode(), bytearray(BODY), memoryview(BODY)])
@pytest.mark.parametrize(
    "headers",
    [signed(), {name.encode(): value.encode() for name, value in signed().items()}, list(signed().items())],
)
def test_signed_event_is_returned(headers, body):
    assert verified(headers, body) == json.loads(BODY)


@pytest.mark.parametrize("secrets", [SECRET, SECRET.encode(), [OTHER, SECRET], (SECRET,), iter([SECRET])])
def test_one_of_several_secrets_suffices(secrets):
    assert verified(secrets=secrets) == json.loads(BODY)


def test_one_of_several_signatures_suffices():
    assert verified(signed(secrets=(OTHER, SECRET))) == json.loads(BODY)


def test_time_may_differ_by_five_minutes():
    assert verified(now=NOW + 300) == verified(now=NOW - 300) == json.loads(BODY)
    for now in (NOW + 301, NOW - 301, float("nan")):
        with pytest.raises(InvalidWebhook, match="300 s"):
            verified(now=now)


NO_TEXT = [None, 5, 1.5, True, [], {}, object()]


@pytest.mark.parametrize(
    "headers",
    [
        {}, *({name: value for name, value in signed().items() if name != missing} for missing in signed()),
        signed(secrets=(OTHER,)), signed(body=b"{}"), signed() | {"Webhook-Id": "evt_2"},
        signed() | {"Webhook-Id": ""}, signed() | {"webhook-timestamp": str(NOW + 1)},
        *(signed() | {"webhook-timestamp": text} for text in ["", "soon", "1e9", "-1", "٣", "9" * 400, " 1", "1\n"]),
        *(signed() | {"WEBHOOK-SIGNATURE": text} for text in ["", "v1", "v1,", "v1,!!!", "v2,x"]),
        *(signed() | {"WEBHOOK-SIGNATURE": text} for text in ["v1a,x", "ü", "\ud800"]),
        signed() | {"WEBHOOK-SIGNATURE": signed()["WEBHOOK-SIGNATURE"].replace("v1,", "v1a,")},
        *NO_TEXT, *(signed() | {"Webhook-Id": value} for value in NO_TEXT), [("a",)], "headers", b"headers",
    ],
)  # fmt: skip
def test_request_that_is_not_signed_is_refused(headers):
    with pytest.raises(InvalidWebhook):
        verified(headers if headers is not None else 0)


@pytest.mark.parametrize("body", [*NO_TEXT, b"", "", b"\xff", "\ud800", BODY + b" ", json.loads(BODY)])
def test_body_that_is_not_signed_is_refused(body):
    with pytest.raises(InvalidWebhook):
        verified(body=body)


@pytest.mark.parametrize("body", [b"\xff", b"[]", b"1", b"null", b"", b"{", b"[" * 100_000, b'"x"'])
def test_signed_body_that_is_no_event_is_refused(body):
    with pytest.raises(InvalidWebhook):
        verified(signed(body), body)


@pytest.mark.parametrize(
    "secrets",
    [
        *NO_TEXT, "", b"", "whsec_", "whsec_!!!", [SECRET, ""], [None], "whsec_" + base64.b64encode(b"short").decode(),
        SECRET[:-1], [[SECRET]], "\ud800",
    ],
)  # fmt: skip
def test_secret_that_cannot_be_one_is_refused(secrets):
    with pytest.raises(InvalidWebhook):
        verified(secrets=secrets)


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())


@given(headers=ANYTHING | st.dictionaries(st.text() | st.binary(), ANYTHING), body=ANYTHING, secrets=ANYTHING)
def test_there_is_one_exception_whatever_arrives(headers, body, secrets):
    with pytest.raises(InvalidWebhook):
        verify_webhook(headers, body, secrets)


@given(value=ANYTHING, name=st.sampled_from(sorted(signed())))
def test_there_is_one_exception_whatever_a_header_has(value, name):
    if value != signed()[name]:
        with pytest.raises(InvalidWebhook):
            verified(signed() | {name: value})


def test_exception_is_one_of_the_clients():
    assert issubclass(InvalidWebhook, HoldfastError)
