"""Runs inside the environment of the published client: asks one thing after the other and prints what it was told.

chain_driver.py <client.toml> <instruction>…
"""

from __future__ import annotations

import json
import sys

import openportal as op  # the published one

CHAIN = "brics.aip1.clusters.shared"
WAIT_MS = 60_000


def ask(instruction: str) -> list[str]:
    job = op.run(f"{CHAIN} {instruction}", WAIT_MS)
    if not job.is_finished:
        job.wait(WAIT_MS)
    return [instruction, f"error: {job.error_message}" if job.is_error else str(job.result)]


op.load_config(sys.argv[1])
print(json.dumps([ask(instruction) for instruction in sys.argv[2:]]))
