"""Procrastinate: a chain of four jobs. Each makes one call and defers the next one.

`python -m benchmarks.peers.procrastinate_app feed|work DATABASE_URL STUB_URL CONCURRENCY`
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from procrastinate import App, PsycopgConnector

from benchmarks.contenders.calls import lean_client
from benchmarks.peers.feeder import feed

_, ROLE, DATABASE_URL, STUB_URL, CONCURRENCY = sys.argv
app = App(connector=PsycopgConnector(conninfo=DATABASE_URL, min_size=4, max_size=int(CONCURRENCY) + 2))


def call(number: int, ledger_id: str) -> None:
    lean_client(STUB_URL).step(number, ledger_id)


@app.task(queue="sagas", name="step")
async def step(number: int, ledger_id: str) -> None:
    await asyncio.to_thread(call, number, ledger_id)
    if number < 3:
        await step.defer_async(number=number + 1, ledger_id=ledger_id)


async def work() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(int(CONCURRENCY)))
    async with app.open_async():
        print("ready", flush=True)
        await app.run_worker_async(queues=["sagas"], concurrency=int(CONCURRENCY), delete_jobs="always")


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def defer(ledger_ids: Sequence[str]) -> None:
    async with app.open_async():
        await step.batch_defer_async(*({"number": 0, "ledger_id": ledger_id} for ledger_id in ledger_ids))


if __name__ == "__main__":
    if ROLE == "feed":
        asyncio.run(prepare())
        feed(lambda ledger_ids: asyncio.run(defer(ledger_ids)))
    else:
        asyncio.run(work())
