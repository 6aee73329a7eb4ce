"""Questions about jobs that are asked at the same time are asked as one (`together.py`).

slurmdbd's table of jobs has no index by account: to answer for one account it reads the records of all, and a portal
asks for the report of each of its projects at once. What comes back is dealt out by account. If a record could not be
read, nobody knows whose it was, so each account is asked for alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from openportal.agents.scheduler.slurm.records import JobRecord, JobRecords
from openportal.agents.scheduler.slurm.together import Together
from openportal.agents.scheduler.slurm.transport import JobQuery, JobSource

ACCOUNTS_MAX: Final = 200


class Gathering:
    """A source of records that gathers what is asked of another one."""

    def __init__(self, source: JobSource) -> None:
        self._source = source
        self._together = Together(self._ask, ACCOUNTS_MAX)

    async def jobs(self, query: JobQuery) -> JobRecords:
        """Of one account together with others; of several or all as it is. Raises JobError."""
        if len(query.accounts) != 1:
            return await self._source.jobs(query)
        return await self._together.ask(replace(query, accounts=()), query.accounts[0])

    async def _ask(self, query: JobQuery, accounts: Sequence[str]) -> Mapping[str, JobRecords]:
        """The records of each of some accounts."""
        found = await self._source.jobs(replace(query, accounts=tuple(accounts)))
        if found.unreadable and len(accounts) > 1:
            alone = [await self._ask(query, (account,)) for account in accounts]
            return {account: records for one in alone for account, records in one.items()}
        by_account: defaultdict[str, list[JobRecord]] = defaultdict(list)
        for job in found.jobs:
            by_account[job.account].append(job)
        return {account: JobRecords(tuple(by_account[account]), found.unreadable) for account in accounts}
