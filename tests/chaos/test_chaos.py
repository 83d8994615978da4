"""The short form of a chaos run."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from tests.chaos.conftest import ENDS_WITHIN_S, SHORT, figures
from tests.chaos.options import Options
from tests.chaos.plan import Plan
from tests.system.running import Running, descendants, is_alive
from tests.waiting import eventually

AGAIN = """ORDERS SEED RATE SECONDS KILL_EVERY_S RESTART_EVERY_S FREEZE_EVERY_S LOCK_EVERY_S HANG_EVERY_S
    RECEIVER_EVERY_S POISON_EVERY_S RETRY_BASE_S LEASE_S ABANDONED_AFTER_S POLL_INTERVAL_S WEBHOOK_TIMEOUT_S
    WEBHOOK_LEASE_S WEBHOOK_POLL_INTERVAL_S""".split()


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
    assert found["operators"]["pages"] >= 10
    assert sum(number for name, number in found["operators"].items() if re.fullmatch("order.[a-z_]+", name)) >= 1
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
