"""The machine that the figures were measured on: what it is, and what a write and a call cost there."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from importlib import metadata
from pathlib import Path
from statistics import median

import psycopg2

from benchmarks.bench import Bench
from benchmarks.contenders.calls import UsualClient
from benchmarks.peers.environment import requirements
from benchmarks.stub import Stub

LIBRARIES = ("requests", "urllib3", "psycopg2-binary", "flask", "gunicorn", "sqlalchemy")
SYNCS = 200
BLOCK = b"x" * 8192  # a page of PostgreSQL's log
SAGAS = 100  # of four calls


def describe(bench: Bench) -> dict[str, str]:
    """What it is, by name, in words."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_gb:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": _postgres_version(bench.server.url),
        "libraries": ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES),
        "peers": ", ".join(requirements()) if bench.peers else "left out",
    }


def costs(bench: Bench) -> Mapping[str, float]:
    """What the figures should be seen against. Taken at the start and at the end, as a machine's speed drifts."""
    return {"fdatasync, median ms": _sync_ms(bench.folder), "a bare requests call, CPU ms": call_ms(bench)}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _postgres_version(url: str) -> str:
    with closing(psycopg2.connect(url)) as connection:
        return str(connection.info.parameter_status("server_version"))


def _sync_ms(folder: Path) -> float:
    seconds = []
    with (folder / "syncs").open("wb", buffering=0) as target:
        for _ in range(SYNCS):
            target.write(BLOCK)
            began = time.perf_counter()
            os.fdatasync(target.fileno())
            seconds.append(time.perf_counter() - began)
    return median(seconds) * 1000


def call_ms(bench: Bench) -> float:
    """CPU of the caller alone: one thread, one `requests.Session` used the usual way, 300 bytes there and back."""
    with Stub(bench.folder / "stub") as stub:
        client = UsualClient(stub.url)
        client.saga(str(uuid.uuid4()))
        began = time.process_time()
        for _ in range(SAGAS):
            client.saga(str(uuid.uuid4()))
        return (time.process_time() - began) / SAGAS / 4 * 1000
