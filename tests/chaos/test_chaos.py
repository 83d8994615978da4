"""The short form of a chaos run."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.options import Options
from tests.chaos.plan import Plan
from tests.system.running import PROJECT, Running, descendants, is_alive
from tests.waiting import eventually

SHORT = {
    "SEED": "48",
    "ORDERS": "120",
    "RATE": "10",
    "SECONDS": "60",  # on a busy machine, processes that are killed so often start more slowly than they are killed
    "KILL_EVERY_S": "1.5",
    "RESTART_EVERY_S": "6",
    "FREEZE_EVERY_S": "6",
    "LOCK_EVERY_S": "6",
    "HANG_EVERY_S": "12",
    "POISON_EVERY_S": "6",
    "LEASE_S": "2",
    "RETRY_BASE_S": "0.1",
    "ABANDONED_AFTER_S": "5",
    "POLL_INTERVAL_S": "0.5",
    "WEBHOOK_TIMEOUT_S": "1",
    "WEBHOOK_LEASE_S": "2",
    "WEBHOOK_POLL_INTERVAL_S": "0.2",
    "RECEIVER_EVERY_S": "6",
}
AGAIN = """ORDERS SEED RATE SECONDS KILL_EVERY_S RESTART_EVERY_S FREEZE_EVERY_S LOCK_EVERY_S HANG_EVERY_S
    RECEIVER_EVERY_S POISON_EVERY_S RETRY_BASE_S LEASE_S ABANDONED_AFTER_S POLL_INTERVAL_S WEBHOOK_TIMEOUT_S
    WEBHOOK_LEASE_S WEBHOOK_POLL_INTERVAL_S""".split()
ENDS_WITHIN_S = 600  # a minute, and much longer on a busy machine


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`storm(ORDERS="10")`: the running command; its folder is in `tmp_path`."""
    started: list[Running] = []

    def begin(**environ: str) -> Running:
        command = [sys.executable, "-m", "tests.chaos"]
        environ = {**SHORT, "PYTHONPATH": str(PROJECT), **environ}
        started.append(Running(command, tmp_path / "output", cwd=tmp_path, **environ))
        return started[-1]

    yield begin
    for each in started:
        each.clean_up()


def figures(folder: Path) -> dict[str, Any]:
    (found,) = folder.glob("var/chaos/*/figures.json")
    return dict(json.loads(found.read_text()))


def test_disturbed_system_keeps_every_promise(storm: Callable[..., Running], tmp_path: Path) -> None:
    running = storm()
    code = running.process.wait(ENDS_WITHIN_S)
    assert code == 0, running.output
    found = figures(tmp_path)
    assert 0 < found["orders"] <= 120
    assert found["findings"] == []
    assert found["unanswered"] == found["audit_rows"] == 0
    assert found["settle_s"]["n"] == sum(found["states"].values()) >= found["orders"] - found["given_up"]
    assert found["states"]["COMPLETED"] > 0  # how many depends on the machine: when it is slow, more are abandoned
    assert sum(sum(ways.values()) for ways in found["kills"].values()) >= 3
    assert found["restarts"] >= 1
    assert found["freezes"] >= 1
    assert found["locks"] >= 1
    assert found["hangs"] >= 1
    assert found["poisoned"] >= 1
    assert sum(found["mishaps"].values()) >= 1
    assert found["answers"]["503"] >= 1
    assert found["audits_in_storm"] >= 1
    assert found["cancels"]["accepted"] >= 1
    assert found["refunds"]["SUCCEEDED"] >= 1
    assert found["events"] == found["delivery_s"]["n"]
    assert found["deliveries"]["204"] >= found["events"]
    assert found["receiver_deaths"] >= 1
    again = running.output.partition("again  ")[2].splitlines()[0]
    assert again == "make chaos " + " ".join(f"{name}={SHORT[name]}" for name in AGAIN)


def test_ctrl_c_stops_everything(storm: Callable[..., Running], tmp_path: Path) -> None:
    running = storm()
    running.says("orders begun")
    started = descendants(running.process.pid)
    assert len(started) > 10
    assert running.ends(signal.SIGINT) == 130, running.output
    eventually(lambda: not any(map(is_alive, started)), 60)


def test_invalid_setting_is_named(storm: Callable[..., Running]) -> None:
    running = storm(KILL_EVERY_S="often")
    assert running.ends() == 2
    assert running.output == "KILL_EVERY_S must be a number from 0 to 86400\n"


def test_seed_alone_makes_the_plan() -> None:
    def plan(seed: str) -> tuple[Any, ...]:
        made = Plan(Options.load({"SEED": seed, "ORDERS": "50"}))
        planned = [made.kills(), made.freezes(), made.restarts(), made.locks(), made.hangs(), made.poisons()]
        planned.append(made.receiver_deaths())
        return made.products, tuple(made.orders()), *(list(islice(each, 9)) for each in planned)

    assert plan("7") == plan("7")
    for of_one, of_another in zip(plan("7"), plan("8"), strict=True):
        assert of_one != of_another
