"""strace, attached to a running process: to see its system calls, or to make one of them go wrong."""

from __future__ import annotations

import asyncio
import functools
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.processes.waiting import until_async


@functools.cache
def strace() -> str:
    """The program; it is installed where it is missing."""
    found = shutil.which("strace")
    if found is None:
        for words in (("update", "-q"), ("install", "-qy", "strace")):
            subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", *words], check=True)
        found = shutil.which("strace")
    assert found is not None
    return found


@asynccontextmanager
async def traced(pid: int, trace: Path, options: Sequence[str]) -> AsyncIterator[None]:
    """strace with `options` on every thread of a process, while inside; what it sees is in `trace`."""
    said = trace.with_suffix(".said")
    with said.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            strace(), "-f", *options, "-o", str(trace), "-p", str(pid), stderr=stderr
        )
    try:
        await until_async(lambda: "attached" in said.read_text() or process.returncode is not None, "strace is there")
        assert "attached" in said.read_text(), said.read_text()
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # strace lets go of the process, and ends
        await process.wait()
