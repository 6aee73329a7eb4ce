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

import logging
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any

from openportal.agents import naming
from openportal.agents.locks import Locks
from openportal.agents.scheduler.slurm import plan
from openportal.agents.scheduler.slurm.accounts import Accounts, Visible, both
from openportal.agents.scheduler.slurm.keeper import LimitKeeper, Recall
from openportal.agents.scheduler.slurm.plan import Target
from openportal.agents.scheduler.slurm.reports import UsageReports, UsageRules
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.transport import Slurm
from openportal.errors import GrammarError, InvalidJob, JobError
from openportal.grammar import instructions as op
from openportal.grammar.dates import DateRange
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.grammar.usage import ProjectUsageReport
from openportal.templemeads.handlers import Handler, Run

DEFAULT_RANGE = "this_week"

log = logging.getLogger(__name__)


class SlurmScheduler:
    """Answers what an instance asks of its scheduler. `clock` gives seconds since 1970."""

    def __init__(
        self, slurm: Slurm, visible: Visible, settings: Settings, zone: tzinfo, recall: Recall,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._locks = Locks()
        self._accounts = Accounts(slurm, visible, settings)
        self._keeper = LimitKeeper(self._accounts, settings.node, zone, recall, clock, self._locks)
        self._rules = UsageRules(settings.node, zone, settings.policy, settings.partition)
        self._slurm = slurm
        self._clock = clock
        self._reports: UsageReports | None = None

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
        mapping = instruction.mapping
        target = await self._target_of(mapping)
        async with self._locks.hold(target.account):
            _, user = await both(self._accounts.make(run, target), self._accounts.user(mapping))
        await self._accounts.add_user(run, target, mapping, user)

    async def _remove_local_project(self, run: Run, instruction: op.RemoveLocalProject) -> None:
        await self._accounts.clear_queue(run, await self._accounts.target(instruction.mapping))

    async def _remove_local_user(self, run: Run, instruction: op.RemoveLocalUser) -> None:
        mapping = instruction.mapping
        target = await self._target_of(mapping)
        await self._accounts.clear_queue(run, target, plan.user_name(mapping.local_user))

    async def _target_of(self, mapping: UserMapping) -> Target:
        naming.require_local(mapping)
        return await self._accounts.target(ProjectMapping(mapping.user.project_identifier, mapping.local_group))

    # --- limits and usage --------------------------------------------------------------------------------------------

    async def _set_local_limit(self, run: Run, instruction: op.SetLocalLimit) -> dict[str, int]:
        seconds = instruction.limit.usage.seconds
        target = await self._accounts.target(instruction.mapping)
        await self._keeper.set(run, target, seconds, self._usage(target.cluster))
        return {"seconds": seconds}

    async def _get_local_limit(self, run: Run, instruction: op.GetLocalLimit) -> dict[str, int]:
        target = await self._accounts.target(instruction.mapping)
        return {"seconds": await self._keeper.get(run, target, self._usage(target.cluster))}

    async def _get_local_usage_report(self, run: Run, instruction: op.GetLocalUsageReport) -> dict[str, Any]:
        days = self._days(str(instruction.range or DEFAULT_RANGE))
        target = await self._accounts.target(instruction.mapping)
        found = await self._accounts.find(target)
        plan.require_ours(target, found)
        reports = self._usage(target.cluster)
        report = await reports.project(target.project, target.account, days)
        if found.own is not None:
            await self._keep_limit(run, target, reports)
        return with_users(report).to_wire()

    async def _keep_limit(self, run: Run, target: Target, reports: UsageReports) -> None:
        """A report is not withheld because a limit could not be set again."""
        try:
            await self._keeper.keep(run, target, reports)
        except JobError as error:
            log.error("The limit of %s could not be kept: %s", target.account, error)

    def _days(self, text: str) -> DateRange:
        try:
            return DateRange.parse(text, self._keeper.today())
        except GrammarError as error:
            raise InvalidJob(str(error)) from error

    def _usage(self, cluster: str) -> UsageReports:
        if self._reports is None:
            self._reports = UsageReports(self._slurm, cluster, self._rules, self._clock)
        return self._reports


def with_users(report: ProjectUsageReport) -> ProjectUsageReport:
    """A report that also says who its local users are, as far as their names tell."""
    project = report.project
    for name in sorted({user for daily in report.reports.values() for user in daily.reports}):
        user = naming.user_of(name, project)
        if user is not None:
            report = report.add_mapping(UserMapping(user, name, naming.project_group(project)))
    return report
