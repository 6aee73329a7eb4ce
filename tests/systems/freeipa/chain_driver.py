"""Runs inside the environment of the published client: asks one thing after the other and prints what it was told.

chain_driver.py <client.toml> <instruction>…
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


def ask(instruction: str) -> list[str]:
    job = taken(f"{CHAIN} {instruction}")
    if not job.is_finished:
        job.wait(WAIT_MS)
    return [instruction, f"error: {job.error_message}" if job.is_error else str(job.result)]


op.load_config(sys.argv[1])
print(json.dumps([ask(instruction) for instruction in sys.argv[2:]]))
