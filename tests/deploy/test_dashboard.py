"""deploy/grafana/holdfast.json: Grafana can import it, and each query is valid and names metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.promtool import PROJECT, promtool, unknown

DASHBOARD: dict[str, Any] = json.loads((PROJECT / "deploy" / "grafana" / "holdfast.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES: list[str] = [target["expr"] for panel in PANELS for target in panel["targets"]]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_dashboard_can_be_imported_anywhere() -> None:
    """It has no number of one Grafana, and its data source is chosen there."""
    assert DASHBOARD["uid"] == "holdfast"
    assert "id" not in DASHBOARD
    assert DASHBOARD["schemaVersion"] >= 30
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    assert all(panel["datasource"] == SOURCE for panel in PANELS)
    assert all(target["datasource"] == SOURCE for panel in PANELS for target in panel["targets"])


def test_rows_and_panels() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Sale", "Orchestrator", "Participants", "Webhooks", "Money"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["title"] and panel["targets"] for panel in PANELS)
    assert all(len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) for panel in PANELS)


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_query_is_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(QUERIES)} rules found" in promtool("check", "rules", file)


def test_each_query_names_metrics_that_exist() -> None:
    assert all(re.search(r"\bholdfast_\w+", query) for query in QUERIES)
    assert unknown(QUERIES) == set()


def test_every_metric_that_has_an_alert_is_shown() -> None:
    shown = set(re.findall(r"\bholdfast_\w+", "\n".join(QUERIES)))
    rules = (PROJECT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\bholdfast_\w+", rules)) - shown == set()
