"""Questions about jobs that are asked at the same time are asked as one.

slurmdbd's table of jobs has no index by account: to answer for one account it reads the records of all, and a portal
asks for the report of each of its projects at once. So what comes while LANES questions are on their way waits for
the next one to go, and goes together: all accounts that ask for the same window, at most ACCOUNTS_MAX. Nobody waits
for others to come.

What comes back is dealt out by account. If it failed, it failed for all of them. If a record could not be read,
nobody knows whose it was, so each is asked for alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from openportal.agents.scheduler.slurm.records import JobRecord, JobRecords
from openportal.agents.scheduler.slurm.transport import JobQuery, JobSource

LANES: Final = 2
ACCOUNTS_MAX: Final = 50

Answer = asyncio.Future[JobRecords]


class Gathering:
    """A source of records that gathers what is asked of another one."""

    def __init__(self, source: JobSource) -> None:
        self._source = source
        self._waiting: dict[JobQuery, dict[str, list[Answer]]] = {}
        self._going: set[asyncio.Task[None]] = set()

    async def jobs(self, query: JobQuery) -> JobRecords:
        """Of one account together with others; of several or all as it is. Raises JobError."""
        if len(query.accounts) != 1:
            return await self._source.jobs(query)
        answer: Answer = asyncio.get_running_loop().create_future()
        accounts = self._waiting.setdefault(replace(query, accounts=()), {})
        accounts.setdefault(query.accounts[0], []).append(answer)
        self._start()
        return await answer

    def _start(self) -> None:
        while self._waiting and len(self._going) < LANES:
            query, accounts = next(iter(self._waiting.items()))
            taken = {account: accounts.pop(account) for account in [*accounts][:ACCOUNTS_MAX]}
            if not accounts:
                del self._waiting[query]
            task = asyncio.create_task(self._ask(query, taken))
            self._going.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._going.discard(task)
        self._start()

    async def _ask(self, query: JobQuery, waiting: Mapping[str, Sequence[Answer]]) -> None:
        """Ask for some accounts and answer everybody who waits for them."""
        try:
            found = await self._source.jobs(replace(query, accounts=tuple(waiting)))
        except Exception as error:  # it belongs to those who asked
            self._answer(waiting, error)
            return
        if found.unreadable and len(waiting) > 1:
            for account, answers in waiting.items():
                await self._ask(query, {account: answers})
            return
        by_account: defaultdict[str, list[JobRecord]] = defaultdict(list)
        for job in found.jobs:
            by_account[job.account].append(job)
        for account, answers in waiting.items():
            self._answer({account: answers}, JobRecords(tuple(by_account[account]), found.unreadable))

    def _answer(self, waiting: Mapping[str, Sequence[Answer]], outcome: JobRecords | Exception) -> None:
        for answer in (answer for answers in waiting.values() for answer in answers if not answer.done()):
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
