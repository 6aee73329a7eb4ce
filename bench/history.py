"""What an operator waits for on a facility whose eight logs hold a million events together.

    .venv/bin/python bench/history.py                  explain, verify, replay to a moment, backup, a person's events
    .venv/bin/python bench/history.py --events 100000

The logs are written by the real ledger, sealed as agents seal, with the events of one `add_user` through five hops for
each job: the shape that `openportal job explain` shows. The clock of the logs is made up: one job a second. Checkpoints
are made and kept as agents do.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from openportal.cli import account, ledgers
from openportal.cli.job_read import Logs
from openportal.cli.ledgers import Source
from openportal.templemeads.events import EVENTS, Ended, Intended, Observed, Received, Sent, Started, board_stream
from openportal.templemeads.ledger import Event, Ledger, Settings, backup
from openportal.templemeads.state import AgentState

BEGIN = 1_780_000_000.0
LIFETIME_SECONDS = 120
JOBS_A_TURN = 100
EVENTS_AT_THE_BRIDGE = 2
AGENTS = ("bridge", "brics", "aip1", "clusters", "shared", "acct", "fs", "slurm")
LOOKS = ("is_blocked_user", "is_existing_user", "is_protected_user")
STEPS = (
    *(("acct", verb, 0) for verb in LOOKS),
    ("acct", "add_user", 1),
    ("fs", "add_local_user", 1),
    ("fs", "get_local_home_dir", 0),
    ("slurm", "add_local_user", 1),
    ("acct", "update_homedir", 1),
)

Unit = tuple[str, list[tuple[str, Event]]]


def id_of(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, text))


def job_units(number: int) -> Iterator[Unit]:
    """The units that one `add_user` writes, with the agent of each."""
    user, at = f"user{number % 5000}.project{number % 50}.brics", int(BEGIN) + number
    asked, passed = id_of(f"job {number}"), id_of(f"to {number}")
    command = f"brics.aip1.clusters.shared add_user {user}"

    def received(id: str, text: str) -> Received:
        return Received(id, at, at + LIFETIME_SECONDS, 2, user, text, domain="greatwestern", domain_version="0.94.0")

    def sent(id: str, text: str, **more: str | None) -> Sent:
        return Sent(id, at, at + LIFETIME_SECONDS, 2, user, text, None, None, "greatwestern", "0.94.0", **more)

    def ended(id: str, result: str = f'"{user}"') -> Ended:
        return Ended(id, 1002, user, result, "String")

    yield "bridge", [(board_stream("brics@default"), sent(asked, f"bridge.brics submit {command}", client="default"))]
    above, below = board_stream("bridge@default"), board_stream("aip1@default")
    step = sent(passed, command, via="bridge@default", parent=asked, step="aip1.add_user#1")
    yield "brics", [(above, received(asked, f"bridge.brics submit {command}")), (above, Started(asked)), (below, step)]
    for agent, before, after in (("aip1", "brics", "clusters"), ("clusters", "aip1", "shared")):
        onward = sent(passed, command, via=f"{before}@default")
        came, goes = board_stream(f"{before}@default"), board_stream(f"{after}@default")
        yield agent, [(came, received(passed, command)), (goes, onward)]
    parent = board_stream("clusters@default")
    yield "shared", [(parent, received(passed, command)), (parent, Started(passed))]
    for index, (leaf, verb, effects) in enumerate(STEPS):
        id, text = id_of(f"{index} of {number}"), f"shared.{leaf} {verb} {user}"
        stream, back = board_stream(f"{leaf}@default"), board_stream("shared@default")
        yield "shared", [(stream, sent(id, text, via="clusters@default", parent=passed, step=f"{leaf}.{verb}#1"))]
        change: list[tuple[str, Event]] = [(back, Started(id)), (back, Intended(id, 1, verb, user, f"users/{user}"))]
        yield leaf, [(back, received(id, text)), *change[: 2 * effects]]
        yield leaf, [*[(back, Observed(id, 1))] * effects, (back, ended(id))]
        yield "shared", [(stream, ended(id))]
    yield "shared", [(parent, ended(passed))]
    for agent, before, after in (("clusters", "aip1", "shared"), ("aip1", "brics", "clusters")):
        came, goes = board_stream(f"{before}@default"), board_stream(f"{after}@default")
        yield agent, [(goes, ended(passed)), (came, ended(passed))]
    yield "brics", [(below, ended(passed)), (above, ended(asked))]
    yield "bridge", [(board_stream("brics@default"), ended(asked))]


async def write(folder: Path, events: int) -> list[Source]:
    """Ledgers of so many events together, or a few more."""
    settings = {name: Settings(path=folder / name, owner=name) for name in AGENTS}
    logs = {name: Ledger.open(one, EVENTS) for name, one in settings.items()}
    states = {name: AgentState(name, []) for name in AGENTS}
    number = 0
    while sum(log.position for log in logs.values()) < events:
        for _ in range(JOBS_A_TURN):
            for agent, unit in job_units(number):
                logs[agent].submit(unit, BEGIN + number)
                for stream, event in unit:
                    states[agent].apply(stream, event, BEGIN + number)
            number += 1
        for name, log in logs.items():
            await log.drain()
            if log.checkpoint_due:
                checkpoint(log, states[name], BEGIN + number)
    for log in logs.values():
        log.close()
    return ledgers.sources([folder])


def checkpoint(log: Ledger, state: AgentState, now: float) -> None:
    for board in state.boards.values():
        board.forget_expired(now)
    log.save_checkpoint(msgspec.json.encode(state.image()), now)


def timed(label: str, work: Callable[[], object]) -> None:
    """Wall time is what the operator waits; CPU time, over all threads, is what repeats on a busy machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{label:<24} {wall:7.2f} s {cpu:7.2f} s CPU   {found}")


