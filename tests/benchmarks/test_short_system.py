"""The short form of the parts that run the whole system. No test checks a speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ledger import percentile
from tests.benchmarks.test_short import bench, need_nginx

PARTS = "system,latency,growth,contention"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    need_nginx()
    folder: Path = tmp_path_factory.mktemp("bench") / "out"
    done = bench("--short", "--only", PARTS, "--out", str(folder))
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "results.json").read_text())["parts"]
    for part in found:
        assert all((folder / f"{part['key']}-{number + 1}.svg").exists() for number in range(len(part["charts"])))
    return {part["key"]: part for part in found}


def values(part: dict[str, Any], column: str) -> dict[str, float]:
    """The one value of each row in the column."""
    return {row["name"]: row["values"][column][0] for row in part["rows"] if column in row["values"]}


@pytest.mark.parametrize("key", PARTS.split(","))
def test_each_column_and_each_ratio_has_numbers(parts: dict[str, dict[str, Any]], key: str) -> None:
    part = parts[key]
    for column in part["columns"]:
        assert all(value >= 0 for value in values(part, column).values())
        assert any(value > 0 for value in values(part, column).values()), column
    assert part["ratios"]
    assert all(0 < ratio["low"] <= ratio["value"] <= ratio["high"] for ratio in part["ratios"])


def test_cost_of_each_process_is_known(parts: dict[str, dict[str, Any]]) -> None:
    memory, cpu = values(parts["system"], "memory"), values(parts["system"], "cpu_of_each")
    processes = {"web", "orders_service", "inventory_service", "payments_service", "orchestrator", "PostgreSQL"}
    assert processes <= memory.keys()
    assert processes <= cpu.keys()
    for each in memory, cpu:
        together = each["all processes together"]
        assert together == pytest.approx(sum(value for name, value in each.items() if name in processes))


def test_growth_has_both_sizes(parts: dict[str, dict[str, Any]]) -> None:
    assert set(values(parts["growth"], "claim")) == {"100 finished orders", "1,000 finished orders"}


def test_percentile_is_one_of_the_values() -> None:
    assert percentile([3, 1, 2], 50) == 2
    assert percentile(range(1, 101), 99) == 99
    assert percentile([7], 99) == 7
