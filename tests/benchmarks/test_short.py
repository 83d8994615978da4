"""The short form of the benchmark: every part works and has figures. No test checks a speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.programs import NotInstalled, program

PROJECT = Path(__file__).resolve().parents[2]
WITHIN_S = 300  # takes 15 to 60 s on an idle machine, and several times as long next to other tests on two cores


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the parts that need nginx. The peers are left out: CI does not install their packages."""
    need_nginx()
    folder = tmp_path_factory.mktemp("bench") / "out"
    done = bench("--short", "--without-peers", "--only", "engine,waiting", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "results.md").read_text() in done.stdout
    return folder


@pytest.fixture
def part(results: Path) -> Callable[[str], dict[str, Any]]:
    found = {part["key"]: part for part in json.loads((results / "results.json").read_text())["parts"]}
    return lambda key: found[key]


def need_nginx() -> None:
    if os.environ.get("CI"):
        program("nginx", "nginx-light")  # in CI, a test that cannot run is a failure
        return
    try:
        program("nginx", "nginx-light", install=False)
    except NotInstalled as error:
        pytest.skip(str(error))


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


@pytest.mark.parametrize("key", ["engine", "waiting"])
def test_each_row_has_a_number_in_each_column(part: Callable[[str], dict[str, Any]], key: str) -> None:
    rows, columns = part(key)["rows"], part(key)["columns"]
    assert len(rows) >= 2
    for row in rows:
        assert set(row["values"]) == set(columns), row
        assert all(len(values) == 1 and values[0] >= 0 for values in row["values"].values()), row


def test_engine_is_compared_with_its_limits(part: Callable[[str], dict[str, Any]]) -> None:
    ratios = {ratio["name"]: ratio for ratio in part("engine")["ratios"]}
    assert ratios["two processes / limit (b), two processes"]["bar"] == "≥ 0.6 ×"
    assert all(ratio["value"] > 0 for ratio in ratios.values())


@pytest.mark.parametrize("name", ["engine-1.svg", "waiting-1.svg"])
def test_charts_are_drawn(results: Path, name: str) -> None:
    assert "</svg>" in (results / name).read_text()


def test_machine_is_described(results: Path) -> None:
    found = json.loads((results / "results.json").read_text())
    assert {"processor", "memory", "system", "Python", "PostgreSQL"} <= set(found["machine"])
    assert all(value > 0 for values in found["costs"].values() for value in values)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--only", "engin"], "unknown part 'engin'; the parts are "),
        (["--rounds", "0"], "a whole number from 1 to 100"),
        (["--setting", "shared_buffers"], "'shared_buffers' is not a setting, such as shared_buffers=2GB"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert reason in said.err
