"""Accounts and their users in a Slurm: looks, the plan for what was found, the changes, and another look.

The looks of one question run side by side. Around look, plan and act there is a lock for the account, so that two users
who are the first of their project make one account. A user is associated only once the scheduler's machine knows the
login name: slurmctld asks for it when it hears of the association, and one that it could not find then is refused every
job until it reads its associations again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar, cast

from openportal.agents.scheduler.slurm import plan
from openportal.agents.scheduler.slurm.plan import Change, Found, Target
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.transport import Slurm, User
from openportal.errors import RunError, Unavailable
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.templemeads.handlers import Run

VISIBLE_FIRST_POLL_SECONDS: Final = 0.1
VISIBLE_POLL_SECONDS: Final = 1.0

T = TypeVar("T")
U = TypeVar("U")

log = logging.getLogger(__name__)


async def both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Two looks side by side; also when one fails, the other is waited for."""
    found = await asyncio.gather(one, other, return_exceptions=True)
    for value in found:
        if isinstance(value, BaseException):
            raise value
    return cast("tuple[T, U]", tuple(found))


async def _nothing() -> None:
    """What is decided and needs no call."""


class Visible(Protocol):
    """Tells whether the scheduler's machine knows a login name."""

    async def is_visible(self, user: str) -> bool: ...


class Accounts:
    """The accounts of one cluster."""

    def __init__(self, slurm: Slurm, visible: Visible, settings: Settings) -> None:
        self._slurm = slurm
        self._visible = visible
        self._parent = settings.parent
        self._wait_seconds = settings.account_wait_seconds
        self._cluster = settings.cluster

    async def cluster(self) -> str:
        """The name of the cluster. Raises RunError when the settings name none and Slurm has several."""
        if not self._cluster:
            names = await self._slurm.clusters()
            if len(names) != 1:
                known = ", ".join(names) or "none"
                raise RunError(f"Slurm's database knows these clusters: {known}. Set slurm-cluster to the one to use.")
            self._cluster = names[0]
        return self._cluster

    # --- looks -------------------------------------------------------------------------------------------------------

    async def target(self, mapping: ProjectMapping) -> Target:
        return Target.of(mapping, await self.cluster(), self._parent)

    async def find(self, target: Target) -> Found:
        account, associations = await both(
            self._slurm.account(target.account), self._slurm.associations(target.cluster, target.account)
        )
        return Found(account, associations)

    async def user(self, mapping: UserMapping) -> User | None:
        return await self._slurm.user(plan.user_name(mapping.local_user))

    async def is_added(self, target: Target) -> bool:
        found = await self.find(target)
        return plan.is_managed(found.account) and found.own is not None

    async def is_user_added(self, target: Target, mapping: UserMapping) -> bool:
        there, user = await both(self.is_added(target), self.user(mapping))
        return there and plan.is_user_added(target, user)

    async def has_pending(self, target: Target, user: str = "") -> bool:
        return bool(plan.cancel_pending(target.account, await self._slurm.queue(target.account, user)))

    # --- changes -----------------------------------------------------------------------------------------------------

    async def place(self, run: Run, target: Target) -> None:
        """The account of a project, beneath the parent of the settings."""
        if await self.act(run, plan.place_account(target, await self.find(target))):
            self._require_none(plan.place_account(target, await self.find(target)))

    async def make(self, run: Run, target: Target) -> None:
        """The account of a project, wherever it hangs."""
        if await self.act(run, plan.make_account(target, await self.find(target))):
            self._require_none(plan.make_account(target, await self.find(target)))

    async def add_user(self, run: Run, target: Target, mapping: UserMapping, user: User | None) -> None:
        """A user, who was found so, in the account of a project, which is there."""
        changes = plan.add_user(target, mapping, user)
        if changes:
            await self._until_visible(run, plan.user_name(mapping.local_user))
        if await self.act(run, changes):
            self._require_none(plan.add_user(target, mapping, await self.user(mapping)))

    async def clear_queue(self, run: Run, target: Target, user: str = "") -> None:
        """Cancel what waits in the account of a project, of one user or of all; what runs is left, and told."""
        found, queue = await both(self.find(target), self._slurm.queue(target.account, user))
        plan.require_ours(target, found)
        await self.act(run, plan.cancel_pending(target.account, queue))
        running = [job.job_id for job in queue if job.state != plan.PENDING]
        if running:
            await self._tell_left(run, f"{target.account}{f' of {user}' if user else ''}: {plan.shown_jobs(running)}")

    async def _tell_left(self, run: Run, which: str) -> None:
        """The answer of a removal has no room for it. So it is in the audit trail, in the log, and told on the way."""
        log.warning("Left to end in account %s", which)
        run.progress(f"left to end in account {which}")
        await run.effect(plan.LEAVE_RUNNING, which, _nothing)

    async def act(self, run: Run, changes: Sequence[Change]) -> bool:
        """Make the changes, each between its intent and what was observed; whether there were any."""
        for change in changes:
            await run.effect(change.action, change.target, partial(change.make, self._slurm))
        return bool(changes)

    def _require_none(self, left: Sequence[Change]) -> None:
        """Raise when a look after the changes still finds something to do."""
        if left:
            raise RunError(f"Slurm took the change and does not show it: {left[0].action} {left[0].target}")

    async def _until_visible(self, run: Run, name: str) -> None:
        """Wait until the scheduler's machine knows the login name. Raises Unavailable when it does not in time."""
        waited, pause = 0.0, VISIBLE_FIRST_POLL_SECONDS
        while not await self._visible.is_visible(name):
            if waited >= self._wait_seconds:
                raise Unavailable(
                    f"The scheduler's machine does not know the user {name} (getent passwd) after {waited:.0f} s "
                    "(account-wait); an association made now would be refused every job. Is its directory up to date?"
                )
            if not waited:
                log.info("Waiting until the scheduler's machine knows the user %s (getent passwd)", name)
                run.progress(f"waiting until the scheduler's machine knows the user {name} (getent passwd)")
            await asyncio.sleep(pause)
            waited += pause
            pause = min(VISIBLE_POLL_SECONDS, 2 * pause)
