"""What stands in deploy/prometheus: Prometheus's own checks, and that its rules ask for what there is."""

from __future__ import annotations

import re
import subprocess

import pytest

from jobfleet.metrics.catalog import METRICS
from tests.support import tools
from tests.support.fleet import ROOT
from tests.support.scraping import tool

FOLDER = ROOT / "deploy" / "prometheus"
RULES = (FOLDER / "rules.yml").read_text()
TESTS = (FOLDER / "rules.test.yml").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)
PAGE = (ROOT / "docs" / "howto" / "metrics.md").read_text()


@tools.tool("prometheus")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([tool("promtool"), *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_every_metric_that_is_asked_for_is_in_the_catalogue() -> None:
    there = {metric.full_name for metric in METRICS}

    for text in (RULES, TESTS, PAGE):
        asked = set(re.findall(r"\bjobfleet_[a-z0-9_]+", text))
        assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} - there == set()


def test_every_label_that_a_rule_groups_by_is_one_of_its_metric() -> None:
    labels = {metric.full_name: {"namespace", *metric.labels} for metric in METRICS}
    grouped = re.findall(r"by \(([^)]*)\)\s*\((?:increase\()?(jobfleet_\w+)", RULES)

    assert len(grouped) >= len(ALERTS)
    for by, name in grouped:
        assert set(by.split(", ")) <= labels[name], name


def test_every_alert_has_a_test_and_a_line_that_says_what_to_do() -> None:
    assert sorted(set(ALERTS)) == sorted(ALERTS)
    assert set(re.findall(r"alertname: (\w+)", TESTS)) == set(ALERTS)
    assert set(re.findall(r"^\| `(Jobfleet\w+)`", PAGE, re.MULTILINE)) == set(ALERTS)
