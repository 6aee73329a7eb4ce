"""What a project used in a window, from the accounting records of its jobs. PURE.

    held         a job holds the largest share of a node that it holds of anything: CPUs, GPUs, memory, or billing; of
                 what a node has none of, nothing is held. Two whole nodes are a share of 2
    used         share x seconds in the window, rounded up to whole node seconds, and at least 1 if it ran at all
    components   cpu, gpu, memory and billing: amount x seconds in the window, in Slurm's units (memory in MB)

A job's seconds go to the windows they fall into, so a job over midnight is in both days. What is counted once (the
job, its wait, its size, its run time) is counted in the window in which the attempt started; the event of a requeue,
in the window that shows the attempt and what took its place, which is only one.

With B, C and A for the usage of base, charged and absorbed attempts (`attempts.py`), the day's report holds B + C as
usage, A as `requeue_*`, and C once more as `charged_requeue_*`, which tells of a part of the usage and is not to be
added. B + C + A does not depend on the policy, nor on how the time is cut into windows except for the rounding.

Expansion is (wait + run) / run of a job, in thousandths. It is known once the job has ended. Until every job of a
window has ended, the window is not complete: nothing in a complete report will change.

Time for which a job was suspended counts as used: its nodes were held, and the records do not say when it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from openportal.agents.scheduler.slurm.attempts import Attempt, RequeuePolicy, attempts
from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.agents.scheduler.slurm.windows import Window
from openportal.grammar.quantities import U64_MAX, Node
from openportal.grammar.usage import UNKNOWN_USER, DailyProjectUsageReport

SETTLING_SECONDS: Final = 600
"""How long records of a window may still arrive: clocks differ, and slurmctld hands them to slurmdbd in batches."""

_TOTALS: Final[Mapping[str, str]] = {
    "num_jobs": "user_job_counts",
    "total_wait_seconds": "user_wait_seconds",
    "total_expansion_milli": "user_expansion_milli",
    "total_runtime_seconds": "user_runtime_seconds",
    "num_expansion_jobs": "user_expansion_jobs",
    "total_allocated_cpus": "user_allocated_cpus",
    "total_allocated_gpus": "user_allocated_gpus",
    "num_requeue_events": "user_requeue_events",
    "requeue_wait_seconds": "user_requeue_wait_seconds",
    "num_charged_requeue_events": "user_charged_requeue_events",
    "charged_requeue_wait_seconds": "user_charged_requeue_wait_seconds",
}
"""Each total of a report and the field by user that it is the sum of."""


def node_seconds(record: JobRecord, seconds: int, node: Node) -> int:
    """What so many seconds of a record come to, in whole seconds of a node."""
    held = (
        (record.cpus, node.cpus),
        (record.gpus, node.gpus),
        (record.memory_mb, node.memory_mb),
        (record.billing, node.billing),
    )
    shares = [-(-seconds * amount // whole) for amount, whole in held if whole]  # rounded up, in whole numbers
    return max([1, *shares]) if seconds else 0


def belonging(records: Iterable[JobRecord], window: Window) -> Iterator[JobRecord]:
    """The records of what was queued or ran in a window.

    A job that waits after a requeue and is told to start at once may be recorded as eligible after it started.
    """
    for record in records:
        since = record.eligible or record.submitted
        if record.started:
            since = min(since, record.started)
        if since < window.end and (not record.ended or record.ended >= window.start):
            yield record


def report(
    records: Iterable[JobRecord], window: Window, node: Node, policy: RequeuePolicy, now: int
) -> DailyProjectUsageReport:
    """One window of one account, as it is known at `now`, which is no later than the records were asked for.

    It is complete if the window has been over for SETTLING_SECONDS and all that ran in it has ended. Records from
    outside the window change nothing.
    """
    past = window.until(now)
    tally = _Tally()
    settled = window.end + SETTLING_SECONDS <= now
    for attempt in attempts(belonging(records, window)):
        record = attempt.record
        began, ended = record.started, record.ended or now
        seconds = max(0, min(past.end, ended) - max(past.start, began)) if began else 0
        if seconds and record.has_run:
            _count(tally, attempt, seconds, past, node, policy)
        settled = settled and not (seconds and record.is_running)
    return tally.report(settled)


def _count(tally: _Tally, attempt: Attempt, seconds: int, window: Window, node: Node, policy: RequeuePolicy) -> None:
    record = attempt.record
    user = record.user or UNKNOWN_USER
    used = node_seconds(record, seconds, node)
    charged = attempt.superseded and policy.charges(attempt.ending)
    if attempt.superseded:
        _count_requeue(tally, "charged_requeue" if charged else "requeue", attempt, user, used, seconds)
    if charged or not attempt.superseded:
        tally.uses["", user].add(used, record, seconds)
    if record.reservation:
        tally.nested["reservation_reports"][record.reservation][user] += used
        if attempt.superseded:
            tally.nested["reservation_requeue_usage"][record.reservation][user] += used
    if not attempt.superseded and window.start <= record.started:
        _count_job(tally, record, user)


def _count_requeue(tally: _Tally, family: str, attempt: Attempt, user: str, used: int, seconds: int) -> None:
    """Without a look at where it started: what is requeued is mostly what ran long, and began on another day."""
    tally.uses[f"{family}_", user].add(used, attempt.record, seconds)
    tally.flat[f"user_{family}_events"][user] += 1
    tally.flat[f"user_{family}_wait_seconds"][user] += attempt.record.wait
    tally.flat[f"{family}_states"][attempt.ending] += 1
    tally.flat[f"{family}_state_usage"][attempt.ending] += used


def _count_job(tally: _Tally, record: JobRecord, user: str) -> None:
    """What is counted once: the job itself, as a whole, whatever part of it lies in the window."""
    begun = tally.begun[user]
    begun.job_counts += 1
    begun.wait_seconds += record.wait
    begun.allocated_cpus += record.cpus
    begun.allocated_gpus += record.gpus
    if not record.is_running:
        run = record.elapsed
        begun.runtime_seconds += run
        begun.expansion_jobs += 1
        begun.expansion_milli += (record.wait + run) * 1000 // run
    if record.reservation:
        tally.flat["reservation_jobs"][record.reservation] += 1


@dataclass(slots=True)
class _Use:
    """What attempts of one user used: node seconds, and the components by their names in a report."""

    used: int = 0
    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    billing: int = 0

    def add(self, used: int, record: JobRecord, seconds: int) -> None:
        self.used += used
        self.cpu += record.cpus * seconds
        self.memory += record.memory_mb * seconds
        self.gpu += record.gpus * seconds
        self.billing += record.billing * seconds


@dataclass(slots=True)
class _Begun:
    """The jobs of one user that began in the window, by the names of a report's fields behind `user_`."""

    job_counts: int = 0
    wait_seconds: int = 0
    expansion_milli: int = 0
    runtime_seconds: int = 0
    expansion_jobs: int = 0
    allocated_cpus: int = 0
    allocated_gpus: int = 0


