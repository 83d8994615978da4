"""The server of `/metrics`: what it answers, and what cannot stop it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from common.metrics import exposition
from common.metrics.meters import Web


@pytest.fixture
def served() -> Iterator[tuple[str, Web, CollectorRegistry]]:
    listener = exposition.listen("127.0.0.1", 0)
    assert listener
    registry = CollectorRegistry()
    meter = Web("edge_api", registry)
    exposition.serve(listener, registry)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", meter, registry
    listener.close()


def samples(url: str) -> dict[tuple[str, ...], float]:
    response = requests.get(f"{url}/metrics", timeout=10)
    assert response.status_code == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_scrape_has_the_values(served: Any) -> None:
    url, meter, _ = served
    meter.request("/orders", "POST", 202, 0.02)
    meter.request("/orders", "BREW", 418, None)
    found = samples(url)
    assert found["holdfast_http_requests_total", "POST", "/orders", "edge_api", "2xx"] == 1
    assert found["holdfast_http_requests_total", "other", "/orders", "edge_api", "4xx"] == 1
    assert found["holdfast_http_request_duration_seconds_count", "/orders", "edge_api"] == 1
    assert found["holdfast_http_request_duration_seconds_bucket", "0.025", "/orders", "edge_api"] == 1


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/health"])
def test_other_paths_are_not_found(served: Any, path: str) -> None:
    assert requests.get(served[0] + path, timeout=10).status_code == 404


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_other_methods_are_refused(served: Any, method: str) -> None:
    assert requests.request(method, f"{served[0]}/metrics", timeout=10).status_code == 501


def test_client_that_says_nothing_holds_up_the_next_one_briefly(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "CLIENT_WITHIN_S", 0.1)
    monkeypatch.setattr(exposition._Handler, "timeout", 0.1)
    port = int(served[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET /met")
        assert samples(served[0]) == {}


class Broken:
    def collect(self) -> Any:
        raise ZeroDivisionError


def test_collector_that_fails_is_an_error_of_this_scrape_only(served: Any) -> None:
    url, _, registry = served
    broken = Broken()
    registry._collector_to_names[broken] = []
    assert requests.get(f"{url}/metrics", timeout=10).status_code == 500
    del registry._collector_to_names[broken]
    assert samples(url) == {}


def test_port_that_is_taken_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert exposition.listen("127.0.0.1", other.getsockname()[1]) is None
    assert "cannot listen on METRICS_PORT" in caplog.text


def test_look_that_fails_does_not_end_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "LOOK_EVERY_S", 0.01)
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        raise ZeroDivisionError

    listener = exposition.listen("127.0.0.1", 0)
    assert listener
    exposition.serve(listener, CollectorRegistry(), look)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert samples(url) == samples(url) == {}
    assert looks
    listener.close()
