"""The traces of an order, with all processes and a collector."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import requests

from tests import credentials
from tests.collector import Collector, Place, Span
from tests.system.conftest import place
from tests.system.stack import Stack
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver

Start = Callable[..., Stack]
Settle = Callable[..., None]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STEPS = {
    "create_order": ("orders_service", "orders", "POST /orders"),
    "reserve_inventory": ("inventory_service", "inventory", "POST /inventory/reservations"),
    "capture_payment": ("payments_service", "payments", "POST /payments/capture/{authorization_id}"),
    "confirm_order": ("orders_service", "orders", "PUT /orders/{order_id}/confirm"),
}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def traced(start: Start, collector: Collector) -> Callable[..., Stack]:
    """The whole system, which exports its spans at once."""

    def traced(**environ: str) -> Stack:
        return start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50", **environ)

    return traced


def order(stack: Stack, product: str, **headers: str) -> str:
    """Place an order. :returns: its id in the ledger"""
    body = {
        "user_id": str(uuid.uuid4()),
        "email": "a@b.example",
        "items": [{"product_id": product, "quantity": 1}],
        "payment": {"method": "card", "token": "tok_visa"},
    }
    answer = requests.post(
        f"{stack.url('web')}/orders", json=body, headers={"Idempotency-Key": uuid.uuid4().hex, **headers}, timeout=20
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_ledger_id"])


def stored(url: str, table: str = "order_ledger") -> list[str | None]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT trace_parent FROM {table}")
        return [trace_parent for (trace_parent,) in cursor.fetchall()]


def below(collector: Collector, parent: Span) -> list[Span]:
    return [span for span in list(collector.spans) if (span.trace_id, span.parent_id) == parent.place]


def only(spans: list[Span]) -> Span:
    (span,) = spans
    return span


def claims(collector: Collector, ledger_id: str, kind: str = "sale") -> list[Span]:
    """In the order of their numbers."""
    found = [
        each for each in collector.named(f"saga {kind}") if each.attributes["holdfast.order_ledger_id"] == ledger_id
    ]
    return sorted(found, key=lambda each: int(str(each.attributes["holdfast.claim_number"])))


def test_one_trace_has_the_order_from_the_post_to_the_confirmation(
    traced: Callable[..., Stack], collector: Collector, settle: Settle
) -> None:
    stack = traced()
    ledger_id = order(stack, stack.product(), traceparent=f"00-{TRACE}-{SPAN}-01")
    settle()
    claim = only(eventually(lambda: claims(collector, ledger_id)))
    eventually(lambda: len([each for each in collector.spans if each.trace_id == TRACE]) == 18)
    post = only([each for each in collector.named("POST /orders", TRACE) if each.service == "holdfast-edge_api"])
    assert (post.parent_id, post.kind) == (SPAN, "SERVER")
    assert post.attributes["http.response.status_code"] == 202
    calls = {span.name: span for span in below(collector, post)}
    assert set(calls) == {"GET inventory", "POST payments", "saga sale"}
    assert only(below(collector, calls["GET inventory"])).name == "GET /inventory/products"
    authorize = only(below(collector, calls["POST payments"]))
    assert (authorize.name, authorize.service) == ("POST /payments/authorize", "holdfast-payments_service")
    assert calls["saga sale"] == claim
    assert claim.links == [post.place]
    assert_steps(collector, claim, ledger_id)
    assert f'"trace_id": "{TRACE}"' in stack.log("web")
    assert f'"trace_id": "{TRACE}"' in stack.log("orchestrator.1")


def assert_steps(collector: Collector, claim: Span, ledger_id: str) -> None:
    steps = {span.name: span for span in below(collector, claim)}
    assert set(steps) == set(STEPS)
    for name, (service, participant, route) in STEPS.items():
        assert steps[name].attributes["holdfast.answer"] == "yes"
        assert steps[name].attributes["holdfast.order_ledger_id"] == ledger_id
        call = only(below(collector, steps[name]))
        assert (call.kind, call.service) == ("CLIENT", "holdfast-orchestrator")
        assert call.attributes["peer.service"] == participant
        server = only(below(collector, call))
        assert (server.name, server.service, server.kind) == (route, f"holdfast-{service}", "SERVER")


def test_retry_has_a_trace_of_its_own_with_a_link(
    traced: Callable[..., Stack], collector: Collector, settle: Settle
) -> None:
    stack = traced(RETRY_MAX_ATTEMPTS="20")
    stack.stop("orders_service")
    ledger_id = order(stack, stack.product())
    eventually(lambda: len(claims(collector, ledger_id)) >= 2)
    stack.start("orders_service")
    settle()
    found = eventually(lambda: has_ended(claims(collector, ledger_id)))
    post = only(eventually(lambda: edge_spans(collector)))
    assert (found[0].trace_id, found[0].parent_id) == post.place
    assert len({each.trace_id for each in found}) == len(found) > 1
    assert all((each.parent_id, each.links) == ("", [post.place]) for each in found[1:])
    assert only(below(collector, found[0])).attributes["holdfast.answer"] == "nothing"


def has_ended(found: list[Span]) -> list[Span]:
    return found if found and found[-1].attributes["holdfast.status"] == "COMPLETED" else []


def edge_spans(collector: Collector, name: str = "POST /orders") -> list[Span]:
    return [each for each in collector.named(name) if each.service == "holdfast-edge_api"]


def test_refund_and_deliveries_are_linked_to_the_order(
    traced: Callable[..., Stack], collector: Collector, settle: Settle, url: str
) -> None:
    stack = traced(WEBHOOK_ALLOW_NETWORKS="127.0.0.0/8", WEBHOOK_POLL_INTERVAL_S="0.05")
    stack.start("webhooks")
    with Receiver() as receiver:
        with stack.client(api_key=credentials.EDGE_KEY) as client:
            client.create_webhook_endpoint(url=f"{receiver.url}/secret")
        ledger_id = order(stack, stack.product())
        settle()
        refunds = f"{stack.url('web')}/orders/{ledger_id}/refunds"
        assert requests.post(refunds, json={"reason": "other"}, headers=keyed(), timeout=20).status_code == 202
        deliveries = eventually(lambda: at_least(3, collector.named("webhook delivery")))
    refund = only(eventually(lambda: claims(collector, ledger_id, "refund")))
    post = only(eventually(lambda: edge_spans(collector)))
    refund_post = only(eventually(lambda: edge_spans(collector, "POST /orders/{order_ledger_id}/refunds")))
    assert (refund.trace_id, refund.parent_id) == refund_post.place
    assert refund_post.trace_id != post.trace_id
    assert refund.links == [refund_post.place, post.place]
    assert all((each.parent_id, each.links) == ("", [post.place]) for each in deliveries)
    assert "secret" not in str(deliveries)
    assert places(stored(url)) == [post.place]
    assert places(stored(url, "refunds")) == [refund_post.place]


def keyed() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def at_least(number: int, spans: list[Span]) -> list[Span]:
    return spans if len(spans) >= number else []


def places(trace_parents: list[Any]) -> list[Place]:
    return [(trace_parent[3:35], trace_parent[36:52]) for trace_parent in trace_parents]


def test_each_worker_exports_its_own_spans(traced: Callable[..., Stack], collector: Collector) -> None:
    """The provider is made after the fork: its spans have the worker's process id."""
    stack = traced()

    def exporters() -> set[int]:
        requests.get(f"{stack.url('inventory_service')}/", headers={"Connection": "close"}, timeout=20)
        return {each.pid for each in list(collector.spans) if each.service == "holdfast-inventory_service"}

    workers = set(stack.workers("inventory_service"))
    assert len(workers) == 2
    assert eventually(lambda: (found := exporters()) >= workers and found, 30) == workers


