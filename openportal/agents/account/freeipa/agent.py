"""Accounts in FreeIPA, by the JSON-RPC of one of its masters.

Each handler looks, asks `plan` what is missing, and runs each call of a step through `Run.effect`. The calls of a step
are made at once, so their intents share a commit and they share a request. The answers of the server are the second
look: the last call of a change tells how the user is then.

    a new user, its groups there     1 user-show, 1 user-add, a membership for each group, 1 user-mod     in 3 requests

Fewer are not possible: FreeIPA has no call that puts a user into several groups, and none that does so as it makes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from openportal.agents import naming
from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.acting import carry_out, raise_first
from openportal.agents.account.freeipa.directory import Directory
from openportal.agents.account.freeipa.entries import Account
from openportal.agents.account.freeipa.plan import Wanted
from openportal.agents.account.freeipa.servers import Server
from openportal.agents.account.policy import EXISTING, USABLE, Standing
from openportal.agents.account.verbs import handlers_of
from openportal.agents.locks import Locks
from openportal.errors import RunError
from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectIdentifier, ProjectMapping, UserIdentifier, UserMapping
from openportal.templemeads.handlers import Handler, Run

T = TypeVar("T")


class FreeIpaAccounts:
    """The leaf of an account agent, on FreeIPA."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._policy = directory.policy
        self._locks = Locks()

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions of an account agent."""
        return handlers_of(self)

    # --- looks -----------------------------------------------------------------------------------------------------

    async def get_projects(self, run: Run, instruction: op.GetProjects) -> list[ProjectMapping]:
        if instruction.portal.portal in naming.INTERNAL_PORTALS:
            return []
        found = await self._directory.projects(instruction.portal, run.sender)
        return [ProjectMapping(project, group.name) for project, group in found.items()]

    async def get_project_mapping(self, run: Run, instruction: op.GetProjectMapping) -> ProjectMapping:
        group = await self._directory.project(instruction.project)
        if group is None:
            raise RunError(f"Project does not exist: {instruction.project}")
        return ProjectMapping(instruction.project, group.name)

    async def get_users(self, run: Run, instruction: op.GetUsers) -> list[UserMapping]:
        found = await self._directory.members(instruction.project, run.sender)
        return [plan.mapping(user, account) for user, account, _ in found]

    async def get_user_mapping(self, run: Run, instruction: op.GetUserMapping) -> UserMapping:
        account, is_now = await self._directory.stand(instruction.user)
        return plan.mapping(instruction.user, plan.require_account(instruction.user, account, is_now))

    async def is_existing_project(self, run: Run, instruction: op.IsExistingProject) -> bool:
        return await self._directory.project(instruction.project) is not None

    async def is_existing_user(self, run: Run, instruction: op.IsExistingUser) -> bool:
        return (await self._directory.stand(instruction.user))[1] in EXISTING

    async def is_protected_user(self, run: Run, instruction: op.IsProtectedUser) -> bool:
        return (await self._directory.stand(instruction.user))[1] is Standing.PROTECTED

    async def is_blocked_user(self, run: Run, instruction: op.IsBlockedUser) -> bool:
        return (await self._directory.stand(instruction.user))[1] is Standing.BLOCKED

    async def is_local_user_added(self, run: Run, instruction: op.IsLocalUserAdded) -> bool:
        naming.require_local(instruction.mapping)
        user = instruction.mapping.user
        account, is_now = await self._directory.stand(user)
        if account is None or instruction.mapping != plan.mapping(user, account):
            return False
        return plan.is_added(account, is_now, self._wanted(user, run.sender, instruction.mapping.local_group))

    async def is_local_user_removed(self, run: Run, instruction: op.IsLocalUserRemoved) -> bool:
        naming.require_local(instruction.mapping)
        account, is_now = await self._directory.stand(instruction.mapping.user)
        if account is None or is_now is Standing.FOREIGN:
            return True
        return plan.is_removed(account, is_now, run.sender, self._policy)

    async def is_local_project_added(self, run: Run, instruction: op.IsLocalProjectAdded) -> bool:
        group = await self._directory.project(instruction.mapping.project)
        return group is not None and group.name == instruction.mapping.local_group

    async def is_local_project_removed(self, run: Run, instruction: op.IsLocalProjectRemoved) -> bool:
        members = await self._directory.members(instruction.mapping.project, run.sender)
        return not any(is_now in USABLE for _, _, is_now in members)

    # --- changes ---------------------------------------------------------------------------------------------------

    async def add_project(self, run: Run, instruction: op.AddProject) -> ProjectMapping:
        project = instruction.project
        mapping = naming.project_mapping(project)
        plan.require_lower(mapping.local_group)

        async def attempt(server: Server) -> ProjectMapping:
            group = await self._directory.look_project(server, project)
            if group is None:
                await self._make_group(run, server, mapping.local_group, project)
            return ProjectMapping(project, group.name if group else mapping.local_group)

        return await self._directory.until_done(attempt)

    async def remove_project(self, run: Run, instruction: op.RemoveProject) -> ProjectMapping:
        project = instruction.project
        group = await self._directory.project(project)
        members = await self._directory.members(project, run.sender)
        done = await asyncio.gather(*(self._remove(run, user) for user, _, _ in members), return_exceptions=True)
        raise_first(done)
        return ProjectMapping(project, group.name) if group else naming.project_mapping(project)

    async def add_user(self, run: Run, instruction: op.AddUser) -> UserMapping:
        user = instruction.user
        plan.require_lower(naming.user_mapping(user).local_user)

        async def attempt(server: Server) -> UserMapping:
            found = await self._directory.survey(server, user, run.sender)
            project = found.group.name if found.group else naming.project_group(user.project_identifier)
            groups = self._wanted(user, run.sender, project)
            wanted = plan.to_add(user, found.account, found.standing, groups)
            if wanted is None:
                return plan.mapping(user, found.account)
            for name in found.missing:
                await self._make_group(run, server, name, user.project_identifier if name == project else None)
            await self._settle(run, server, user, found.account, wanted)
            return UserMapping(user, naming.local_user(user), project)

        return await self._change(user, attempt)

    async def remove_user(self, run: Run, instruction: op.RemoveUser) -> UserMapping:
        return await self._remove(run, instruction.user)

    async def _remove(self, run: Run, user: UserIdentifier) -> UserMapping:
        async def attempt(server: Server) -> UserMapping:
            account, is_now = await self._directory.look_user(server, user)
            wanted = plan.to_remove(user, account, is_now, run.sender, self._policy) if account else None
            if wanted is not None:
                await self._settle(run, server, user, account, wanted)
            return plan.mapping(user, account)

        return await self._change(user, attempt)

    async def block_user(self, run: Run, instruction: op.BlockUser) -> UserMapping:
        def decide(account: Account, is_now: Standing) -> Wanted | None:
            return plan.to_block(is_now, self._policy)

        return await self._alter(run, instruction.user, decide)

    async def unblock_user(self, run: Run, instruction: op.UnblockUser) -> UserMapping:
        def decide(account: Account, is_now: Standing) -> Wanted | None:
            return plan.to_unblock(account, is_now, self._policy)

        return await self._alter(run, instruction.user, decide)

    async def update_homedir(self, run: Run, instruction: op.UpdateHomedir) -> str:
        home = str(instruction.path)

        def decide(account: Account, is_now: Standing) -> Wanted | None:
            return plan.to_move(account, is_now, home)

        await self._alter(run, instruction.user, decide)
        return home

    async def _alter(
        self, run: Run, user: UserIdentifier, decide: Callable[[Account, Standing], Wanted | None]
    ) -> UserMapping:
        """Change an account that must be there."""

        async def attempt(server: Server) -> UserMapping:
            account, is_now = await self._directory.look_user(server, user)
            account = plan.require_account(user, account, is_now)
            wanted = decide(account, is_now)
            if wanted is not None:
                groups = await self._directory.groups(server, wanted.join)
                for name in (name for name, group in groups.items() if group is None):
                    await self._make_group(run, server, name)
                await self._settle(run, server, user, account, wanted)
            return plan.mapping(user, account)

        return await self._change(user, attempt)

    # --- acting ----------------------------------------------------------------------------------------------------

    async def _change(self, user: UserIdentifier, attempt: Callable[[Server], Awaitable[T]]) -> T:
        async with self._locks.hold(f"user {naming.local_user(user)}"):
            return await self._directory.until_done(attempt)

    async def _settle(
        self, run: Run, server: Server, user: UserIdentifier, account: Account | None, wanted: Wanted
    ) -> None:
        await carry_out(run, server, plan.plan(user, account, wanted))

    async def _make_group(self, run: Run, server: Server, name: str, project: ProjectIdentifier | None = None) -> None:
        async with self._locks.hold(f"group {name}"):
            if self._directory.known.get(name) is None:
                call = plan.make_group(name, project)
                result = await run.effect(call.action, call.target, partial(server.change, call))
                self._directory.remember(result)

    def _wanted(self, user: UserIdentifier, peer: str, project_group: str) -> tuple[str, ...]:
        """The groups of a user, its project's first, by the name that this one has."""
        return tuple(dict.fromkeys((project_group, *self._policy.wanted(user, peer)[1:])))
