"""Row 18: fewer pooled connections than threads. Required: a bounded wait, then 503; no deadlock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2

from tests.faults.shared_stack import WEB_PROCESSES, SharedStack
from tests.system.conftest import place
from tests.waiting import eventually

THREADS, CONNECTIONS = 40, 2
# The pool has as many connections as WEB_THREADS says; gunicorn's own words for its threads come after ours.
SMALL_POOL = {
    "WEB_CONCURRENCY": "1",
    "WEB_THREADS": str(CONNECTIONS),
    "GUNICORN_CMD_ARGS": f"--threads {THREADS}",
}


def test_request_without_a_connection_gets_503_in_bounded_time(stack: SharedStack) -> None:
    stack.restart("web", **SMALL_POOL)
    product = stack.product()
    keys = [f"key {number}" for number in range(THREADS)]
    with closing(psycopg2.connect(stack.server.url)) as holder, ThreadPoolExecutor(THREADS) as shops:
        holder.cursor().execute("LOCK TABLE order_ledger")  # a request that gets a connection waits for this
        asked = [shops.submit(stack.post_order, key, product) for key in keys]
        # This takes 2 s. With an unbounded wait, two requests at a time would time out after 8 s: 160 s in all.
        eventually(lambda: sum(answer.done() for answer in asked) >= THREADS // 2, 60)
        holder.rollback()
        answers = [answer.result() for answer in asked]
    assert len(stack.backends("edge_api")) <= CONNECTIONS
    refused = [answer for answer in answers if answer.status_code != 202]
    assert len(refused) >= THREADS // 2
    # A request that gets no connection; one that would have to wait for a thread to call another service.
    reasons = {(answer.status_code, answer.json()["error"]) for answer in refused}
    assert reasons <= {(503, "service_unavailable"), (503, "busy")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert {stack.post_order(key, product).status_code for key in keys} == {202}
    stack.settle()
    assert stack.by_status() == {"COMPLETED": THREADS}


def test_one_connection_for_all_threads_completes_every_order(stack: SharedStack) -> None:
    """A thread that needed a second connection while holding one would deadlock with itself."""
    stack.restart(*WEB_PROCESSES, **SMALL_POOL | {"WEB_THREADS": "1"})
    assert len(set(place(stack, stack.product(), 40).values())) == 40
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 40}
