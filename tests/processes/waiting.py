"""Small helpers of the tests with real processes: wait for a condition, read a log, ask for one job."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.processes.load import TERMINAL, Load

PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.05

T = TypeVar("T")


def until(look: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of `look`; how long it takes is not judged, that it comes is."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"in vain for {seconds:.0f} s: {what}"
        time.sleep(POLL_SECONDS)
    return found


async def until_async(look: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """`until` in a running loop."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"in vain for {seconds:.0f} s: {what}"
        await asyncio.sleep(POLL_SECONDS)
    return found


async def ended(load: Load, command: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """The job of a command, once it has ended."""
    return await end_of(load, await accepted(load, command, seconds), seconds)


async def accepted(load: Load, command: str, seconds: float = PATIENCE_SECONDS) -> str:
    """The id of a command's job. A bridge that asks to be asked later (503) is."""
    deadline = time.monotonic() + seconds
    while (answer := await load.call("run", {"command": command})).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(POLL_SECONDS)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def end_of(load: Load, id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """A job, once it has ended."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await load.call("status", {"job": id})
        job: dict[str, Any] = answer.json()
        if answer.status_code == 200 and job["state"] in TERMINAL:
            return job
        assert time.monotonic() < deadline, f"{answer.status_code} {job}"
        await asyncio.sleep(POLL_SECONDS)


def result_of(job: dict[str, Any]) -> Any:
    """The decoded result of a job that must have succeeded."""
    assert job["state"] == "Complete", job
    return None if job["result"] is None else json.loads(job["result"])


def lines(log: Path) -> list[str]:
    """The lines of a log so far."""
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def resident_bytes(pid: int) -> int:
    """How much memory a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status does not tell VmRSS")
