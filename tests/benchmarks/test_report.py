"""The report shows medians with their spread, and ratios of values of the same round."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.report import Report, number, spread
from benchmarks.result import Bars, Part, Row, ratio


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.25, "0.250"), (9.9996, "10.0"), (99.97, "100"), (1234.5, "1,234"), (42.0, "42.0")]
)
def test_numbers_have_three_significant_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_several_rounds_show_their_median_and_spread() -> None:
    assert spread([300, 100, 200]) == "200 (100 – 300)"
    assert spread([100]) == "100"
    assert spread([]) == "–"


def test_ratio_pairs_the_rounds() -> None:
    """The ratio is two in each round, although the machine slows down in between."""
    found = ratio("ours / theirs", [200, 100, 50], [100, 50, 25], at_least=2)
    assert (found.value, found.low, found.high, found.bar, found.holds) == (2, 2, 2, "≥ 2 ×", True)
    assert ratio("ours / theirs", [190], [100], at_least=2).holds is False
    assert ratio("ours / theirs", [190], [100]).holds is None


@pytest.fixture
def report() -> Report:
    rows = [Row("Holdfast", {"rate": [4, 8]}), Row("other", {"rate": [2, 2]})]
    part = Part(
        key="engine",
        title="Engine",
        columns={"rate": "sagas/s"},
        rows=rows,
        ratios=[ratio("Holdfast / other", [4, 8], [2, 2], at_least=4)],
        notes=["A note."],
        charts={"Rate": Bars("rate")},
    )
    return Report("today", 2, False, {"processor": "a fast one"}, {"sync, ms": [1, 2]}, [part], {"waiting": "no nginx"})


def test_tables_in_markdown(report: Report) -> None:
    text = report.to_markdown()
    assert "| Holdfast | 6.00 (4.00 – 8.00) |" in text
    assert "| Holdfast / other | 3.00 (2.00 – 4.00)        | ≥ 4 × | NOT MET |" in text
    assert "| sync, ms  | 1.00 → 2.00 |" in text
    assert "- A note." in text
    assert text.endswith("## waiting: not measured\n\nno nginx\n")


def test_rows_with_other_columns_make_another_table(report: Report) -> None:
    rows = [Row("load", {"rate": [1]}), Row("process", {"cpu": [2]}), Row("another", {"cpu": [3]})]
    part = Part(key="system", title="System", columns={"rate": "orders/s", "cpu": "ms"}, rows=rows)
    text = replace(report, parts=[part]).to_markdown()
    assert "| load | 1.00           |\n\n|         | cpu, ms |\n" in text
    assert "| process | 2.00    |\n| another | 3.00    |" in text


def test_json_has_every_value(report: Report) -> None:
    found = json.loads(report.to_json())
    assert found["parts"][0]["rows"][0] == {"name": "Holdfast", "values": {"rate": [4, 8]}}
    assert found["failures"] == {"waiting": "no nginx"}
