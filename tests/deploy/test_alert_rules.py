"""deploy/prometheus: the rules are valid, each fires in a test, each has a line in the runbook, each metric exists."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.deploy.promtool import PROJECT, RULES, promtool, unknown

TESTS = RULES.with_name("alerts_test.yml")
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in ALERTS]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_rules_are_valid() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)


def test_configuration_is_valid() -> None:
    promtool("check", "config", RULES.with_name("prometheus.yml"))


def test_each_alert_fires_when_it_should() -> None:
    promtool("test", "rules", TESTS)


@pytest.mark.parametrize("name", NAMES)
def test_alert_is_tested_firing_and_not_firing(name: str) -> None:
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name} == {True, False}


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_alert_says_how_urgent_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"page", "warn", "notice"}
    assert rule["annotations"].keys() == {"summary", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor in anchors(RUNBOOK)
    assert f"`{rule['alert']}`" in RUNBOOK


def test_each_metric_exists() -> None:
    assert unknown([rule["expr"] for rule in ALERTS]) == set()


def test_check_detects_a_metric_that_does_not_exist() -> None:
    assert unknown(["rate(holdfast_cats_total[5m])"]) == {"holdfast_cats_total"}
