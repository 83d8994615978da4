"""Row 76: a 503 uses up a rate token. Required: only a request that is served counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.network_faults import DropRequest
from tests.faults.proxied import ProxiedSystem


@pytest.fixture
def web(proxied: ProxiedSystem) -> Iterator[str]:
    with proxied.other("web", RATE_LIMIT_PER_MINUTE="1") as web:
        yield web


def test_order_that_was_not_accepted_does_not_count(proxied: ProxiedSystem, web: str) -> None:
    proxied.proxy.on("prices", times=3, do=DropRequest())
    answers = [proxied.post("key-1", web=web).status_code for _ in range(4)]
    assert answers == [503, 503, 503, 202]
    assert proxied.post("key-2", web=web).status_code == 429
    proxied.settle()
