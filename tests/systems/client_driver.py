"""Runs inside the environment of a published client: carries out instructions one after another, prints the outcomes.

client_driver.py <client.toml> <instruction>...    prints a JSON list of [instruction, error or null, result as text]
"""

from __future__ import annotations

import json
import sys
import time

import openportal as op  # the published one

CHAIN = "brics.aip1.clusters.shared"
WAIT_MS = 60_000
LINK_SECONDS = 60.0
PAUSE_SECONDS = 0.2


def taken(command: str) -> op.Job:
    """A job that the bridge took: one that has just started may still wait for its portal, and says so with a 503."""
    deadline = time.monotonic() + LINK_SECONDS
    while True:
        try:
            return op.run(command, WAIT_MS)
        except OSError as error:
            if "503" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)


def outcome(instruction: str) -> list[str | None]:
    job = taken(f"{CHAIN} {instruction}")
    if not job.is_finished:
        job.wait(WAIT_MS)
    if job.is_error:
        return [instruction, job.error_message, None]
    result = job.result
    text = result.to_json() if hasattr(result, "to_json") else str(result)
    return [instruction, None, text]


op.load_config(sys.argv[1])
print(json.dumps([outcome(instruction) for instruction in sys.argv[2:]]))
