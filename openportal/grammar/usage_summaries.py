"""Pages about usage, for people: what jobs that ran again cost, how well jobs were served, what ran in reservations.

    requeue_report(report)            by what stopped the jobs, by day and by user
    expansion_factor_report(report)   by user, worst served first, and by day
    reservation_report(report)        by reservation, by day and by user

Each takes the report of a project or of a portal; of a portal it is the pages of the projects that have something to
say. Times are in hours. A local user whom nobody is known for is `name - unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from openportal.grammar.daily_usage import DailyProjectUsageReport as Day
from openportal.grammar.quantities import Usage
from openportal.grammar.tallies import total_of
from openportal.grammar.usage import ProjectUsageReport, UsageReport

NARROW_CHARACTERS: Final = 64
WIDE_CHARACTERS: Final = 83
FAR_APART: Final = 2.0  # how many times further from 1 one expansion factor is than the other, to be worth a word

Report = ProjectUsageReport | UsageReport


def requeue_report(report: Report) -> str:
    """What jobs that had to run again cost."""
    if isinstance(report, UsageReport):
        return _pages(report, requeue_report, lambda project: project.has_requeues, "No jobs had to run again.")
    return _page(f"Requeues of {report.project}", NARROW_CHARACTERS, _requeues(report), "No jobs had to run again.")


def expansion_factor_report(report: Report) -> str:
    """How long jobs took for how long they ran, and how big they were."""
    if isinstance(report, UsageReport):
        return _pages(report, expansion_factor_report, lambda project: bool(project.total.num_jobs), "No jobs.")
    title = f"Expansion factors and job sizes of {report.project}"
    return _page(title, WIDE_CHARACTERS, _expansion(report), "No jobs.")


def reservation_report(report: Report) -> str:
    """What ran in reservations. How much of a reservation that was, no report of usage can tell."""
    if isinstance(report, UsageReport):
        return _pages(
            report, reservation_report, lambda project: project.total.has_reservations, "No jobs ran in a reservation."
        )
    title = f"Reservations of {report.project}"
    return _page(title, NARROW_CHARACTERS, _reservations(report), "No jobs ran in a reservation.")


def _pages(
    report: UsageReport, page: Callable[[Report], str], is_told: Callable[[ProjectUsageReport], bool], nothing: str
) -> str:
    projects = (report.reports[project] for project in report.projects)
    return "".join(page(project) for project in projects if is_told(project)) or f"{nothing}\n"


def _page(title: str, width: int, lines: Iterable[str], nothing: str) -> str:
    return "\n".join([title, "=" * width, *(tuple(lines) or (nothing,)), "=" * width, ""])


def _requeues(report: ProjectUsageReport) -> Iterator[str]:
    if not report.has_requeues:
        return
    total, names = report.total, _names(report)
    used, charged = total.total_usage_including_requeues, total_of(total.charged_requeue_reports)
    yield f"{'Charged to the project':42} : {_hours(total.total_usage)}"
    yield f"{'of that, for jobs that it made run again':42} : {_hours(charged)}"
    yield f"{'Discarded, and borne by the site':42} : {_hours(total.total_requeue_usage)}" + _share(
        total.total_requeue_usage, used
    )
    yield f"{'Used in all':42} : {_hours(used)}"
    yield ""
    yield f"{_times(total.num_requeue_events)} borne by the site, {total.num_charged_requeue_events} charged"
    waited, mean = Usage(total.requeue_wait_seconds), Usage(total.average_requeue_wait_seconds)
    yield f"Waiting discarded: {waited.in_hours()}, a mean of {mean.in_hours()}"
    for title, states in (
        ("Borne by the site, by what stopped the jobs:", total.requeue_state_summary),
        ("Charged to the project, by what stopped the jobs:", total.charged_requeue_state_summary),
    ):
        rows = (f"  {name:15} {_events(events, lost)}{_share(lost, used)}" for name, events, lost in states)
        yield from _table(title, rows)
    days = ((day, of_day) for day, of_day in sorted(report.reports.items()) if of_day.has_requeues)
    yield from _table(
        "By day:",
        (
            f"  {day!s:15} {_events(of_day.num_requeue_events, of_day.total_requeue_usage)}"
            f"  (charged {of_day.total_usage.in_hours()})"
            for day, of_day in days
        ),
    )
    users = sorted(total.requeue_reports.keys() | total.user_requeue_events.keys())
    of_users = ((names(user), total.of_user(user)) for user in users)
    yield from _table(
        "By user:",
        (f"  {name:23} {_events(own.num_requeue_events, own.total_requeue_usage)}" for name, own in of_users),
    )


def _expansion(report: ProjectUsageReport) -> Iterator[str]:
    total, names = report.total, _names(report)
    mean, overall = total.average_expansion_factor, total.aggregate_expansion_factor
    if not total.num_jobs:
        return
    wait, run = Usage(total.average_wait_seconds), Usage(total.average_runtime_seconds)
    if not overall:
        yield f"{total.num_jobs} jobs | mean wait {wait.in_hours()}"
        yield "How long they ran is not known."
        return
    yield f"{total.num_jobs} jobs | mean expansion factor {mean:.2f} | overall {overall:.2f}"
    yield f"Mean wait {wait.in_hours()} | mean runtime {run.in_hours()}"
    yield f"Mean job size {total.average_cpus_per_job:.1f} cores, {total.average_gpus_per_job:.1f} gpus"
    yield from _remark(mean, overall)
    users = [(names(user), total.of_user(user)) for user in total.user_job_counts]
    users.sort(key=lambda row: (-row[1].aggregate_expansion_factor, row[0]))
    yield from _table(_heading("user"), (_served(name, own) for name, own in users))
    days = ((str(day), of_day) for day, of_day in sorted(report.reports.items()) if of_day.num_jobs)
    yield from _table(_heading("day"), (_served(day, of_day) for day, of_day in days))
    yield ""
    yield "An expansion factor is turnaround over run time; 1 is best. `overall` is that of all jobs"
    yield "together, `mean` the mean of those of the single jobs. A job counts once for the sizes."


def _remark(mean: float, overall: float) -> Iterator[str]:
    if mean - 1 > FAR_APART * (overall - 1):
        yield "Some short jobs waited long for how long they ran."
    elif overall - 1 > FAR_APART * (mean - 1):
        yield "It was the long jobs that waited."


def _reservations(report: ProjectUsageReport) -> Iterator[str]:
    total, names = report.total, _names(report)
    if not total.has_reservations:
        return
    inside, used = total.total_reservation_usage, total.total_usage_including_requeues
    yield f"{'Used in reservations':29} : {_hours(inside)}{_share(inside, used)}"
    yield f"{'Used outside of them':29} : {_hours(total.usage_outside_reservations)}"
    yield f"{'Used in all':29} : {_hours(used)}"
    yield from _table("By reservation:", _by_reservation(total, used))
    yield from _table(
        "By day:",
        (
            f"  {day}   {_jobs(name, jobs, of_day)}"
            for day, report_of_day in sorted(report.reports.items())
            for name, jobs, of_day, _ in report_of_day.reservation_summary
        ),
    )
    yield from _table(
        "By user:",
        (
            f"  {name:24} {names(user):23} {_hours(Usage(seconds))}"
            for name, by_user in sorted(total.reservation_reports.items())
            for user, seconds in sorted(by_user.items())
        ),
    )


def _by_reservation(total: Day, used: Usage) -> Iterator[str]:
    for name, jobs, inside, discarded in total.reservation_summary:
        yield f"  {_jobs(name, jobs, inside)}{_share(inside, used)}"
        if discarded.seconds:
            yield f"{'':38}{_hours(discarded)}   of which was discarded"


def _names(report: ProjectUsageReport) -> Callable[[str], str]:
    names = {name: str(user) for user, name in report.users.items()}
    return lambda user: names.get(user, f"{user} - unknown")


def _table(title: str, rows: Iterable[str]) -> Iterator[str]:
    found = tuple(rows)
    if found:
        yield from ("", title, *found)


def _heading(what: str) -> str:
    return f"  {what:24} {'jobs':>5}{'overall':>9}{'mean':>10}{'run (h)':>9}{'wait (h)':>9}{'cores':>8}{'gpus':>6}"


def _served(name: str, day: Day) -> str:
    run, wait = Usage(day.average_runtime_seconds), Usage(day.average_wait_seconds)
    return (
        f"  {name:24} {day.num_jobs:5}{_or_dash(day.aggregate_expansion_factor, 9, 2)}"
        f"{_or_dash(day.average_expansion_factor, 10, 2)}{_or_dash(run.hours, 9, 3)}{_or_dash(wait.hours, 9, 3)}"
        f"{_or_dash(day.average_cpus_per_job, 8, 1)}{day.average_gpus_per_job:6.1f}"
    )


def _or_dash(number: float, width: int, digits: int) -> str:
    return f"{number:{width}.{digits}f}" if number else f"{'-':>{width}}"


def _hours(usage: Usage) -> str:
    return f"{usage.hours:9.3f} hours"


def _share(part: Usage, whole: Usage) -> str:
    return f"  ({100 * part.seconds / whole.seconds if whole.seconds else 0.0:.1f}%)"


def _times(number: int) -> str:
    return f"{number} {'requeue' if number == 1 else 'requeues'}"


def _events(number: int, lost: Usage) -> str:
    return f"{number:5} {'event ' if number == 1 else 'events'} {_hours(lost)}"


def _jobs(name: str, number: int, used: Usage) -> str:
    return f"{name:24} {number:5} {'job ' if number == 1 else 'jobs'} {_hours(used)}"
