"""Each alert of deploy/prometheus/alerts.yml fires in a real Prometheus when its cause happens, and not before.

Prometheus scrapes the real processes. Its rules are those of the file, but a minute lasts two seconds: see
prometheus_server.py.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path

import pytest
import yaml

from local import roles
from tests.deploy.alert_causes import CAUSES, SLOW, SOLD_ON_A_QUIET_DAY, STAGES, System, sell
from tests.deploy.prometheus_server import Alert, Prometheus, sped_up
from tests.deploy.promtool import program
from tests.deploy.test_alert_rules import NAMES
from tests.severable import Severable
from tests.system.measured import Measured
from tests.system.stack import Stack
from tests.system.test_webhooks import ON_THIS_MACHINE
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver

WITHIN_S = 90  # the longest `for:` lasts 30 s
COMPLETED = 'max(holdfast_orders_total{outcome="completed"})'


@pytest.fixture
def system(url: str, tmp_path: Path) -> Iterator[System]:
    program("prometheus")  # before anything is started
    listening = Severable(roles.address(url, "orchestrator")["ORCHESTRATOR_DATABASE_URL"])
    with Stack(url, tmp_path, **ON_THIS_MACHINE) as stack, Receiver() as receiver:
        system = System(Measured(stack), url, receiver, listening)
        try:
            system.start()
            yield system
        finally:
            system.stop()
            listening.stop()


@pytest.fixture
def prometheus(system: System, tmp_path: Path) -> Iterator[Prometheus]:
    with closing(Prometheus(tmp_path / "prometheus", system.measured.ports)) as prometheus:
        prometheus.wait_until_it_scrapes()
        yield prometheus


def test_each_alert_fires_when_its_cause_happens_and_not_before(system: System, prometheus: Prometheus) -> None:
    has_no_false_alarm(system, prometheus)
    fired: dict[str, list[Alert]] = defaultdict(list)
    caused: set[str] = set()

    def have_fired(names: Iterable[str]) -> bool:
        for alert in prometheus.firing():
            fired[alert["alertname"]].append(alert)
        return set(names) <= fired.keys()

    def wait_for(names: Iterable[str]) -> None:
        with suppress(AssertionError):  # those that are missing are named at the end
            eventually(lambda: have_fired(names), WITHIN_S)

    for stage in STAGES:
        if stage is STAGES[-1]:
            wait_for(SLOW)
        with system.during:
            for name, cause in stage.items():
                have_fired(())
                assert fired.keys() <= caused
                cause.happens(system)
                caused.add(name)
            wait_for(stage.keys() - SLOW)
        assert fired.keys() <= caused
    assert {name for name in CAUSES if not fired[name]} == set()
    wrong = {name: found for name, found in fired.items() if not any(map(CAUSES[name].is_that_of, found))}
    assert wrong == {}
    assert [alert for alert in chain(*fired.values()) if "<" in alert["summary"]] == []  # `<no value>`, `<error …>`


def has_no_false_alarm(system: System, prometheus: Prometheus) -> None:
    """No alert fires on a quiet day, and in the end none would fire later."""
    eventually(lambda: prometheus.firing() == [])  # before its first scrape, there is no orchestrator
    began = time.monotonic()
    sell(system)
    eventually(lambda: prometheus.value(COMPLETED) == SOLD_ON_A_QUIET_DAY)
    eventually(lambda: prometheus.alerts() == [], WITHIN_S)
    assert prometheus.fired_within(time.monotonic() - began) == []


def test_each_alert_has_a_cause() -> None:
    assert set(CAUSES) == set(NAMES)


def test_only_times_of_rules_are_changed() -> None:
    rule = {"alert": "A", "expr": "rate(x[5m]) > 300 and absent_over_time(y[1h30m])", "labels": {"severity": "page"}}
    (group,) = sped_up(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule, {**rule, "for": "15m"}]}]}))["groups"]
    quick = {**rule, "expr": "rate(x[10000ms]) > 300 and absent_over_time(y[180000ms])"}
    assert group == {"name": "g", "rules": [quick, {**quick, "for": "30000ms"}]}
