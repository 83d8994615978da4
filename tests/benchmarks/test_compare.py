"""A comparison of two checkouts measures them in turn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.__main__ import main
from benchmarks.bench import Bench
from benchmarks.processes import PROJECT, python_of
from benchmarks.result import Part, Row


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(3, True, tmp_path, None, server=None)  # type: ignore[arg-type]


def test_checkouts_are_measured_in_turn(bench: Bench, tmp_path: Path) -> None:
    measured: list[Path] = []

    def part(each: Bench) -> Part:
        assert (each.rounds, each.ours_only) == (1, True)
        measured.append(each.checkout)
        value = float(len(measured)) * (10 if each.checkout == PROJECT else 1)
        return Part("engine", "Engine", {"rate": "sagas/s"}, [Row("one process", {"rate": [value]})])

    found = compare.run(part, bench, tmp_path)
    assert measured == [PROJECT, tmp_path, tmp_path, PROJECT, PROJECT, tmp_path]
    assert {row.name: row.values for row in found.rows} == {
        "one process, base": {"rate": [2, 3, 6]},
        "one process, this": {"rate": [10, 40, 50]},
    }
    (ratio,) = found.ratios
    assert (ratio.name, ratio.value) == ("one process: rate", 40 / 3)
    assert (ratio.low, ratio.high) == (5, 40 / 3)


def test_checkout_runs_with_its_own_environment(tmp_path: Path) -> None:
    assert python_of(tmp_path) == Path(sys.executable)
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    assert python_of(tmp_path) == own


def test_base_must_be_a_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--base", str(tmp_path)])
    assert "is not a checkout: it has no Procfile" in capsys.readouterr().err
