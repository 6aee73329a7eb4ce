"""The client, beside the published one: import, a call, a wait, an instruction, a year of reports.

    .venv/bin/python bench/client.py                  everything
    .venv/bin/python bench/client.py --calls 2000     more calls

The calls go to a bridge of a facility of ours, over loopback. Each program is run by the interpreter of its client, and
the same program by both. Imports and the grammar are measured in CPU time, since they wait for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from openportal.cli.facility import Facility
from openportal.cli.published import client_python

IMPORTS = 15
START_MAX_SECONDS = 90.0
YEAR_USERS = 500
YEAR_DAYS = 365

IMPORT = """
import time
begin = time.process_time()
import openportal as o
o.Job, o.run
print(time.process_time() - begin)
"""
CALLS = """
import json, sys, time, openportal as o
o.load_config(sys.argv[1])
def timed(call, count):
    call()
    found = []
    for _ in range(count):
        begin = time.perf_counter(); call(); found.append(time.perf_counter() - begin)
    return found
calls = int(sys.argv[2])
question = "brics.aip1.clusters.shared is_blocked_user alice.demo.brics"
def job():
    found = o.run(question, 10_000)
    assert found.is_finished and not found.is_error, found
change = iter(range(10**9))
def changed():
    found = o.run(f"brics.aip1.clusters.shared add_user u{sys.argv[3]}{next(change)}.demo.brics", 10_000)
    assert found.is_finished and not found.is_error, found
print(json.dumps({"get_portal": timed(o.get_portal, calls), "a question": timed(job, calls // 4),
                  "add_user": timed(changed, calls // 10)}))
"""
GRAMMAR = """
import json, sys, time, openportal as o
texts = ["add_user alice.demo.brics", "get_users demo.brics", "set_user_quota alice.demo.brics home 10 GB",
         "add_local_user alice.demo.brics:alice.demo:brics.demo", "get_offerings"]
def each():
    for text in texts: str(o.Instruction(text))
rounds = []
for _ in range(30):
    begin = time.process_time()
    for _ in range(200): each()
    rounds.append((time.process_time() - begin) / 200 / len(texts))
year = sys.stdin.read()
parses = []
for _ in range(7):
    begin = time.process_time()
    report = o.ProjectUsageReport.from_json(year)
    parses.append(time.process_time() - begin)
    del report
print(json.dumps({"instruction": rounds, "year": parses}))
"""


def year() -> str:
    """A year of daily reports of 500 users, each with what it used."""
    day = {
        "reports": {f"user{number}": {"seconds": 3600 + number} for number in range(YEAR_USERS)},
        "is_complete": True,
    }
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 32)]
    real = [each for each in days if not each.endswith(("02-30", "02-31", "04-31", "06-31", "09-31", "11-31"))]
    users = {f"user{number}.demo.brics": f"user{number}" for number in range(YEAR_USERS)}
    return json.dumps({"project": "demo.brics", "reports": dict.fromkeys(real[:YEAR_DAYS], day), "users": users})


def run(python: str | Path, program: str, *arguments: object, given: str = "") -> Any:
    child = subprocess.run(
        [str(python), "-I", "-c", program, *map(str, arguments)],
        input=given, capture_output=True, text=True, check=False, env={**os.environ, "RUST_BACKTRACE": "0"},
    )  # fmt: skip
    if child.returncode:
        raise SystemExit(child.stderr)
    return json.loads(child.stdout)


def show(what: str, client: str, seconds: list[float], scale: float = 1e3, unit: str = "ms") -> None:
    ordered = sorted(seconds)
    p50, p99 = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
    print(
        f"{what:34} {client:10} least {ordered[0] * scale:8.2f} {unit}  p50 {p50 * scale:8.2f} {unit}"
        f"  p99 {p99 * scale:8.2f} {unit}"
    )


def importtime() -> float:
    """What `python -X importtime` says of the module and what it needs, in seconds."""

    def total(program: str) -> int:
        command = [sys.executable, "-X", "importtime", "-c", program]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return sum(int(line.split("|")[0].split(":")[1]) for line in told.splitlines()[1:])

    return (total("import openportal; openportal.Job, openportal.run") - total("")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    clients = {"published": client_python("0.94.0"), "ours": Path(sys.executable)}
    for name, python in clients.items():
        show("import openportal, its names used", name, [run(python, IMPORT) for _ in range(IMPORTS)])
    show("the same by -X importtime", "ours", [importtime() for _ in range(IMPORTS)])
    document = year()
    for name, python in clients.items():
        found = run(python, GRAMMAR, given=document)
        show("an instruction parsed and printed", name, found["instruction"], 1e6, "µs")
        show(f"{YEAR_DAYS} days of {YEAR_USERS} users parsed", name, found["year"])
    with tempfile.TemporaryDirectory(prefix="openportal-bench-") as folder, Facility(Path(folder)) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready(START_MAX_SECONDS)
        run(sys.executable, ADD_PROJECT, facility.client_file)
        for name, python in clients.items():
            for what, seconds in run(python, CALLS, facility.client_file, options.calls, name[0]).items():
                show(f"{what}, a call", name, seconds)


ADD_PROJECT = """
import sys, time, openportal as o
o.load_config(sys.argv[1])
while True:
    try:
        o.run("brics.aip1.clusters.shared add_project demo.brics", 10_000).raise_for_error()
        o.run("brics.aip1.clusters.shared add_user alice.demo.brics", 10_000).raise_for_error()
        break
    except OSError:
        time.sleep(0.1)
print("null")
"""


if __name__ == "__main__":
    main()
