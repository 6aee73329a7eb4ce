"""Runs inside the environment of a published client: carries out instructions one after another, prints the outcomes.

client_driver.py <client.toml> <instruction>...    prints a JSON list of [instruction, error or null, result as text]
"""

from __future__ import annotations

import json
import sys

import openportal as op  # the published one

CHAIN = "brics.aip1.clusters.shared"
WAIT_MS = 60_000


def outcome(instruction: str) -> list[str | None]:
    job = op.run(f"{CHAIN} {instruction}", WAIT_MS)
    if not job.is_finished:
        job.wait(WAIT_MS)
    if job.is_error:
        return [instruction, job.error_message, None]
    result = job.result
    text = result.to_json() if hasattr(result, "to_json") else str(result)
    return [instruction, None, text]


op.load_config(sys.argv[1])
print(json.dumps([outcome(instruction) for instruction in sys.argv[2:]]))
