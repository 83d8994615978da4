"""A real Prometheus with our configuration and our rules, in which a minute lasts a second."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.deploy.promtool import RULES, program
from tests.system.stack import free_port
from tests.waiting import eventually

SPEED = 30
"""Each `for:` and each range of a rule is divided by it. Nothing else is changed, so an age must be as in the rule."""
EVERY = "2s"  # a scrape, and an evaluation of the rules. Five of them are in the shortest range: 5m, which is 10 s here
IN_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
DURATION = re.compile(r"(\d+)(ms|[smhdw])")
RANGE = re.compile(r"\[[^\]]+\]")

Alert = dict[str, str]
"""The labels of an alert, and `summary`."""


def shortened(duration: str) -> str:
    """A duration of Prometheus, divided by SPEED: `1h30m` → `90000ms`."""
    seconds = sum(int(number) * IN_S[unit] for number, unit in DURATION.findall(duration))
    assert seconds, f"not a duration: {duration}"
    return f"{seconds * 1000 / SPEED:.0f}ms"


def sped_up(rules: str) -> dict[str, Any]:
    """The rules of a file, with each `for:` and each range shortened."""
    document: dict[str, Any] = yaml.safe_load(rules)
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        rule["expr"] = RANGE.sub(lambda found: f"[{shortened(found[0])}]", rule["expr"])
        rule |= {name: shortened(rule[name]) for name in ("for", "keep_firing_for") if name in rule}
    return document


class Prometheus:
    """Scrapes the targets of deploy/prometheus/prometheus.yml, at other addresses, and evaluates alerts.yml."""

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        """:param ports: process → its METRICS_PORT on 127.0.0.1"""
        self._names = {f"127.0.0.1:{port}": name for name, port in ports.items()}
        configuration = yaml.safe_load(RULES.with_name("prometheus.yml").read_text(encoding="utf-8"))
        configuration["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), EVERY)
        configuration["scrape_configs"][0]["static_configs"] = [{"targets": list(self._names)}]
        rules = sped_up(RULES.read_text(encoding="utf-8"))
        folder.mkdir()
        for name, content in (("prometheus.yml", configuration), (RULES.name, rules)):
            (folder / name).write_text(yaml.safe_dump(content))
        address = f"127.0.0.1:{free_port()}"
        self._api, self._log = f"http://{address}/api/v1", folder / "log"
        command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_until_it_scrapes(self) -> None:
        """All targets answer, and all rules have been evaluated since."""
        eventually(lambda: self._answers() and self.value("count(up == 1)") == len(self._names), 60)
        since = datetime.now(UTC)
        eventually(lambda: self._evaluated_at() > since, 60)

    def alerts(self, *states: str) -> list[Alert]:
        """The alerts in these states, or all: those that fire, and the pending ones. `instance` names a process."""
        return [
            self._named(alert["labels"]) | {"summary": alert["annotations"]["summary"]}
            for alert in self._get("alerts")["alerts"]
            if alert["state"] in (states or ("firing", "pending"))
        ]

    def firing(self) -> list[Alert]:
        return self.alerts("firing")

    def fired_within(self, seconds: float) -> list[Alert]:
        """The alerts that have fired at some time of the last seconds. They have no `summary`."""
        query = f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds * 1000:.0f}ms])'
        return [self._named(each["metric"]) for each in self._query(query)]

    def value(self, query: str) -> float:
        """The value of a query with one result; 0 if it has none."""
        found = self._query(query)
        return float(found[0]["value"][1]) if found else 0

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _query(self, query: str) -> list[dict[str, Any]]:
        return self._get("query", query=query)["result"]  # type: ignore[no-any-return]

    def _get(self, path: str, **params: str) -> Any:
        """:raises HTTPError: the query is not valid"""
        response = requests.get(f"{self._api}/{path}", params=params, timeout=10)
        response.raise_for_status()
        return response.json()["data"]

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with suppress(requests.ConnectionError):
            return requests.get(f"{self._api}/query?query=1", timeout=10).ok
        return False

    def _evaluated_at(self) -> datetime:
        """When the rule that waits for longest was evaluated."""
        rules = [rule for group in self._get("rules", type="alert")["groups"] for rule in group["rules"]]
        assert not [rule["lastError"] for rule in rules if rule.get("lastError")]
        return min(datetime.fromisoformat(rule["lastEvaluation"]) for rule in rules)

    def _named(self, labels: Alert) -> Alert:
        return labels | {name: self._names[at] for name, at in labels.items() if name == "instance"}
