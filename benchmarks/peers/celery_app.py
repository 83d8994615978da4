"""Celery with Redis: a chain of four tasks, each acknowledged after it is done.

`python -m benchmarks.peers.celery_app feed|work REDIS_URL STUB_URL CONCURRENCY`
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import redis
from celery import Celery, chain
from celery.signals import worker_ready

from benchmarks.contenders.calls import lean_client
from benchmarks.peers.feeder import feed

_, ROLE, REDIS_URL, STUB_URL, CONCURRENCY = sys.argv
app = Celery("bench", broker=REDIS_URL, backend=None)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_default_queue="sagas",
    worker_prefetch_multiplier=16,
    broker_connection_retry_on_startup=True,
)


@app.task(name="step")
def step(number: int, ledger_id: str) -> None:
    lean_client(STUB_URL).step(number, ledger_id)


@worker_ready.connect
def say_ready(**_: Any) -> None:
    print("ready", flush=True)


def work() -> None:
    arguments = ["--pool", "threads", "--concurrency", CONCURRENCY, "--loglevel", "WARNING"]
    app.worker_main(["worker", *arguments, "--without-gossip", "--without-mingle", "--without-heartbeat"])


def feeder() -> None:
    broker = redis.Redis.from_url(REDIS_URL)

    def put(ledger_ids: Sequence[str]) -> None:
        """The client sends the chains one by one, so they wait in a queue without workers."""
        for ledger_id in ledger_ids:
            first, *others = (step.si(number, ledger_id) for number in range(4))
            chain(first.set(queue="parked"), *(each.set(queue="sagas") for each in others)).apply_async()
        broker.rename("parked", "sagas")

    feed(put)


if __name__ == "__main__":
    feeder() if ROLE == "feed" else work()
