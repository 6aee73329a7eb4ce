"""Usage reports of projects, by day.

A day that is complete does not change any more and is kept; any other is read again whenever it is asked for. A day
is kept only if all of it could be read. Days that have not begun are not in a report.

A node that fails takes work with it, and who pays for that is what sites and projects argue about: each such attempt
is logged as an error, once, with the node that Slurm blames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Final

import msgspec

from openportal.agents.scheduler.slurm import usage
from openportal.agents.scheduler.slurm.attempts import NODE_FAIL, RequeuePolicy
from openportal.agents.scheduler.slurm.cache import Bounded
from openportal.agents.scheduler.slurm.gathering import Gathering
from openportal.agents.scheduler.slurm.reading import DayRecords, Reader
from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.agents.scheduler.slurm.transport import JobQuery, JobSource
from openportal.agents.scheduler.slurm.windows import Window
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import ProjectIdentifier
from openportal.grammar.quantities import Node
from openportal.grammar.usage import UNKNOWN_USER, DailyProjectUsageReport, ProjectUsageReport

log = logging.getLogger(__name__)

DAYS_KEPT_MAX: Final = 40_000
FAILURES_KEPT_MAX: Final = 10_000
NO_WINDOW: Final = Window(0, 0)


@dataclass(frozen=True, slots=True)
class UsageRules:
    """What a site decides about its reports."""

    node: Node
    zone: tzinfo
    policy: RequeuePolicy = RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY
    partition: str = ""


class UsageReports:
    """The reports of one cluster. `clock` gives seconds since 1970."""

    def __init__(self, source: JobSource, cluster: str, rules: UsageRules, clock: Callable[[], float]) -> None:
        self._source = Gathering(source)
        self._cluster = cluster
        self._rules = rules
        self._clock = clock
        self._days: Bounded[tuple[str, date], DailyProjectUsageReport] = Bounded(DAYS_KEPT_MAX)
        self._failures: Bounded[tuple[str, int, int], bool] = Bounded(FAILURES_KEPT_MAX)

    async def project(self, project: ProjectIdentifier, account: str, days: DateRange) -> ProjectUsageReport:
        """What the jobs of an account used on each day. Raises JobError if Slurm cannot be asked at all."""
        kept = {day: report for day in days.days if (report := self._days.get((account, day))) is not None}
        now = int(self._clock())
        query = JobQuery(NO_WINDOW, self._cluster, (account,), self._rules.partition)
        reader = Reader(self._source, query, self._rules.zone, now)
        async for read in reader.days([day for day in days.days if day not in kept]):
            kept[read.day] = self._report(account, read, now)
        return ProjectUsageReport(project, dict(sorted(kept.items())))

    def _report(self, account: str, read: DayRecords, now: int) -> DailyProjectUsageReport:
        rules = self._rules
        made = usage.report(read.records.jobs, read.window, rules.node, rules.policy, now)
        self._tell_failures(read.records.jobs)
        if not read.is_whole:
            return msgspec.structs.replace(made, is_complete=False)
        if made.is_complete:
            self._days.put((account, read.day), made)
        return made

    def _tell_failures(self, jobs: Iterable[JobRecord]) -> None:
        for job in jobs:
            if NODE_FAIL in job.states and self._failures.get(job.key) is None:
                self._failures.put(job.key, True)
                where = job.failed_node or "a node that Slurm does not name"
                log.error(
                    "Node failure: %s lost job %d of %s in account %s after %d seconds (states: %s)",
                    where, job.job_id, job.user or UNKNOWN_USER, job.account, job.elapsed, ", ".join(job.states),
                )  # fmt: skip
