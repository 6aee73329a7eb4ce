"""An accounting database in memory, which answers as sacct would, and fails as it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from openportal.agents.scheduler.slurm.records import JobRecord, JobRecords
from openportal.agents.scheduler.slurm.transport import JobQuery
from openportal.agents.scheduler.slurm.usage import belonging
from openportal.errors import Unavailable


class Accounts:
    """Tells of `records`; `fails` says which questions are not answered."""

    def __init__(
        self,
        records: Sequence[JobRecord],
        fails: Callable[[JobQuery], bool] = lambda query: False,
        unreadable: Sequence[str] = (),
    ) -> None:
        self.records = list(records)
        self.asked: list[JobQuery] = []
        self.unreadable = tuple(unreadable)
        self._fails = fails

    async def jobs(self, query: JobQuery) -> JobRecords:
        self.asked.append(query)
        if self._fails(query):
            raise Unavailable("slurmdbd does not answer")
        found = belonging(self.records, query.window)
        jobs = tuple(job for job in found if not query.accounts or job.account in query.accounts)
        return JobRecords(jobs, self.unreadable)
