"""How an agent is: the HealthInfo that it tells its neighbours and the portal's software.

`AgentHealth` lists what everyone in this network needs of it; readers refuse one that lacks a field, so what a
neighbour sends is looked through (`checked`) before it is handed on. Beyond that ours says, and others ignore:

    ledger        {id, generation, head, position, units, last_commit_ms, low_space, free_bytes, size_bytes,
                  growth_bytes_per_day}
    links         {name@zone: "up" | "down"}
    neighbours    {name@zone: {engine, version, skew_seconds, round_trip_ms}}, of those that answered (clocks.py)
    breakers      [name@zone] of leaves that are not asked for a while, because they did not answer
    stuck         {jobs, oldest_seconds, overrun, in_quarantine, to_be_undone} of this moment (stuck.py)
    parked        jobs with a step that no known agent can take yet
    waiting       jobs behind an earlier change of the same project, or behind their sender's return
    quarantined   jobs given up since the start because they took the agent down too often

Counts of finished jobs are since the start of the process, counts of open ones are of this moment. A job that passes
through counts once, although it is on two boards.
"""

from __future__ import annotations

import os
import statistics
import time
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from openportal.grammar.health import AgentHealth, AgentType
from openportal.templemeads.agent import ENGINE, MAX_RUNNING, PROTOCOL_VERSION, Agent
from openportal.templemeads.board import Board, Entry
from openportal.templemeads.clocks import Clocks
from openportal.templemeads.core import Core
from openportal.templemeads.job import Job, State
from openportal.templemeads.stuck import stuck

TIMED_JOBS = 1000
SLOW_SECONDS = 1.0
DAY_SECONDS = 86_400
MAX_PEERS_DEPTH = 16
MAX_PEERS = 1_000
MAX_REMEMBERED_ENDS = 10_000
DURATION_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

Json = dict[str, Any]


class _Told(AgentHealth, frozen=True, kw_only=True):
    """A neighbour's own health; those below it are looked at one by one."""

    peers: Json = msgspec.field(default_factory=dict)


def moment(unix_seconds: float) -> datetime:
    """A time as it travels in reports: as fine as we have it, since 0.32.2 takes no report older than its question."""
    return datetime.fromtimestamp(unix_seconds, UTC)


def checked(health: Any, depth: int = 0) -> Json | None:
    """What a neighbour tells, without those below it whose health cannot be read; None if its own cannot."""
    try:
        told = msgspec.convert(health, _Told)
    except (msgspec.ValidationError, RecursionError):
        return None
    below = told.peers if depth < MAX_PEERS_DEPTH and len(told.peers) <= MAX_PEERS else {}
    peers = {name: checked(peer, depth + 1) for name, peer in below.items()}
    return {**health, "peers": {name: peer for name, peer in peers.items() if peer is not None}}


class JobTimes:
    """How long the last TIMED_JOBS jobs took, and how long all did."""

    def __init__(self) -> None:
        self.total_seconds = 0.0
        self.count = 0
        self.buckets = [0] * (len(DURATION_BUCKETS_SECONDS) + 1)
        self._window: deque[float] = deque(maxlen=TIMED_JOBS)

    def add(self, seconds: float) -> None:
        self._window.append(seconds)
        self.total_seconds += seconds
        self.count += 1
        self.buckets[bisect_left(DURATION_BUCKETS_SECONDS, seconds)] += 1

    def summary(self) -> Json:
        """The fields of a HealthInfo, of the window; all 0 before the first job."""
        window = [seconds * 1000 for seconds in self._window] or [0.0]
        return {
            "job_time_min_ms": min(window),
            "job_time_max_ms": max(window),
            "job_time_mean_ms": statistics.fmean(window),
            "job_time_median_ms": float(statistics.median(window)),
            "job_time_count": len(self._window),
        }


@dataclass(slots=True)
class Totals:
    """Jobs that ended since the start."""

    completed: int = 0
    failed: int = 0
    expired: int = 0
    slow: int = 0
    quarantined: int = 0
    times: JobTimes = field(default_factory=JobTimes)
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def first_end(self, id: str) -> bool:
        """Whether this job ends for the first time: one that passes through ends on two boards."""
        if id in self._seen:
            return False
        self._seen[id] = None
        if len(self._seen) > MAX_REMEMBERED_ENDS:
            self._seen.popitem(last=False)
        return True

    def count(self, job: Job, seconds: float | None) -> str:
        """Count an ended job and return its outcome; `seconds` is None if it was refused, which takes no time."""
        outcome = outcome_of(job)
        setattr(self, outcome, getattr(self, outcome) + 1)
        if seconds is not None:
            self.times.add(seconds)
            self.slow += seconds > SLOW_SECONDS
        return outcome


def outcome_of(job: Job) -> str:
    """`completed`, `failed` or `expired`."""
    if job.state is State.COMPLETE:
        return "completed"
    return "expired" if job.error_kind == "expired" else "failed"


class Open(msgspec.Struct):
    """Open jobs of this moment."""

    active: int = 0
    pending: int = 0
    running: int = 0
    duplicate: int = 0
    inflight: int = 0
    queued: int = 0
    parked: int = 0
    waiting: int = 0


