"""Which attempts of a job count as the job, which were superseded, and who bears those.

A job that is requeued leaves one record per attempt. Within a window the last attempt of each job is its *base*,
every earlier one is *superseded*. What ended a superseded attempt is the first of ENDINGS among its states: that a
node failed or a higher priority took its place outranks that it was requeued, because Slurm writes both. The policy
then says who bears it: the project (*charged*) or the site (*absorbed*).

    charge_requeue_state_only   a bare REQUEUED is charged: the user asked for it, as far as Slurm tells. The default.
    no_charge                   nothing is.

An ending that is not known is OTHER and never charged. The number of a job can be given out again after a reset of
slurmctld: where the count of restarts does not rise from one attempt to the next, another job begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Final

import msgspec

from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.errors import ConfigError

REQUEUED: Final = "REQUEUED"
NODE_FAIL: Final = "NODE_FAIL"
OTHER: Final = "OTHER"
ENDINGS: Final = (
    NODE_FAIL, "BOOT_FAIL", "PREEMPTED", "DEADLINE", "OUT_OF_MEMORY", "TIMEOUT", REQUEUED, "CANCELLED", "REVOKED",
    "SPECIAL_EXIT", "FAILED", "COMPLETED", "SUSPENDED", "RESIZING",
)  # fmt: skip


class RequeuePolicy(StrEnum):
    """The values of the setting `requeue-policy`."""

    CHARGE_REQUEUE_STATE_ONLY = "charge_requeue_state_only"
    NO_CHARGE = "no_charge"

    @classmethod
    def parse(cls, text: str) -> RequeuePolicy:
        """Raises ConfigError: a typing error must not decide who pays for failed nodes."""
        try:
            return cls(text.strip().lower())
        except ValueError as error:
            raise ConfigError(f"requeue-policy is {' or '.join(cls)}, not {text!r}.") from error

    def charges(self, ending: str) -> bool:
        return self is RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY and ending == REQUEUED


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A record and whether another one took its place."""

    record: JobRecord
    superseded: bool

    @property
    def ending(self) -> str:
        """One of ENDINGS, or OTHER."""
        return next((ending for ending in ENDINGS if ending in self.record.states), OTHER)


def attempts(records: Iterable[JobRecord]) -> Iterator[Attempt]:
    """Every record, told apart; what ran and what did not alike, since it is the last that counts, run or not."""
    jobs: dict[tuple[str, int], list[JobRecord]] = defaultdict(list)
    for record in records:
        jobs[record.cluster, record.job_id].append(record)
    for job in jobs.values():
        if len(job) == 1:
            yield Attempt(job[0], False)
        else:
            job.sort(key=lambda record: (record.submitted, record.restarts or 0))
            yield from (Attempt(record, _goes_on(record, later)) for record, later in pairwise(job))
            yield Attempt(job[-1], False)


def _goes_on(record: JobRecord, later: JobRecord) -> bool:
    """Whether the later of two records with one number is of the same job."""
    if record.restarts is None or later.restarts is None:
        return record.user == later.user
    return later.restarts > record.restarts
