"""The dashboard: its expressions are Prometheus's own, and name only metrics and labels that exist."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from jobfleet.metrics.catalog import METRICS
from tests.deploy.deployed import DEPLOY, silent
from tests.support import tools
from tests.support.scraping import tool

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "jobfleet.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
LABELS = {metric.full_name: {"namespace", *metric.labels} for metric in METRICS}
VALUES = {"$__rate_interval": "5m", "$namespace": ".*", "$queue": ".*"}


def plain(expression: str) -> str:
    """An expression with values in place of the variables."""
    for name, value in VALUES.items():
        expression = expression.replace(name, value)
    return expression


@tools.tool("prometheus")
def test_prometheus_reads_each_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": plain(one)} for number, one in enumerate(EXPRESSIONS)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    assert f"{len(EXPRESSIONS)} rules found" in silent(tool("promtool"), "check", "rules", "rules.yml", cwd=tmp_path)
    assert all("$" not in plain(one) for one in EXPRESSIONS)


def test_each_metric_and_label_exists() -> None:
    queries = [one["definition"] for one in VARIABLES.values() if one["type"] == "query"]
    for text in (*EXPRESSIONS, *queries):
        for name, matchers in re.findall(r"(jobfleet_\w+)(?:\{([^}]*)\})?", text):
            metric = re.sub(r"_(bucket|sum|count)$", "", name)
            assert metric in LABELS
            assert set(re.findall(r"(\w+)=", matchers)) <= LABELS[metric], text
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", text)))) - {"le"}
        named = re.findall(r"jobfleet_\w+", text)
        assert all(grouped <= LABELS[re.sub(r"_(bucket|sum|count)$", "", one)] for one in named), text
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for one, other in combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        assert (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip


def test_the_data_source_is_chosen_by_the_reader_and_provided_with_the_files() -> None:
    sources = {json.dumps(panel["datasource"], sort_keys=True) for panel in PANELS}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert VARIABLES["datasource"]["query"] == "prometheus"
    provisioning = DEPLOY / "grafana" / "provisioning"
    (given,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (given["type"], given["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "jobfleet.yaml").read_text())["providers"]
    assert provider["type"] == "file"
