"""Row 53: a refusal whose text has a NUL or half of a surrogate pair, or an answer without end.

Required: an unreadable answer counts as *nothing*. The call is repeated, and the entry continues.
"""

from __future__ import annotations

import json

import pytest

from tests.faults.network_faults import Answer
from tests.faults.proxied import ProxiedSystem

ODD_TEXTS = {
    "NUL": b"\\u0000",
    "half of a surrogate pair": b"\\ud83d",
    "the other half": b"\\udc00",
    "raw control character": b"\x00",
    "not UTF-8": b"\xff",
}


def refusal(code: str, text: bytes) -> bytes:
    return b'{"error": "%s", "message": "No %s.", "request_id": "r"}' % (code.encode(), text)


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_refusal_that_cannot_be_stored_is_retried(proxied: ProxiedSystem, text: bytes) -> None:
    proxied.proxy.on("capture", times=2, do=Answer(402, refusal("payment_declined", text)))
    order = proxied.ended(proxied.order())
    assert order.status == "COMPLETED"
    assert len(proxied.proxy.calls("capture")) == 3
    proxied.settle()


def test_undo_whose_refusal_cannot_be_stored_is_retried(proxied: ProxiedSystem) -> None:
    proxied.proxy.on("void", times=2, do=Answer(409, refusal("already_captured", b"\\u0000")))
    proxied.proxy.on("release", times=2, do=Answer(400, refusal("validation_error", b"\\ud800")))
    order = proxied.ended(proxied.order(token="tok_fail_capture"))
    assert order.status == "FAILED"
    assert proxied.movements(order) == ["authorize", "void"]
    proxied.settle()


def test_long_refusal_is_stored_shortened(proxied: ProxiedSystem) -> None:
    text = json.dumps("\x1b\n" + "x" * 500_000).encode()[1:-1]
    proxied.proxy.on("reserve", times=1, do=Answer(409, refusal("insufficient_stock", text)))
    order = proxied.ended(proxied.order())
    assert order.failure is not None
    assert order.failure.message.startswith("No  xxx")
    assert len(order.failure.message) == 500
    proxied.settle()


@pytest.mark.parametrize("status", [200, 409])
def test_endless_answer_is_not_read_to_the_end(proxied: ProxiedSystem, status: int) -> None:
    proxied.proxy.on("reserve", times=2, do=Answer(status, b'{"order_id": "' + b"x" * 5_000_000 + b'"}'))
    order = proxied.ended(proxied.order())
    assert order.status == "COMPLETED"
    proxied.settle()
