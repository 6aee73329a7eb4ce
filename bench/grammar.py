"""How long it takes to read and print the vocabulary: ours, and the published client beside it.

    .venv/bin/python bench/grammar.py

An instruction is parsed and printed; a report of usage is read from its JSON: a year of daily reports of 500 users, of
one project and of fifty. The best of many rounds of CPU time, since the machine may be busy with other work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

ROUNDS = 15
CALLS_A_ROUND = 2_000
DAYS = 365
USERS = 500
PORTALS = {"one project": 1, "fifty projects": 50}
INSTRUCTIONS = (
    "add_user alice.demo.brics",
    "add_local_user alice.demo.brics:alice.demo:brics.demo",
    "get_usage_report demo.brics 2024-01-01:2024-01-31",
    "set_limit demo.brics 10 hours",
    "set_user_quota alice.demo.brics home 10 GB",
    "submit brics.aip1.clusters.shared add_user alice.demo.brics",
    'create_project demo.brics {"name":"Demo","template":"cpu","members":{"a@b.com":"pi"},"allocation":"10 NHR"}',
)


def best_seconds(call: Callable[[], object], calls: int) -> float:
    """The least CPU time of one call."""
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(calls):
            call()
        found.append((time.process_time() - begin) / calls)
    return min(found)


def year(projects: int) -> str:
    """The JSON of a portal whose users used something on each day of a year."""
    reports = {}
    for number in range(projects):
        project, users = f"p{number}.brics", [f"user{user:03d}" for user in range(USERS // projects)]
        day = {"reports": {user: {"seconds": 3600} for user in users}, "num_jobs": 5, "is_complete": True}
        days = {str(date(2025, 1, 1) + timedelta(days=count)): day for count in range(DAYS)}
        reports[project] = {"project": project, "reports": days, "users": {f"{u}.{project}": u for u in users}}
    return json.dumps({"portal": "brics", "reports": reports})


def measured(parse: Callable[[str], object], read: Callable[[str], object]) -> dict[str, float]:
    """Microseconds of each instruction, and milliseconds of each report."""
    found = {text: 1e6 * best_seconds(lambda text=text: str(parse(text)), CALLS_A_ROUND) for text in INSTRUCTIONS}  # type: ignore[misc]
    for name, projects in PORTALS.items():
        document = year(projects)
        found[name] = 1e3 * best_seconds(lambda document=document: read(document), 1)  # type: ignore[misc]
    return found


def measure_published() -> None:
    """Run by the Python of the published client, whose module has our name."""
    import openportal

    client: Any = openportal
    print(json.dumps(measured(client.Instruction, client.UsageReport.from_json)))


def main() -> None:
    from openportal.cli.published import client_python
    from openportal.grammar.instructions import parse_instruction
    from openportal.grammar.usage import UsageReport

    ours = measured(parse_instruction, UsageReport.from_json)
    command = [str(client_python("0.94.0")), __file__, "--published"]
    theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for text in INSTRUCTIONS:
        print(f"{ours[text]:6.1f} µs (published client {theirs[text]:4.1f} µs)  {text[:70]}")
    for name in PORTALS:
        size = len(year(PORTALS[name])) / 1e6
        both = f"{ours[name]:6.1f} ms (published client {theirs[name]:4.1f} ms)"
        print(f"{both}  a year of {USERS} users in {name}, {size:.1f} MB")


if __name__ == "__main__":
    measure_published() if "--published" in sys.argv else main()
