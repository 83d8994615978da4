"""DBOS Transact: a workflow of four steps, taken from a queue.

`python -m benchmarks.peers.dbos_app feed|work DATABASE_URL STUB_URL THREADS`
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.contenders.calls import lean_client
from benchmarks.peers.feeder import feed

POLL_EVERY_S = 0.01  # how often a worker polls for workflows; 0.1 s was not better
_, ROLE, DATABASE_URL, STUB_URL, THREADS = sys.argv

RELEASE = sa.text("UPDATE dbos.workflow_status SET queue_name = 'sagas' WHERE queue_name = 'parked'")


@DBOS.step()
def call(number: int, ledger_id: str) -> None:
    lean_client(STUB_URL).step(number, ledger_id)


@DBOS.workflow()
def saga(ledger_id: str) -> None:
    for number in range(4):
        call(number, ledger_id)


def config() -> DBOSConfig:
    return {
        "name": "bench",
        "system_database_url": DATABASE_URL,
        "sys_db_pool_size": int(THREADS) + 2,
        "max_executor_threads": int(THREADS) + 8,  # DBOS's own loops need some
        "executor_id": f"worker-{os.getpid()}",
        "application_version": "1",
        "log_level": "WARNING",
    }


def work() -> None:
    DBOS(config=config())
    DBOS.launch()
    DBOS.register_queue(
        "sagas", worker_concurrency=int(THREADS), polling_interval_sec=POLL_EVERY_S, on_conflict="always_update"
    )
    print("ready", flush=True)
    while True:
        signal.pause()


def prepare() -> None:
    """Launching DBOS creates its tables."""
    DBOS(config=config())
    DBOS.launch()
    DBOS.destroy()


def feeder() -> None:
    prepare()
    client = DBOSClient(system_database_url=DATABASE_URL)
    engine = sa.create_engine(DATABASE_URL.replace("postgresql://", "postgresql+psycopg://"))

    def put(ledger_ids: Sequence[str]) -> None:
        """The client enqueues one by one, each in its own commit, so they wait in a queue without workers."""
        for ledger_id in ledger_ids:
            client.enqueue({"workflow_name": "saga", "queue_name": "parked", "app_version": "1"}, ledger_id)
        with engine.begin() as connection:
            connection.execute(RELEASE)

    feed(put)


if __name__ == "__main__":
    feeder() if ROLE == "feed" else work()
