"""Keeps the limits of accounts as they should be (`limits.py` says what that is).

A limit that is another one than it should be is set again by whatever looks at it next: a question for the limit or for
usage, as portals ask them all day. What the site bears of this month is read from accounting before the first change,
and again after an hour; while that fails, what is known counts on. So nothing is lowered for want of an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import date, datetime, tzinfo
from typing import Final

from openportal.agents.locks import Locks
from openportal.agents.scheduler.slurm import limits, plan
from openportal.agents.scheduler.slurm.accounts import Accounts
from openportal.agents.scheduler.slurm.limits import Limit
from openportal.agents.scheduler.slurm.plan import Found, Target
from openportal.agents.scheduler.slurm.reports import UsageReports
from openportal.errors import JobError, OpenPortalError, RunError
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import ProjectMapping
from openportal.grammar.quantities import Node
from openportal.templemeads.handlers import Run

CORRECTION_SECONDS: Final = 3600

log = logging.getLogger(__name__)

Recall = Callable[[], Iterable[tuple[ProjectMapping, int]]]
"""The limits that were set in earlier lives, by what the ledger says. May take a while; raises OpenPortalError."""


class LimitKeeper:
    """The limits of the accounts of one cluster. `clock` gives seconds since 1970."""

    def __init__(
        self, accounts: Accounts, node: Node, zone: tzinfo, recall: Recall, clock: Callable[[], float], locks: Locks
    ) -> None:
        self._accounts = accounts
        self._node = node
        self._zone = zone
        self._recall = recall
        self._clock = clock
        self._locks = locks
        self._limits: dict[str, Limit] = {}
        self._looked: dict[str, float] = {}
        self._is_recalled = False

    def today(self) -> date:
        """The day at the site."""
        return datetime.fromtimestamp(self._clock(), self._zone).date()

    async def set(self, run: Run, target: Target, seconds: int, reports: UsageReports) -> None:
        """Make it the limit of an account."""
        await self._remember()
        async with self._locks.hold(target.account):
            found = await self._accounts.find(target)
            plan.require_there(target, found)
            known = self._limits.get(target.account, Limit(seconds))
            limit = await self._corrected(target, known.asking(seconds), reports)
            wanted = limits.minutes_of(limit.applied, self._node)
            if await self._accounts.act(run, plan.set_minutes(target, found, wanted)):
                plan.require_minutes(target, await self._accounts.find(target), wanted)
            self._limits[target.account] = limit

    async def get(self, run: Run, target: Target, reports: UsageReports) -> int:
        """What was asked for; where nobody asked us, what Slurm allows, and 0 if it has no limit."""
        found = await self.keep(run, target, reports)
        limit = self._limits.get(target.account)
        if limit is not None:
            return limit.requested
        seconds = limits.seconds_of(found.minutes, self._node)
        if seconds is not None:
            log.warning("The limit of %s is Slurm's own figure: nobody has asked us for one", target.account)
        return seconds or 0

    async def keep(self, run: Run, target: Target, reports: UsageReports) -> Found:
        """What Slurm has of an account; its limit is set again if it is not as it should be."""
        await self._remember()
        async with self._locks.hold(target.account):
            found = await self._accounts.find(target)
            plan.require_there(target, found)
            known = self._limits.get(target.account)
            if known is None:
                return found
            limit = self._limits[target.account] = await self._corrected(target, known, reports)
            changes = plan.set_minutes(target, found, limits.minutes_of(limit.applied, self._node))
            if changes:
                log.warning("The limit of %s is not as it should be: %s", target.account, changes[0].target)
            await self._accounts.act(run, changes)
        return found

    async def _corrected(self, target: Target, limit: Limit, reports: UsageReports) -> Limit:
        """With what the site bears of this month. Raises JobError if that was never known and cannot be read."""
        today, now = self.today(), self._clock()
        month = f"{today:%Y-%m}"
        if limit.month == month and now < self._looked.get(target.account, 0.0) + CORRECTION_SECONDS:
            return limit
        try:
            report = await reports.project(target.project, target.account, DateRange(today.replace(day=1), today))
        except JobError as error:
            if limit.month != month:
                raise
            log.warning("What %s is not charged for of %s is not known anew: %s", target.account, month, error)
            return limit
        self._looked[target.account] = now
        absorbed = sum(daily.total_requeue_usage.seconds for daily in report.reports.values())
        return limit.corrected(absorbed, month)

    async def _remember(self) -> None:
        """Take up the limits of earlier lives, once. Raises RunError: without them, a limit could be lowered."""
        if self._is_recalled:
            return
        try:
            known = await asyncio.to_thread(lambda: list(self._recall()))
        except OpenPortalError as error:
            raise RunError(f"The limits that were set before cannot be read from the ledger: {error}") from error
        for mapping, seconds in known:
            self._limits.setdefault(plan.account_name(mapping.local_group), Limit(seconds))
        self._is_recalled = True