def open_jobs(core: Core) -> Open:
    """Count what is open, each job once."""
    counts = Open()
    for board, entry in core.open_jobs():
        if not entry.inbound and entry.leader is None:
            counts.inflight += board.linked
            counts.queued += not board.linked
        if not entry.inbound and entry.via is not None and entry.step is None:
            continue  # the same job is on the board that it came from
        counts.active += 1
        if entry.leader is not None:
            counts.duplicate += 1
        elif is_running(core, board, entry):
            counts.running += 1
        else:
            counts.pending += 1
    counts.parked = sum(1 for active in core.active.values() if active.parked)
    counts.waiting = sum(1 for active in core.active.values() if not active.begun)
    counts.queued += counts.waiting
    return counts


def is_running(core: Core, board: Board, entry: Entry) -> bool:
    """Somebody works on it: we do, or a neighbour has said that it does."""
    active = core.active.get((board.peer, entry.job.id))
    return (active is not None and active.begun) or entry.job.state is State.RUNNING


class ProcessUsage:
    """What this process uses. `cpu_percent` is since it was last asked for; 100 is one processor."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def cpu_percent(self) -> float:
        cpu, wall = time.process_time(), time.monotonic()
        spent, passed = cpu - self._cpu, wall - self._wall
        self._cpu, self._wall = cpu, wall
        return round(100 * spent / passed, 2) if passed > 0 else 0.0


def memory_bytes() -> int:
    """Resident memory of this process; 0 where it cannot be read."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def open_files() -> int:
    """Open file descriptors of this process; 0 where they cannot be read."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208  # names only, and often
    except OSError:
        return 0


def system_memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def own_health(agent: Agent, totals: Totals, usage: ProcessUsage, started: float, clocks: Clocks) -> Json:
    """The HealthInfo of this agent alone, with what only ours says."""
    now, jobs = agent.clock(), open_jobs(agent.core)
    info = AgentHealth(
        name=agent.name,
        agent_type=msgspec.convert(agent.role.agent_type, AgentType),
        connected=True,
        **counts_of(jobs, totals),
        **totals.times.summary(),
        worker_count=MAX_RUNNING,
        memory_bytes=memory_bytes(),
        cpu_percent=usage.cpu_percent(),
        system_memory_total=system_memory_bytes(),
        system_cpus=os.cpu_count() or 1,
        start_time=moment(started),
        current_time=moment(now),
        uptime_seconds=max(0, int(now - started)),
        engine=ENGINE,
        version=PROTOCOL_VERSION,
        last_updated=moment(now),
    )
    more = extras(agent, jobs, totals, now - started) | {"neighbours": clocks.told()}
    return info.to_wire() | {"peers": {}} | more


def counts_of(jobs: Open, totals: Totals) -> Json:
    """The counts of a HealthInfo: open jobs of this moment, others since the start."""
    return {
        "active_jobs": jobs.active,
        "pending_jobs": jobs.pending,
        "running_jobs": jobs.running,
        "completed_jobs": totals.completed + totals.failed + totals.expired,
        "duplicate_jobs": jobs.duplicate,
        "successful_jobs": totals.completed,
        "expired_jobs": totals.expired,
        "errored_jobs": totals.failed,
        "inflight_jobs": jobs.inflight,
        "queued_jobs": jobs.queued,
        "total_completed": totals.completed,
        "total_failed": totals.failed,
        "total_expired": totals.expired,
        "total_slow": totals.slow,
    }


def extras(agent: Agent, jobs: Open, totals: Totals, uptime_seconds: float) -> Json:
    """What only ours says."""
    ledger, now = agent.ledger, agent.clock()
    return {
        "ledger": {
            "id": ledger.ledger_id,
            "generation": ledger.generation,
            "head": ledger.head,
            "position": ledger.position,
            "units": ledger.units,
            "last_commit_ms": round(ledger.stats.last_commit_seconds * 1000, 3),
            "low_space": ledger.low_space,
            "free_bytes": ledger.free_bytes(),
            "size_bytes": ledger.size_bytes(),
            "growth_bytes_per_day": growth_bytes_per_day(ledger.stats.bytes, uptime_seconds),
        },
        "links": link_states(agent),
        "breakers": open_breakers(agent.core, now),
        "stuck": msgspec.structs.asdict(stuck(agent.core, now)),
        "link_alarms": [
            {"peer": peer, "cause": cause, "count": count} for (peer, cause), count in agent.links.stats.alarms.items()
        ],
        "parked": jobs.parked,
        "waiting": jobs.waiting,
        "quarantined": totals.quarantined,
    }


def growth_bytes_per_day(written_bytes: int, uptime_seconds: float) -> int:
    """At which rate the log grew since the start; of little use in the first minutes."""
    return int(written_bytes * DAY_SECONDS / uptime_seconds) if uptime_seconds > 0 else 0


def open_breakers(core: Core, now: float) -> list[str]:
    """The neighbours that are not asked for a while."""
    return [board.peer for board in core.boards.values() if board.breaker.is_open(now)]


def link_states(agent: Agent) -> dict[str, str]:
    """Every neighbour, with whether it is there and has said what it is."""
    boards = agent.core.boards
    return {
        peer: "up" if peer in boards and boards[peer].linked else "down"
        for peer in dict.fromkeys((*agent.core.neighbours, *boards))
    }


def open_by_peer(core: Core) -> Counter[tuple[str, str]]:
    """Open jobs per (`name@zone`, `inbound` or `outbound`)."""
    counts: Counter[tuple[str, str]] = Counter()
    for board in core.boards.values():
        inbound = sum(1 for entry in board.open.values() if entry.inbound)
        counts[board.peer, "inbound"], counts[board.peer, "outbound"] = inbound, len(board.open) - inbound
    return counts
