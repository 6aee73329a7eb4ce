"""The leaf of a scheduler agent on a Slurm.

    add_local_project          the account, beneath parent-account           place again what was moved
    add_local_user             the account, then the user in it, by default  only once `getent passwd` knows the user
    remove_local_…             pending jobs cancelled                        accounts and records stay, running jobs too
    is_local_…_added           whether Slurm has it, on this cluster
    is_local_…_removed         whether nothing waits there any more
    set_local_limit            GrpTRESMins of the account
    get_local_limit            what was asked for                            a limit that drifted is set again
    get_local_usage_report     by day and user                               the same

An account of another organisation is never touched. What a project's limit should be is kept in our own ledger, not in
Slurm: Slurm's figure is adopted only while nobody has asked for one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, tzinfo
from typing import Any

from openportal.agents import naming
from openportal.agents.locks import Locks
from openportal.agents.scheduler.slurm import limits, plan
from openportal.agents.scheduler.slurm.accounts import Accounts, Visible
from openportal.agents.scheduler.slurm.limits import LimitBook
from openportal.agents.scheduler.slurm.plan import Found, Target
from openportal.agents.scheduler.slurm.reports import UsageReports, UsageRules
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.transport import Slurm
from openportal.errors import GrammarError, InvalidJob, OpenPortalError, RunError
from openportal.grammar import instructions as op
from openportal.grammar.dates import DateRange
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.grammar.usage import ProjectUsageReport
from openportal.templemeads.handlers import Handler, Run

log = logging.getLogger(__name__)

DEFAULT_RANGE = "this_week"
Recall = Callable[[], Iterable[tuple[ProjectMapping, int]]]
"""The limits that were set in earlier lives, by what the ledger says. May take a while; raises OpenPortalError."""


class SlurmScheduler:
    """Answers what an instance asks of its scheduler. `clock` gives seconds since 1970."""

    def __init__(
        self, slurm: Slurm, visible: Visible, settings: Settings, zone: tzinfo, recall: Recall,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._accounts = Accounts(slurm, visible, settings)
        self._slurm = slurm
        self._settings = settings
        self._zone = zone
        self._recall = recall
        self._clock = clock
        self._book = LimitBook()
        self._is_recalled = False
        self._reports: UsageReports | None = None
        self._locks = Locks()

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions of a scheduler agent."""
        return {
            op.IsLocalUserAdded: self._is_local_user_added,
            op.IsLocalUserRemoved: self._is_local_user_removed,
            op.IsLocalProjectAdded: self._is_local_project_added,
            op.IsLocalProjectRemoved: self._is_local_project_removed,
            op.AddLocalProject: self._add_local_project,
            op.AddLocalUser: self._add_local_user,
            op.RemoveLocalProject: self._remove_local_project,
            op.RemoveLocalUser: self._remove_local_user,
            op.GetLocalUsageReport: self._get_local_usage_report,
            op.GetLocalLimit: self._get_local_limit,
            op.SetLocalLimit: self._set_local_limit,
        }

    # --- accounts ----------------------------------------------------------------------------------------------------

    async def _is_local_user_added(self, run: Run, instruction: op.IsLocalUserAdded) -> bool:
        mapping = instruction.mapping
        return await self._accounts.is_user_added(await self._target_of(mapping), mapping)

    async def _is_local_user_removed(self, run: Run, instruction: op.IsLocalUserRemoved) -> bool:
        mapping = instruction.mapping
        target = await self._target_of(mapping)
        return not await self._accounts.has_pending(target, plan.user_name(mapping.local_user))

    async def _is_local_project_added(self, run: Run, instruction: op.IsLocalProjectAdded) -> bool:
        return await self._accounts.is_added(await self._accounts.target(instruction.mapping))

    async def _is_local_project_removed(self, run: Run, instruction: op.IsLocalProjectRemoved) -> bool:
        return not await self._accounts.has_pending(await self._accounts.target(instruction.mapping))

    async def _add_local_project(self, run: Run, instruction: op.AddLocalProject) -> None:
        target = await self._accounts.target(instruction.mapping)
        async with self._locks.hold(target.account):
            await self._accounts.place(run, target)

    async def _add_local_user(self, run: Run, instruction: op.AddLocalUser) -> None:
        target = await self._target_of(instruction.mapping)
        async with self._locks.hold(target.account):
            await self._accounts.make(run, target)
        await self._accounts.add_user(run, target, instruction.mapping)

    async def _remove_local_project(self, run: Run, instruction: op.RemoveLocalProject) -> None:
        await self._accounts.clear_queue(run, await self._accounts.target(instruction.mapping))

    async def _remove_local_user(self, run: Run, instruction: op.RemoveLocalUser) -> None:
        mapping = instruction.mapping
        target = await self._target_of(mapping)
        await self._accounts.clear_queue(run, target, plan.user_name(mapping.local_user))

    async def _target_of(self, mapping: UserMapping) -> Target:
        naming.require_local(mapping)
        return await self._accounts.target(ProjectMapping(mapping.user.project_identifier, mapping.local_group))

    # --- limits ------------------------------------------------------------------------------------------------------

    async def _set_local_limit(self, run: Run, instruction: op.SetLocalLimit) -> dict[str, int]:
        seconds = limits.parse_limit(str(instruction.limit))
        target = await self._accounts.target(instruction.mapping)
        await self._remember()
        async with self._locks.hold(target.account):
            wanted = limits.minutes_of(self._book.asked(target.account, seconds).applied, self._settings.node)
            changes = plan.set_minutes(target, await self._accounts.find(target), wanted)
            if await self._accounts.act(run, changes):
                plan.require_minutes(target, await self._accounts.find(target), wanted)
            self._book.request(target.account, seconds)
        return {"seconds": seconds}

    async def _get_local_limit(self, run: Run, instruction: op.GetLocalLimit) -> dict[str, int]:
        target = await self._accounts.target(instruction.mapping)
        found = await self._keep_limit(run, target)
        limit = self._book.limits.get(target.account)
        if limit is not None:
            return {"seconds": limit.requested}
        seconds = limits.seconds_of(found.minutes, self._settings.node)
        if seconds is not None:
            log.warning("The limit of %s is Slurm's own figure: nobody has asked us for one", target.account)
        return {"seconds": seconds or 0}

    async def _keep_limit(self, run: Run, target: Target) -> Found:
        """What Slurm has of an account, with its limit as it should be: set again if it is another one."""
        await self._remember()
        async with self._locks.hold(target.account):
            found = await self._accounts.find(target)
            plan.require_there(target, found)
            limit = self._book.limits.get(target.account)
            if limit is None:
                return found
            changes = plan.set_minutes(target, found, limits.minutes_of(limit.applied, self._settings.node))
            for change in changes:
                log.warning("The limit of %s was not as it should be: %s", target.account, change.target)
            await self._accounts.act(run, changes)
        return found

    async def _remember(self) -> None:
        """Take up the limits of earlier lives, once; what cannot be read is left unknown, and lowers nothing."""
        if self._is_recalled:
            return
        try:
            known = await asyncio.to_thread(lambda: list(self._recall()))
        except OpenPortalError as error:
            raise RunError(f"The limits that were set before cannot be read from the ledger: {error}") from error
        self._book.recall((plan.account_name(mapping.local_group), seconds) for mapping, seconds in known)
        self._is_recalled = True

    # --- usage -------------------------------------------------------------------------------------------------------

    async def _get_local_usage_report(self, run: Run, instruction: op.GetLocalUsageReport) -> dict[str, Any]:
        mapping = instruction.mapping
        days = self._days(str(instruction.range or DEFAULT_RANGE))
        target = await self._accounts.target(mapping)
        found = await self._accounts.find(target)
        plan.require_ours(target, found)
        report = await self._usage(target.cluster).project(mapping.project, target.account, days)
        self._correct(target, report)
        if found.own is not None:
            await self._keep_limit(run, target)
        return with_users(report).to_wire()

    def _days(self, text: str) -> DateRange:
        try:
            return DateRange.parse(text, self._today())
        except GrammarError as error:
            raise InvalidJob(str(error)) from error

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), self._zone).date()

    def _usage(self, cluster: str) -> UsageReports:
        if self._reports is None:
            settings = self._settings
            rules = UsageRules(settings.node, self._zone, settings.policy, settings.partition)
            self._reports = UsageReports(self._slurm, cluster, rules, self._clock)
        return self._reports

    def _correct(self, target: Target, report: ProjectUsageReport) -> None:
        """What the site bears of this month, as far as this report tells."""
        month = f"{self._today():%Y-%m}"
        days = [daily for day, daily in report.reports.items() if f"{day:%Y-%m}" == month]
        absorbed = sum(daily.total_requeue_usage.seconds for daily in days)
        self._book.correct(target.account, absorbed, month)


def with_users(report: ProjectUsageReport) -> ProjectUsageReport:
    """A report that also says who its local users are, as far as their names tell."""
    project = report.project
    for name in sorted({user for daily in report.reports.values() for user in daily.reports}):
        user = naming.user_of(name, project)
        if user is not None:
            report = report.add_mapping(UserMapping(user, name, naming.project_group(project)))
    return report
