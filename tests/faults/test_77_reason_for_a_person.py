"""Row 77: the failure reason of an order. Required: it is understandable without other details."""

from __future__ import annotations

from tests.faults.network_faults import Answer
from tests.faults.proxied import ProxiedSystem


def failure(proxied: ProxiedSystem, order_id: str) -> tuple[str, str]:
    order = proxied.ended(order_id)
    assert order.failure is not None
    assert "detail" not in order.failure.message
    return order.failure.code, order.failure.message


def test_refused_capture_says_why(proxied: ProxiedSystem) -> None:
    reason = failure(proxied, proxied.order(token="tok_fail_capture"))
    assert reason == ("payment_declined", "The payment was declined: capture_refused.")
    proxied.settle()


def test_missing_stock_names_the_sku_and_what_is_left(proxied: ProxiedSystem) -> None:
    product = proxied.stack.product(stock=2)
    ((sku,),) = [row.values() for row in proxied.sql("SELECT sku FROM products WHERE id = %(id)s", id=product)]
    code, message = failure(proxied, proxied.order(product=product, quantity=3))
    assert code == "insufficient_stock"
    assert message == f"There is not enough of {sku} in stock: 3 requested, 2 available."
    proxied.settle()


def test_rejected_request_names_the_fields(proxied: ProxiedSystem) -> None:
    body = {"error": "validation_error", "message": "No.", "details": {"items": ["Too many."]}}
    proxied.proxy.on("reserve", times=1, do=Answer(400, body))
    code, message = failure(proxied, proxied.order())
    assert (code, message) == ("validation_error", 'The request was rejected as invalid: {"items":["Too many."]}')
    proxied.settle()
