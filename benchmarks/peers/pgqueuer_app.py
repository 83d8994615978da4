"""PgQueuer: a chain of four jobs. Each makes one call and enqueues the next one.

`python -m benchmarks.peers.pgqueuer_app feed|work DATABASE_URL STUB_URL CONCURRENCY`
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.contenders.calls import lean_client, usual_client
from benchmarks.peers.feeder import feed

_, ROLE, DATABASE_URL, STUB_URL, CONCURRENCY = sys.argv
BATCH = int(CONCURRENCY)


def call(number: int, ledger_id: str) -> None:
    client = usual_client if os.environ.get("CLIENT") == "usual" else lean_client
    client(STUB_URL).step(number, ledger_id)


async def work() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(int(CONCURRENCY)))
    pool = await asyncpg.create_pool(DATABASE_URL, min_size=4, max_size=4)
    manager = PgQueuer.from_asyncpg_pool(pool)
    queries = Queries.from_asyncpg_pool(pool)

    def register(number: int) -> None:
        @manager.entrypoint(f"step{number}")
        async def step(job: Job) -> None:
            ledger_id = (job.payload or b"").decode()
            await asyncio.to_thread(call, number, ledger_id)
            if number < 3:
                await queries.enqueue(f"step{number + 1}", job.payload)

    for number in range(4):
        register(number)
    print("ready", flush=True)
    await manager.run(batch_size=BATCH, max_concurrent_tasks=2 * BATCH)  # the minimum for this batch size


async def prepare() -> None:
    connection = await asyncpg.connect(DATABASE_URL)
    await Queries.from_asyncpg_connection(connection).install()
    await connection.close()


async def enqueue(ledger_ids: Sequence[str]) -> None:
    connection = await asyncpg.connect(DATABASE_URL)
    payloads: list[bytes | None] = [ledger_id.encode() for ledger_id in ledger_ids]
    await Queries.from_asyncpg_connection(connection).enqueue(["step0"] * len(payloads), payloads, [0] * len(payloads))
    await connection.close()


if __name__ == "__main__":
    if ROLE == "feed":
        asyncio.run(prepare())
        feed(lambda ledger_ids: asyncio.run(enqueue(ledger_ids)))
    else:
        uvloop.run(work())
