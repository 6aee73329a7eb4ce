"""How long an agent with a long log takes to be ready: from the start of its process until its port answers.

    .venv/bin/python bench/start.py                 a platform agent, with an empty log and with 1,000,000 events
    .venv/bin/python bench/start.py --events 200000

The log is written by the real core and the real ledger: jobs that came, were passed on, ended and went back, with a
checkpoint every 20,000 events as an agent makes them, the last some 10,000 events before the end.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
import time
import uuid
from pathlib import Path

import msgspec

from openportal.agents.roles import RelayRole
from openportal.cli.compose import ledger_settings
from openportal.cli.facility import HOST, Facility
from openportal.paddington.config import load
from openportal.templemeads.core import Core
from openportal.templemeads.events import EVENTS
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger import Ledger

NAME = "clusters"
ABOVE, BELOW = "aip1@default", "shared@default"
JOBS_A_TURN = 250
EVENTS_A_JOB = 4
TAIL_EVENTS = 10_000


async def fill(facility: Facility, events: int) -> None:
    """Write so many events as an agent would."""
    settings = ledger_settings(load(facility.config(NAME)))
    ledger = Ledger.open(settings, EVENTS)
    core = Core(NAME, RelayRole("Platform"), [ABOVE, BELOW])
    for peer, agent_type in ((ABOVE, "Provider"), (BELOW, "Instance")):
        core.registered(peer, agent_type, time.time())
    since = 0
    while ledger.position < events:
        for number in range(JOBS_A_TURN):
            pass_job(core, ledger, number)
        await ledger.drain()
        since += JOBS_A_TURN * EVENTS_A_JOB
        if since >= settings.checkpoint_every and ledger.position < events - TAIL_EVENTS:
            ledger.save_checkpoint(msgspec.json.encode(core.image()))
            since = 0
    ledger.close()


def pass_job(core: Core, ledger: Ledger, number: int) -> None:
    """One job down and its outcome back."""
    now = time.time()
    command = f"brics.aip1.{NAME}.shared is_blocked_user u{number}.p{number % 50}.brics"
    at = int(now)
    job = Job(str(uuid.uuid4()), at, at, at + 120, 2, command, State.PENDING)
    core.put(ABOVE, job.to_wire(), now)
    ledger.submit(core.take().events, now)
    core.update(BELOW, job.completed(now, "false", "bool").to_wire(), now)
    ledger.submit(core.take().events, now)


def ready_seconds(facility: Facility) -> float:
    """Start the agent, and stop it again."""
    port = load(facility.config(NAME)).service.port
    begin = time.perf_counter()
    facility.start([NAME])
    while True:
        try:
            socket.create_connection((HOST, port), 0.5).close()
            break
        except OSError:
            facility.check()
            time.sleep(0.01)
    took = time.perf_counter() - begin
    facility.kill([NAME])
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openportal-bench-") as folder, Facility(Path(folder)) as facility:
        facility.lay_out()
        print(f"empty log: ready after {min(ready_seconds(facility) for _ in range(3)):.2f} s")
        begin = time.perf_counter()
        asyncio.run(fill(facility, options.events))
        size = sum(path.stat().st_size for path in facility.ledger(NAME).glob("ledger.sqlite*"))
        print(f"{options.events} events written in {time.perf_counter() - begin:.0f} s, {size / 1e6:.0f} MB")
        print(f"{options.events} events: ready after {min(ready_seconds(facility) for _ in range(3)):.2f} s")


if __name__ == "__main__":
    main()
