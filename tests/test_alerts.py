"""The alert rules: Prometheus takes them, and every metric and label in them is one that agents expose."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULES = ROOT / "docs" / "alerts.yml"
METRICS = ROOT / "docs" / "reference" / "metrics.md"
BY_PROMETHEUS = {"up"}


def expressions() -> list[str]:
    return re.findall(r"^ +expr: '(.*)'$", RULES.read_text(), re.MULTILINE)


def documented() -> set[str]:
    """The metrics that agents expose, as tests/test_docs.py keeps them."""
    return set(re.findall(r"^\| `(openportal_\w+)` \| (?:gauge|counter|histogram) ", METRICS.read_text(), re.MULTILINE))


def test_rules_speak_of_metrics_that_exist() -> None:
    found = expressions()
    assert len(found) == RULES.read_text().count("- alert: ")
    for expression in found:
        names = re.findall(r"\b(?:openportal_\w+|up(?=\{))", expression)
        assert names, expression
        assert set(names) <= documented() | BY_PROMETHEUS, expression


def test_what_the_documentation_says_to_watch_has_a_rule() -> None:
    text = METRICS.read_text()
    watched = re.findall(r"^\| `([^`]+)` \| ", text[text.index("## What to watch") :], re.MULTILINE)
    assert watched
    assert [expression for expression in watched if expression not in expressions()] == []


def test_prometheus_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool of the package `prometheus` is not installed here")
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(expressions())} rules found" in done.stdout
