"""Row 43: the disk is full, the database is read-only. Required: 503; every acknowledged order is stored.

The system recovers by itself when the fault is over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from local.binaries import server_account
from tests.emptied import EMPTY_WITH_NEW_FILES
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack
from tests.waiting import eventually

ORDERS = 12
MOVE = "ALTER TABLE ALL IN TABLESPACE {0} SET TABLESPACE {1}; ALTER INDEX ALL IN TABLESPACE {0} SET TABLESPACE {1}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on its own disk of eight megabytes. The empty tables and indexes take nearly two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "holdfast-test", str(disk)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        os.chown(disk, *server_account())
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def tables_on(stack: SharedStack, disk: Path) -> Iterator[None]:
    stack.sql(EMPTY_WITH_NEW_FILES)
    stack.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
    stack.sql(MOVE.format("pg_default", "small"))
    try:
        yield
    finally:
        stack.sql(MOVE.format("small", "pg_default"))
        stack.sql("DROP TABLESPACE small")


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(512))


def refused(stack: SharedStack, product: str) -> list[str]:
    """Place orders while writes fail, and return the keys of the refused ones. All others must be stored."""
    keys = [f"key {number}" for number in range(ORDERS)]
    with ThreadPoolExecutor(4) as shops:
        answers = dict(zip(keys, shops.map(lambda key: stack.post_order(key, product), keys), strict=True))
    for answer in answers.values():
        assert answer.status_code in (202, 503), answer.text
    for answer in (answer for answer in answers.values() if answer.status_code == 503):
        assert answer.json()["error"] in ("database_unavailable", "gateway_error", "service_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    taken = {answer.json()["order_ledger_id"] for answer in answers.values() if answer.status_code == 202}
    kept = stack.sql("SELECT id::text FROM order_ledger WHERE status <> 'AWAITING_AUTHORIZATION'")
    assert taken <= {id_ for (id_,) in kept}
    return [key for key, answer in answers.items() if answer.status_code == 503]


def all_are_taken(stack: SharedStack, product: str) -> None:
    for number in range(ORDERS):
        eventually(lambda key=f"key {number}": stack.post_order(key, product).status_code == 202)
    stack.settle()


def test_full_disk_gives_503_and_recovers(stack: SharedStack, small_disk: Path) -> None:
    """New orders are refused; accepted ones wait."""
    stack.end(*ORCHESTRATORS)
    with tables_on(stack, small_disk):
        product = stack.product()
        stack.backlog(ORDERS, [product])
        fill(small_disk)
        stack.start(*ORCHESTRATORS, RETRY_MAX_ATTEMPTS="20")  # with such short delays, five attempts are soon used up
        assert refused(stack, product)
        eventually(lambda: "No space left on device" in stack.log("orchestrator.1") + stack.log("orchestrator.2"))
        (small_disk / "ballast").unlink()
        all_are_taken(stack, product)
        assert stack.by_status() == {"COMPLETED": 2 * ORDERS}


def test_read_only_database_gives_503_and_recovers(stack: SharedStack) -> None:
    """As a provider does when a quota is exceeded. Connections opened meanwhile keep the setting."""
    product = stack.product()
    set_read_only(stack, "on")
    stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> ''")
    try:
        assert len(refused(stack, product)) == ORDERS
    finally:
        set_read_only(stack, "off")
    all_are_taken(stack, product)
    assert stack.by_status() == {"COMPLETED": ORDERS}


def set_read_only(stack: SharedStack, setting: str) -> None:
    """Set it for new connections."""
    stack.sql(f"BEGIN READ WRITE; ALTER DATABASE holdfast SET default_transaction_read_only = {setting}; COMMIT")
