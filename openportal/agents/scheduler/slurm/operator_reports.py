"""Reports for operators, which no project's own can give: who used a reservation, what requeues cost whom. PURE.

Both are summed up from the same daily reports as those of projects, so that they never say anything else.

    reservation   by account: jobs, node seconds, and how much of those were of attempts that had to run again. Every
                  attempt counts, since each held the nodes. How full the reservation was is not known here: records
                  do not say how large it is
    requeues      by ending, by day, and by user of an account or by account of a cluster: events, and what the project
                  (charged) and the site (absorbed) bear; the nodes that Slurm blames for NODE_FAIL
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from openportal.agents.scheduler.slurm import usage
from openportal.agents.scheduler.slurm.attempts import NODE_FAIL, attempts
from openportal.agents.scheduler.slurm.reading import DayRecords
from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.agents.scheduler.slurm.reports import UsageRules
from openportal.grammar.usage import DailyProjectUsageReport

UNNAMED: Final = "not named"


@dataclass(frozen=True, slots=True)
class Reserved:
    """What one account or day put into a reservation."""

    jobs: int = 0
    seconds: int = 0
    requeued_seconds: int = 0

    def __add__(self, other: Reserved) -> Reserved:
        return Reserved(
            self.jobs + other.jobs, self.seconds + other.seconds, self.requeued_seconds + other.requeued_seconds
        )


@dataclass(frozen=True, slots=True)
class ReservationReport:
    """`name` is as Slurm spells it."""

    name: str
    accounts: Mapping[str, Reserved] = field(default_factory=dict)
    days: Mapping[date, Reserved] = field(default_factory=dict)
    missing_hours: int = 0

    @property
    def total(self) -> Reserved:
        return sum(self.days.values(), Reserved())


@dataclass(frozen=True, slots=True)
class Requeued:
    """What had to run again: how often, and who bears what was used before."""

    events: int = 0
    charged_seconds: int = 0
    absorbed_seconds: int = 0

    def __add__(self, other: Requeued) -> Requeued:
        return Requeued(
            self.events + other.events,
            self.charged_seconds + other.charged_seconds,
            self.absorbed_seconds + other.absorbed_seconds,
        )


@dataclass(frozen=True, slots=True)
class RequeueReport:
    """`who` holds users for one account, and accounts for a cluster; `nodes` those that failed and what was lost."""

    endings: Mapping[str, Requeued]
    days: Mapping[date, Requeued]
    who: Mapping[str, Requeued]
    nodes: Mapping[str, Requeued]
    used_seconds: int
    missing_hours: int = 0

    @property
    def total(self) -> Requeued:
        return sum(self.days.values(), Requeued())


def reservation(name: str, days: Iterable[DayRecords], rules: UsageRules, now: int) -> ReservationReport:
    """Who used the reservation of this name, in whatever case it is given."""
    spelling, missing = name, 0
    accounts: defaultdict[str, Reserved] = defaultdict(Reserved)
    by_day: defaultdict[date, Reserved] = defaultdict(Reserved)
    for read in days:
        missing += read.missing_hours
        by_day[read.day] += Reserved()
        for account, report in _reports(read, rules, now).items():
            for spelling in (found for found in report.reservations if found.lower() == name.lower()):
                put = Reserved(
                    report.reservation_jobs.get(spelling, 0),
                    sum(report.reservation_reports.get(spelling, {}).values()),
                    sum(report.reservation_requeue_usage.get(spelling, {}).values()),
                )
                accounts[account] += put
                by_day[read.day] += put
    return ReservationReport(spelling, _largest_first(accounts), dict(by_day), missing)


def _largest_first(accounts: Mapping[str, Reserved]) -> dict[str, Reserved]:
    return dict(sorted(accounts.items(), key=lambda item: (-item[1].seconds, item[0])))


def requeues(days: Iterable[DayRecords], rules: UsageRules, now: int, by_account: bool) -> RequeueReport:
    """What requeues cost, by user or by account."""
    endings: defaultdict[str, Requeued] = defaultdict(Requeued)
    who: defaultdict[str, Requeued] = defaultdict(Requeued)
    nodes: defaultdict[str, Requeued] = defaultdict(Requeued)
    by_day: defaultdict[date, Requeued] = defaultdict(Requeued)
    used = missing = 0
    for read in days:
        missing += read.missing_hours
        by_day[read.day] += Requeued()
        for account, report in _reports(read, rules, now).items():
            used += report.total_usage_including_requeues.seconds
            _add(endings, _by_ending(report))
            people = _by_user(report)
            _add(who, {account: sum(people.values(), Requeued())} if by_account else people)
            by_day[read.day] += sum(people.values(), Requeued())
        _add(nodes, _by_node(read, rules, now))
    return RequeueReport(_costliest_first(endings), dict(by_day), _costliest_first(who), dict(nodes), used, missing)


def _by_ending(report: DailyProjectUsageReport) -> dict[str, Requeued]:
    events = Counter(report.requeue_states) + Counter(report.charged_requeue_states)
    charged, absorbed = report.charged_requeue_state_usage, report.requeue_state_usage
    return {name: Requeued(count, charged.get(name, 0), absorbed.get(name, 0)) for name, count in events.items()}


def _by_user(report: DailyProjectUsageReport) -> dict[str, Requeued]:
    events = Counter(report.user_requeue_events) + Counter(report.user_charged_requeue_events)
    charged, absorbed = report.charged_requeue_reports, report.requeue_reports
    return {name: Requeued(count, charged.get(name, 0), absorbed.get(name, 0)) for name, count in events.items()}


def _by_node(read: DayRecords, rules: UsageRules, now: int) -> dict[str, Requeued]:
    """Whoever's work it was: that a node failed says something of the node."""
    found: defaultdict[str, Requeued] = defaultdict(Requeued)
    past = read.window.until(now)
    for attempt in attempts(usage.belonging(read.records.jobs, read.window)):
        record = attempt.record
        seconds = past.clip(record.started, record.ended or now).seconds if record.has_run else 0
        if seconds and attempt.superseded and attempt.ending == NODE_FAIL:
            lost = usage.node_seconds(record, seconds, rules.node)
            found[record.failed_node or UNNAMED] += Requeued(1, 0, lost)
    return dict(found)


def _reports(read: DayRecords, rules: UsageRules, now: int) -> dict[str, DailyProjectUsageReport]:
    """The report of every account on a day."""
    accounts: defaultdict[str, list[JobRecord]] = defaultdict(list)
    for record in read.records.jobs:
        accounts[record.account].append(record)
    return {
        account: usage.report(records, read.window, rules.node, rules.policy, now)
        for account, records in sorted(accounts.items())
    }


def _add(sums: defaultdict[str, Requeued], more: Mapping[str, Requeued]) -> None:
    for name, requeued in more.items():
        if requeued != Requeued():
            sums[name] += requeued


def _costliest_first(sums: Mapping[str, Requeued]) -> dict[str, Requeued]:
    return dict(sorted(sums.items(), key=lambda item: (-item[1].charged_seconds - item[1].absorbed_seconds, item[0])))
