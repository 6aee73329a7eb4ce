"""Pages about a project's usage, for people: jobs that had to run again, how long jobs waited, and reservations.

Each page is a heading, a few sums, and tables by day and by user. Times are in hours. Users are shown as the portal
knows them; a local user whom nobody is known for is `name - unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from openportal.grammar.quantities import Usage
from openportal.grammar.usage import Counts, DailyProjectUsageReport, ProjectUsageReport

WIDTH_CHARACTERS: Final = 64
NO_REQUEUES: Final = "No jobs had to run again."
NO_JOBS: Final = "No jobs."
NO_RESERVATIONS: Final = "No jobs ran in a reservation."

Day = DailyProjectUsageReport


def of_user(day: Day, user: str) -> Day:
    """What a day knows of one local user, as a day of its own: its totals and means are those of the user."""
    return Day(
        reports=_only(day.reports, user),
        num_jobs=day.user_job_counts.get(user, 0),
        total_wait_seconds=day.user_wait_seconds.get(user, 0),
        total_expansion_milli=day.user_expansion_milli.get(user, 0),
        total_runtime_seconds=day.user_runtime_seconds.get(user, 0),
        num_expansion_jobs=day.user_expansion_jobs.get(user, 0),
        total_allocated_cpus=day.user_allocated_cpus.get(user, 0),
        total_allocated_gpus=day.user_allocated_gpus.get(user, 0),
        requeue_reports=_only(day.requeue_reports, user),
        num_requeue_events=day.user_requeue_events.get(user, 0),
        requeue_wait_seconds=day.user_requeue_wait_seconds.get(user, 0),
    )


def reservations(day: Day) -> list[tuple[str, int, int, int]]:
    """By reservation: jobs, seconds used, and seconds of it discarded; the busiest first."""
    rows = [
        (
            name,
            day.reservation_jobs.get(name, 0),
            sum(day.reservation_reports.get(name, {}).values()),
            sum(day.reservation_requeue_usage.get(name, {}).values()),
        )
        for name in day.reservations
    ]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def requeue_report(report: ProjectUsageReport) -> str:
    """What jobs that had to run again cost, by what stopped them, by day and by user."""
    total = report.total
    if not report.has_requeues:
        return _page(f"Jobs of {report.project} that had to run again", [NO_REQUEUES])
    charged = sum(total.charged_requeue_reports.values())
    lines = [
        f"Charged to the project     {_hours(total.total_usage)}",
        f"  of that, for jobs that it had run again  {_hours(charged)}, {total.num_charged_requeue_events} times",
        f"Discarded, and not charged {_hours(total.total_requeue_usage)}, {total.num_requeue_events} times",
        f"Used in all                {_hours(total.total_usage_including_requeues)}",
        "",
        *_table("By what stopped them, not charged", _by_state(total.requeue_states, total.requeue_state_usage)),
        *_table(
            "By what stopped them, charged", _by_state(total.charged_requeue_states, total.charged_requeue_state_usage)
        ),
        *_table("By day", _days(report, lambda day: (day.num_requeue_events, day.total_requeue_usage))),
        *_table("By user", _users(report, total.requeue_reports, total.user_requeue_events)),
    ]
    return _page(f"Jobs of {report.project} that had to run again", lines)


def expansion_factor_report(report: ProjectUsageReport) -> str:
    """How long jobs took for how long they ran, and how big they were."""
    total = report.total
    title = f"Expansion factors and sizes of the jobs of {report.project}"
    if not total.expansion_jobs:
        return _page(
            title, [f"{total.num_jobs} jobs, of whose run times nothing is known." if total.num_jobs else NO_JOBS]
        )
    names = _names(report)
    users = ((names.get(user, f"{user} - unknown"), of_user(total, user)) for user in sorted(total.user_job_counts))
    days = ((str(day), found) for day, found in sorted(report.reports.items()) if found.num_jobs)
    head = f"{'':28} {'jobs':>6} {'overall':>8} {'mean':>8} {'run':>8} {'wait':>8} {'cores':>8} {'gpus':>6}"
    rows = [_sizes("all", total), *(_sizes(*row) for row in users), *(_sizes(*row) for row in days)]
    explained = "overall: all turnaround over all run time; mean: the mean over jobs of their own. 1 is best."
    return _page(title, [head, *rows, "", explained])


def reservation_report(report: ProjectUsageReport) -> str:
    """What ran in reservations, by reservation, day and user."""
    total = report.total
    title = f"Reservations of {report.project}"
    if not total.has_reservations:
        return _page(title, [NO_RESERVATIONS])
    names = _names(report)
    lines = [
        f"Used in reservations       {_hours(total.total_reservation_usage)}",
        f"Used outside of them       {_hours(total.usage_outside_reservations)}",
        "",
        *_table("By reservation", (_reservation(*row) for row in reservations(total))),
        *_table(
            "By day",
            (
                f"{day} {_reservation(*row)}"
                for day, found in sorted(report.reports.items())
                for row in reservations(found)
            ),
        ),
        *_table(
            "By user",
            (
                f"{name:16} {names.get(user, f'{user} - unknown'):28} {_hours(used)}"
                for name, by_user in sorted(total.reservation_reports.items())
                for user, used in sorted(by_user.items())
            ),
        ),
    ]
    return _page(title, lines)


def _only(counts: Counts, user: str) -> dict[str, int]:
    return {user: counts[user]} if user in counts else {}


def _page(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, "=" * WIDTH_CHARACTERS, *lines, "=" * WIDTH_CHARACTERS, ""])


def _table(title: str, rows: Iterable[str]) -> Iterator[str]:
    found = [f"  {row}" for row in rows]
    if found:
        yield from (title, *found, "")


def _hours(used: Usage | int) -> str:
    return f"{(used.seconds if isinstance(used, Usage) else used) / 3600:12.3f} hours"


def _by_state(events: Counts, used: Counts) -> Iterator[str]:
    for state in sorted(events.keys() | used.keys(), key=lambda state: (-used.get(state, 0), state)):
        yield f"{state:16} {events.get(state, 0):6} times {_hours(used.get(state, 0))}"


def _days(report: ProjectUsageReport, look: Callable[[Day], tuple[int, Usage]]) -> Iterator[str]:
    for day, found in sorted(report.reports.items()):
        events, used = look(found)
        if events or used.seconds:
            yield f"{day!s:16} {events:6} times {_hours(used)}"


def _users(report: ProjectUsageReport, used: Counts, events: Counts) -> Iterator[str]:
    names = _names(report)
    for user in sorted(used.keys() | events.keys(), key=lambda user: (-used.get(user, 0), user)):
        yield f"{names.get(user, f'{user} - unknown'):28} {events.get(user, 0):6} times {_hours(used.get(user, 0))}"


def _names(report: ProjectUsageReport) -> dict[str, str]:
    return {name: str(user) for user, name in report.users.items()}


def _reservation(name: str, jobs: int, used: int, discarded: int) -> str:
    row = f"{name:16} {jobs:6} jobs  {_hours(used)}"
    return f"{row}, {discarded / 3600:.3f} of them discarded" if discarded else row


def _sizes(name: str, day: Day) -> str:
    return (
        f"{name:28} {day.num_jobs:6} {day.aggregate_expansion_factor:8.2f} {day.average_expansion_factor:8.2f}"
        f" {day.average_runtime_seconds / 3600:8.3f} {day.average_wait_seconds / 3600:8.3f}"
        f" {day.average_cpus_per_job:8.1f} {day.average_gpus_per_job:6.1f}"
    )