def test_last_spans_are_exported_at_the_stop(start: Start, collector: Collector) -> None:
    stack = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="3600000")
    ledger_id = order(stack, stack.product())
    eventually(lambda: '"action": "confirm_order"' in stack.log("orchestrator.1"))
    for name in ("web", "orchestrator.1"):
        assert stack.stop(name) == 0
    assert len(claims(collector, ledger_id)) == len(edge_spans(collector)) == 1


@pytest.mark.parametrize("how", ["hangs", "is dead"])
def test_collector_that_fails_changes_nothing(
    traced: Callable[..., Stack], collector: Collector, settle: Settle, how: str
) -> None:
    collector.is_hanging = how == "hangs"
    elsewhere = {} if how == "hangs" else {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}
    stack = traced(OTEL_BSP_MAX_QUEUE_SIZE="16", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4", **elsewhere)
    placed = place(stack, stack.product(), 40)
    assert len(set(placed.values())) == 40
    settle()
    names = list(stack.processes)
    assert [stack.stop(name) for name in names] == [0] * len(names)
    assert collector.spans == []
    assert all(stack.log(name).count("traces are incomplete") <= 2 for name in names), "once a minute and worker"


def test_nothing_is_stored_where_tracing_is_off(start: Start, settle: Settle, url: str) -> None:
    stack = start()
    order(stack, stack.product(), traceparent=f"00-{TRACE}-{SPAN}-01")
    settle()
    assert stored(url) == [None]
    assert "trace_id" not in stack.log("web") + stack.log("orchestrator.1")
