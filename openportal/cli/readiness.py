"""Whether agents do their work: each answers with its metrics, and is linked with everybody its plan names.

A new or restarted agent is ready when its links are up, which takes as long as the slowest neighbour needs to start.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

METRICS_BYTES_MAX = 4 * 1024 * 1024
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.2

Plan = Mapping[str, Any]


def wait_ready(plan: Plan, seconds: float, fetch: Callable[[Plan], str]) -> dict[str, Any]:
    """Ask until every agent of a plan is ready, or the time is up: `waiting` says what is missing, `releases` who runs.

    `fetch` gives the metrics of an agent, or raises OSError.
    """
    deadline = time.monotonic() + seconds
    while True:
        waiting, releases = _look(plan, fetch)
        if not waiting or time.monotonic() >= deadline:
            return {"waiting": waiting, "releases": releases}
        time.sleep(POLL_SECONDS)


def _look(plan: Plan, fetch: Callable[[Plan], str]) -> tuple[list[str], dict[str, str]]:
    waiting: list[str] = []
    releases: dict[str, str] = {}
    for agent in plan["agents"]:
        try:
            text = fetch(agent)
        except OSError:
            waiting.append(f"{agent['name']} does not answer.")
        else:
            waiting.extend(missing(agent, text))
            releases[agent["name"]] = release(text)
    return waiting, releases


def fetch_metrics(agent: Plan) -> str:
    """The metrics of an agent on this host. Raises OSError."""
    where = agent["tables"]["metrics"]
    url = f"http://{where['ip']}:{where['port']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # a loopback address of the plan
            return str(answer.read(METRICS_BYTES_MAX).decode())
    except urllib.error.HTTPError as error:
        raise OSError(f"{url} answers with {error.code}") from None


def missing(agent: Plan, text: str) -> Iterator[str]:
    """A sentence for everything that an agent's metrics show to be not as its plan wants it."""
    up = {labels["peer"] for labels, value in _samples(text, "openportal_link_up") if value}
    for peer in (*agent["servers"], *agent["clients"]):
        if f"{peer['name']}@{peer['zone']}" not in up:
            yield f"{agent['name']} has no link with {peer['name']}."
    names = {labels["agent"] for labels, _ in _samples(text, "openportal_build_info")}
    if names != {agent["name"]}:
        yield f"{agent['name']}: its metrics port is that of {', '.join(sorted(names)) or 'something else'}."


def release(text: str) -> str:
    """The release of the agent that gave these metrics."""
    return next((labels["release"] for labels, _ in _samples(text, "openportal_build_info")), "unknown")


def _samples(text: str, name: str) -> list[tuple[Mapping[str, str], float]]:
    families = text_string_to_metric_families(text)
    return [(sample.labels, sample.value) for family in families for sample in family.samples if sample.name == name]