class _Tally:
    """The fields of a report while it is being summed up. Most counting is of attributes: they are the fastest."""

    def __init__(self) -> None:
        self.uses: defaultdict[tuple[str, str], _Use] = defaultdict(_Use)
        self.begun: defaultdict[str, _Begun] = defaultdict(_Begun)
        self.flat: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.nested: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    def report(self, complete: bool) -> DailyProjectUsageReport:
        self._unfold()
        found: dict[str, Any] = {name: _bounded(counts) for name, counts in self.flat.items()}
        found |= {
            name: {key: _bounded(counts) for key, counts in nested.items()} for name, nested in self.nested.items()
        }
        totals = {name: min(U64_MAX, sum(found.get(by_user, {}).values())) for name, by_user in _TOTALS.items()}
        return DailyProjectUsageReport(**found, **totals, is_complete=complete)

    def _unfold(self) -> None:
        """What was summed by user, as fields by user."""
        for (prefix, user), use in self.uses.items():
            self.flat[f"{prefix}reports"][user] = use.used
            for component in ("cpu", "memory", "gpu", "billing"):
                self.nested[f"{prefix}components"][component][user] = getattr(use, component)
        for user, begun in self.begun.items():
            for name in _BEGUN if begun.expansion_jobs else _BEGUN_RUNNING:
                self.flat[f"user_{name}"][user] = getattr(begun, name)


_BEGUN: Final = tuple(field.name for field in fields(_Begun))
_BEGUN_RUNNING: Final = tuple(name for name in _BEGUN if name.split("_")[0] not in ("expansion", "runtime"))
"""Of a user none of whose jobs has ended."""


def _bounded(counts: Mapping[str, int]) -> dict[str, int]:
    return {key: min(U64_MAX, number) for key, number in counts.items()}