def explain(sources: list[Source], what: str) -> str:
    logs = Logs(sources)
    roots = account.build(logs.family(logs.jobs_of(what)))
    lines = sum(len(list(account.lines(root))) for root in roots[-3:])
    return f"{len(roots)} jobs, {lines} lines"


def verify(sources: list[Source]) -> str:
    start = time.perf_counter()
    reports = [report for _, report in ledgers.of_each(sources, lambda reader: reader.verify(), print)]
    events = sum(report.events for report in reports if report.ok)
    return f"{events:,} events, {events / (time.perf_counter() - start):,.0f} events/s"


def replay(sources: list[Source], until: float) -> str:
    states = list(ledgers.states_of(sources, print, until))
    return f"{sum(1 for state in states for _ in state.open_jobs())} jobs were open"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000, help="in all eight logs together")
    parser.add_argument("--folder", type=Path, help="keep the logs here, or measure those that are here already")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        measure(arguments.folder, arguments.events)
        return
    with tempfile.TemporaryDirectory(prefix="openportal-bench-") as folder:
        measure(Path(folder), arguments.events)


def measure(folder: Path, events: int) -> None:
    sources = ledgers.sources([folder]) if (folder / "bridge").exists() else asyncio.run(write(folder, events))
    sizes = [stats for _, stats in ledgers.of_each(sources, lambda reader: reader.stats(), print)]
    jobs = min(one.events for one in sizes) / EVENTS_AT_THE_BRIDGE
    print(f"{sum(one.events for one in sizes):,} events, {sum(one.bytes for one in sizes) / 1e6:.0f} MB")
    for label in ("explain the first job", "the same again"):
        timed(label, lambda: explain(sources, id_of("job 0")))
    timed("explain a user", lambda: explain(sources, "user7.project7.brics"))
    timed("verify", lambda: verify(sources))
    timed("replay to the end", lambda: replay(sources, BEGIN + jobs))
    timed("replay to the middle", lambda: replay(sources, BEGIN + jobs / 2))
    copy = folder / "copy"
    timed("backup of the biggest", lambda: backup(biggest(sources), copy).events)
    copy.unlink()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def biggest(sources: list[Source]) -> Settings:
    """The instance's: it has every step."""
    return next(source.settings for source in sources if source.name == "shared")


if __name__ == "__main__":
    main()
