"""The machine that the figures were measured on, and the cost of a write and a call there."""

from __future__ import annotations

import os
import platform
import subprocess
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
from benchmarks.processes import python_of
from benchmarks.stub import Stub

# A build without profile-guided optimisation needs about a fifth more CPU. Debian optimises without the option.
BUILD = """
import platform, sys, sysconfig
is_optimised = sys.base_prefix == "/usr" or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
print(platform.python_version() + (", optimised build" if is_optimised else ", build without optimisation"))
"""
LIBRARIES = ("requests", "urllib3", "psycopg2-binary", "flask", "gunicorn", "sqlalchemy")
SYNCS = 200
BLOCK = b"x" * 8192  # a page of PostgreSQL's log
SAGAS = 100  # of four calls


def describe(bench: Bench) -> dict[str, str]:
    """Describe the machine, by name."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_gb:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": python_build(python_of(bench.checkout)),
        "PostgreSQL": _postgres_version(bench.server.url),
        "libraries": ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES),
        "peers": ", ".join(requirements()) if bench.peers else "left out",
    }


def costs(bench: Bench) -> Mapping[str, float]:
    """The machine's speed, measured at the start and at the end because it drifts."""
    return {"fdatasync, median ms": _sync_ms(bench.folder), "a bare requests call, CPU ms": call_ms(bench)}


def python_build(python: Path) -> str:
    """The version of an interpreter, and whether its build is optimised."""
    return subprocess.run([python, "-c", BUILD], capture_output=True, text=True, check=True).stdout.strip()


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
    """CPU of the caller: one thread, one `requests.Session` used in the usual way, 300 bytes in each direction."""
    with Stub(bench.folder / "stub") as stub:
        client = UsualClient(stub.url)
        client.saga(str(uuid.uuid4()))
        began = time.process_time()
        for _ in range(SAGAS):
            client.saga(str(uuid.uuid4()))
        return (time.process_time() - began) / SAGAS / 4 * 1000
