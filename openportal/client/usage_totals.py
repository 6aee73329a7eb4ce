"""What the reports of a day and of a project tell in the same words: totals, averages, requeues, reservations."""

from __future__ import annotations

from typing import Any

from openportal.client.arguments import text
from openportal.client.quantities import Usage
from openportal.client.wrapper import Wrapper
from openportal.grammar import quantities
from openportal.grammar import usage as grammar


def seconds_used(seconds: int) -> Usage:
    return Usage._of(quantities.Usage(min(seconds, quantities.U64_MAX)))


def _states(summary: Any) -> list[tuple[str, int, Usage]]:
    return [(state, events, Usage._of(used)) for state, events, used in summary]


class Totals(Wrapper[Any]):
    """What the reports of a day and of a project tell in the same words; `_total` is the day they are read from."""

    __slots__ = ()

    @property
    def _total(self) -> grammar.DailyProjectUsageReport:
        return self._value.total  # type: ignore[no-any-return]

    @property
    def total_usage(self) -> Usage:
        return Usage._of(self._total.total_usage)

    @property
    def num_jobs(self) -> int:
        return self._total.num_jobs

    @property
    def total_wait_seconds(self) -> int:
        return self._total.total_wait_seconds

    @property
    def average_wait_seconds(self) -> int:
        return self._total.average_wait_seconds

    @property
    def total_runtime_seconds(self) -> int:
        """How long jobs ran, whatever they held; usage counts what they held."""
        return self._total.total_runtime_seconds

    @property
    def expansion_jobs(self) -> int:
        """The jobs that run times and expansion factors are means of."""
        return self._total.expansion_jobs

    @property
    def average_runtime_seconds(self) -> int:
        return self._total.average_runtime_seconds

    @property
    def average_expansion_factor(self) -> float:
        """The mean over jobs of turnaround over run time: 1 is best, 0 means that there were no jobs."""
        return self._total.average_expansion_factor

    @property
    def aggregate_expansion_factor(self) -> float:
        """All turnaround over all run time; no single job moves it far."""
        return self._total.aggregate_expansion_factor

    @property
    def average_cpus_per_job(self) -> float:
        return self._total.average_cpus_per_job

    @property
    def average_gpus_per_job(self) -> float:
        return self._total.average_gpus_per_job

    @property
    def total_requeue_usage(self) -> Usage:
        """What was discarded by jobs that had to run again; it is no part of `total_usage`."""
        return Usage._of(self._total.total_requeue_usage)

    @property
    def total_usage_including_requeues(self) -> Usage:
        return Usage._of(self._total.total_usage_including_requeues)

    @property
    def num_requeue_events(self) -> int:
        return self._total.num_requeue_events

    @property
    def requeue_wait_seconds(self) -> int:
        return self._total.requeue_wait_seconds

    @property
    def average_requeue_wait_seconds(self) -> int:
        return self._total.average_requeue_wait_seconds

    @property
    def average_wait_seconds_including_requeues(self) -> int:
        return self._total.average_wait_seconds_including_requeues

    @property
    def requeue_states(self) -> list[tuple[str, int]]:
        """How often each state made a job run again."""
        return sorted(self._total.requeue_states.items())

    @property
    def requeue_state_summary(self) -> list[tuple[str, int, Usage]]:
        """By state: how often, and what that discarded; the costliest first."""
        return _states(self._total.requeue_state_summary)

    @property
    def has_reservations(self) -> bool:
        return self._total.has_reservations

    @property
    def reservations(self) -> list[str]:
        return list(self._total.reservations)

    @property
    def total_reservation_usage(self) -> Usage:
        return Usage._of(self._total.total_reservation_usage)

    @property
    def usage_outside_reservations(self) -> Usage:
        return Usage._of(self._total.usage_outside_reservations)

    @property
    def reservation_summary(self) -> list[tuple[str, int, Usage, Usage]]:
        """By reservation: its jobs, what they used, and what of it was discarded; the busiest first."""
        rows = self._total.reservation_summary
        return [(name, jobs, Usage._of(used), Usage._of(discarded)) for name, jobs, used, discarded in rows]

    def average_runtime_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).average_runtime_seconds

    def expansion_factor_for_user(self, user: str) -> float:
        return self._of_user(user).average_expansion_factor

    def aggregate_expansion_factor_for_user(self, user: str) -> float:
        return self._of_user(user).aggregate_expansion_factor

    def average_cpus_per_job_for_user(self, user: str) -> float:
        return self._of_user(user).average_cpus_per_job

    def average_gpus_per_job_for_user(self, user: str) -> float:
        return self._of_user(user).average_gpus_per_job

    def requeue_usage_in_state(self, state: str) -> Usage:
        return seconds_used(self._total.requeue_state_usage.get(text(state, "state"), 0))

    def reservation_usage(self, reservation: str) -> Usage:
        return seconds_used(sum(self._total.reservation_reports.get(text(reservation, "reservation"), {}).values()))

    def reservation_requeue_usage(self, reservation: str) -> Usage:
        return seconds_used(
            sum(self._total.reservation_requeue_usage.get(text(reservation, "reservation"), {}).values())
        )

    def reservation_jobs(self, reservation: str) -> int:
        return self._total.reservation_jobs.get(text(reservation, "reservation"), 0)

    def _of_user(self, user: str) -> grammar.DailyProjectUsageReport:
        return self._total.of_user(text(user, "user"))
