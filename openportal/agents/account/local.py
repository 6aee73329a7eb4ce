"""Accounts of the machine itself, made with the shadow tools (useradd, usermod, groupadd, groupdel, gpasswd).

Each handler looks, asks `plan` what to do, and runs each call of the plan through `Run.effect`; then it looks again.
The commands are settings and may have a prefix (`docker exec node useradd`). Look-ups use the C library in this
process; with any other `getent` than the plain one they run that command.

The shadow tools lock one file for the whole machine, so they run one at a time. Around each look-plan-act there is a
lock for the project's group and one for the login name, taken in that order.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from openportal.agents import naming
from openportal.agents.account import plan
from openportal.agents.account.plan import Account, Call, Group
from openportal.agents.account.policy import EXISTING, USABLE, Policy, Standing
from openportal.agents.account.verbs import handlers_of
from openportal.agents.locks import Locks
from openportal.errors import ConfigError, RunError, Unavailable
from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectIdentifier, ProjectMapping, UserIdentifier, UserMapping
from openportal.templemeads.handlers import Handler, Run

log = logging.getLogger(__name__)

TOOLS = ("useradd", "groupadd", "groupdel", "usermod", "gpasswd", "getent")
TOOL_SECONDS = 30.0
GETENT_ABSENT = 2
MEMBERS_MAX = 100_000
PASSWD_FIELDS = 7
GROUP_FIELDS = 4
LOCKED = "cannot lock"
OUR_PREFIX = "OPENPORTAL_"


class Tools:
    """Runs one command at a time; never through a shell."""

    def __init__(self, extras: Mapping[str, str]) -> None:
        self._commands = {tool: tuple(extras.get(tool, tool).split()) for tool in TOOLS}
        for tool, command in self._commands.items():
            if not command:
                raise ConfigError(f"extras.{tool} is empty; leave it out or give the command.")
        self._one = asyncio.Lock()

    def is_plain(self, tool: str) -> bool:
        """True when the setting does not replace the tool."""
        return self._commands[tool] == (tool,)

    async def change(self, call: Call) -> None:
        """Run a call of a plan. Raises RunError, or Unavailable when another program holds the files."""
        async with self._one:
            code, _, errors = await self._run(call.tool, call.arguments)
        if code in call.accept:
            return
        sentence = f"{call.tool} failed for {call.target} with exit code {code}: {_last_line(errors)}"
        raise Unavailable(sentence) if LOCKED in errors else RunError(sentence)

    async def read(self, *arguments: str) -> str | None:
        """What getent prints; None when it says that there is no such entry."""
        code, output, errors = await self._run("getent", arguments)
        if code == 0:
            return output
        if code == GETENT_ABSENT:
            return None
        raise Unavailable(f"getent {' '.join(arguments)} failed with exit code {code}: {_last_line(errors)}")

    async def _run(self, tool: str, arguments: Sequence[str]) -> tuple[int, str, str]:
        """A tool that was started is waited for even when we are cancelled: cut short, it leaves half an account."""
        task = asyncio.ensure_future(self._finish(tool, arguments))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    async def _finish(self, tool: str, arguments: Sequence[str]) -> tuple[int, str, str]:
        command = (*self._commands[tool], *arguments)
        pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=none, stdout=pipe, stderr=pipe, env=_environment()
            )
        except OSError as error:
            raise RunError(f"{command[0]} cannot be started ({error.strerror}); see extras.{tool}.") from error
        try:
            output, errors = await asyncio.wait_for(process.communicate(), TOOL_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise Unavailable(f"{tool} did not finish within {TOOL_SECONDS:.0f} s.") from None
        return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")


class Lookup(Protocol):
    """Reads accounts and groups."""

    async def account(self, name: str) -> Account | None: ...

    async def group(self, name: str) -> Group | None: ...

    async def groups(self) -> list[Group]: ...


class LibraryLookup:
    """By the C library, in this process."""

    async def account(self, name: str) -> Account | None:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        gids = [gid for gid in os.getgrouplist(name, entry.pw_gid) if gid != entry.pw_gid]
        groups = frozenset(found for gid in gids if (found := _group_name(gid)) is not None)
        return Account(entry.pw_name, entry.pw_gecos, entry.pw_dir, groups)

    async def group(self, name: str) -> Group | None:
        try:
            return _group(grp.getgrnam(name))
        except KeyError:
            return None

    async def groups(self) -> list[Group]:
        return [_group(entry) for entry in grp.getgrall()]


class CommandLookup:
    """By the command of extras.getent."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def account(self, name: str) -> Account | None:
        fields = _fields(await self._tools.read("passwd", "--", name), PASSWD_FIELDS)
        if not fields:
            return None
        groups = frozenset(group.name for group in await self.groups() if name in group.members)
        return Account(fields[0][0], fields[0][4], fields[0][5], groups)

    async def group(self, name: str) -> Group | None:
        found = _parse_groups(await self._tools.read("group", "--", name))
        return found[0] if found else None

    async def groups(self) -> list[Group]:
        return _parse_groups(await self._tools.read("group"))


class LocalAccounts:
    """The leaf of an account agent for the machine it runs on (or another one, by the prefixes of its commands)."""

    def __init__(self, extras: Mapping[str, str]) -> None:
        self._policy = Policy.of(extras)
        self._tools = Tools(extras)
        self._lookup: Lookup = LibraryLookup() if self._tools.is_plain("getent") else CommandLookup(self._tools)
        self._locks = Locks()
        log.warning("Local accounts are made on this machine only; a cluster's accounts belong into a directory.")

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions of an account agent."""
        return handlers_of(self)

    # --- looks -----------------------------------------------------------------------------------------------------

    async def get_projects(self, run: Run, instruction: op.GetProjects) -> list[ProjectMapping]:
        groups = (group.name for group in await self._lookup.groups() if group.name not in self._policy.reserved)
        projects = (naming.project_of(group, instruction.portal) for group in groups if not naming.is_legacy(group))
        return [naming.project_mapping(project) for project in projects if project]

    async def get_project_mapping(self, run: Run, instruction: op.GetProjectMapping) -> ProjectMapping:
        mapping = naming.project_mapping(instruction.project)
        if await self._lookup.group(mapping.local_group) is None:
            raise RunError(f"Project does not exist: {instruction.project}")
        return mapping

    async def get_users(self, run: Run, instruction: op.GetUsers) -> list[UserMapping]:
        users = await self._members(instruction.project)
        return [naming.user_mapping(user) for user in users]

    async def get_user_mapping(self, run: Run, instruction: op.GetUserMapping) -> UserMapping:
        plan.require_account(instruction.user, await self._account(instruction.user), self._policy)
        return naming.user_mapping(instruction.user)

    async def is_existing_project(self, run: Run, instruction: op.IsExistingProject) -> bool:
        return await self._lookup.group(naming.project_group(instruction.project)) is not None

    async def is_existing_user(self, run: Run, instruction: op.IsExistingUser) -> bool:
        return await self._standing(instruction.user) in EXISTING

    async def is_protected_user(self, run: Run, instruction: op.IsProtectedUser) -> bool:
        return await self._standing(instruction.user) is Standing.PROTECTED

    async def is_blocked_user(self, run: Run, instruction: op.IsBlockedUser) -> bool:
        return await self._standing(instruction.user) is Standing.BLOCKED

    async def is_local_user_added(self, run: Run, instruction: op.IsLocalUserAdded) -> bool:
        naming.require_local(instruction.mapping)
        user = instruction.mapping.user
        account = await self._account(user)
        if account is None or instruction.mapping != naming.user_mapping(user):
            return False
        active = plan.standing(account, user, self._policy) is Standing.ACTIVE
        return active and account.groups.issuperset(self._policy.wanted(user, run.sender))

    async def is_local_user_removed(self, run: Run, instruction: op.IsLocalUserRemoved) -> bool:
        naming.require_local(instruction.mapping)
        account = await self._account(instruction.mapping.user)
        is_now = plan.standing(account, instruction.mapping.user, self._policy)
        return account is None or is_now is Standing.FOREIGN or plan.is_stripped(account, self._policy)

    async def is_local_project_added(self, run: Run, instruction: op.IsLocalProjectAdded) -> bool:
        mapping = instruction.mapping
        if mapping != naming.project_mapping(mapping.project):
            return False
        return await self._lookup.group(mapping.local_group) is not None

    async def is_local_project_removed(self, run: Run, instruction: op.IsLocalProjectRemoved) -> bool:
        standings = [await self._standing(user) for user in await self._members(instruction.mapping.project)]
        return not any(standing in USABLE for standing in standings)

    # --- changes ---------------------------------------------------------------------------------------------------

    async def add_project(self, run: Run, instruction: op.AddProject) -> ProjectMapping:
        mapping = naming.project_mapping(instruction.project)
        async with self._locks.hold(mapping.local_group):
            group, namesake = await self._project_group(mapping.local_group)
            await self._act(run, plan.add_project(instruction.project, group, namesake, self._policy))
            if await self._lookup.group(mapping.local_group) is None:
                raise RunError(f"The group {mapping.local_group} was created and is not there.")
        return mapping

    async def remove_project(self, run: Run, instruction: op.RemoveProject) -> ProjectMapping:
        mapping = naming.project_mapping(instruction.project)
        async with self._locks.hold(mapping.local_group):
            for user in await self._members(instruction.project):
                async with self._locks.hold(naming.local_user(user)):
                    await self._disable(run, user)
            await self._act(run, plan.delete_group(await self._lookup.group(mapping.local_group), self._policy))
        return mapping

    async def add_user(self, run: Run, instruction: op.AddUser) -> UserMapping:
        user = instruction.user
        async with self._locked(user) as mapping:
            group, namesake = await self._project_group(mapping.local_group)
            plan.require_project_group(mapping.local_group, group, namesake, self._policy)
            wanted = self._policy.wanted(user, run.sender)
            missing = await self._missing(wanted)
            await self._act(run, plan.add_user(user, await self._account(user), wanted, missing, self._policy))
            if plan.add_user(user, await self._account(user), wanted, (), self._policy):
                raise RunError(f"{mapping.local_user} was added and is still not in all of its groups.")
        return mapping

    async def remove_user(self, run: Run, instruction: op.RemoveUser) -> UserMapping:
        async with self._locked(instruction.user) as mapping:
            await self._disable(run, instruction.user)
        return mapping

    async def block_user(self, run: Run, instruction: op.BlockUser) -> UserMapping:
        user = instruction.user
        async with self._locked(user) as mapping:
            missing = await self._missing([self._policy.blocked])
            await self._act(run, plan.block_user(user, await self._account(user), missing, self._policy))
            if plan.block_user(user, await self._account(user), (), self._policy):
                raise RunError(f"{mapping.local_user} was blocked and is not in the group {self._policy.blocked}.")
        return mapping

    async def unblock_user(self, run: Run, instruction: op.UnblockUser) -> UserMapping:
        user = instruction.user
        async with self._locked(user) as mapping:
            await self._act(run, plan.unblock_user(user, await self._account(user), self._policy))
            if plan.unblock_user(user, await self._account(user), self._policy):
                raise RunError(f"{mapping.local_user} is still in the group {self._policy.blocked}.")
        return mapping

    async def update_homedir(self, run: Run, instruction: op.UpdateHomedir) -> str:
        user, home = instruction.user, str(instruction.path)
        async with self._locked(user):
            await self._act(run, plan.update_home(user, await self._account(user), home, self._policy))
        return home

    # --- shared ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _locked(self, user: UserIdentifier) -> AsyncIterator[UserMapping]:
        mapping = naming.user_mapping(user)
        async with self._locks.hold(mapping.local_group), self._locks.hold(mapping.local_user):
            yield mapping

    async def _disable(self, run: Run, user: UserIdentifier) -> None:
        missing = await self._missing([self._policy.removed])
        await self._act(run, plan.remove_user(user, await self._account(user), missing, self._policy))
        if plan.remove_user(user, await self._account(user), (), self._policy):
            raise RunError(f"{naming.local_user(user)} was removed and is still in other groups.")

    async def _act(self, run: Run, calls: Sequence[Call]) -> None:
        for call in calls:
            await run.effect(call.action, call.target, self._change(call))

    def _change(self, call: Call) -> Callable[[], Awaitable[None]]:
        return lambda: self._tools.change(call)

    async def _account(self, user: UserIdentifier) -> Account | None:
        return await self._lookup.account(naming.local_user(user))

    async def _standing(self, user: UserIdentifier) -> Standing:
        return plan.standing(await self._account(user), user, self._policy)

    async def _project_group(self, name: str) -> tuple[Group | None, Account | None]:
        """The group of that name, and the user of that name, who must not exist."""
        return await self._lookup.group(name), await self._lookup.account(name)

    async def _missing(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if await self._lookup.group(name) is None]

    async def _members(self, project: ProjectIdentifier) -> list[UserIdentifier]:
        group = await self._lookup.group(naming.project_group(project))
        members = group.members[:MEMBERS_MAX] if group else ()
        return [user for name in members if (user := naming.user_of(name, project)) is not None]


def _environment() -> dict[str, str]:
    """Ours without our own settings, some of which are secret; messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OUR_PREFIX)}
    return {**kept, "LC_ALL": "C"}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


def _group_name(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def _group(entry: grp.struct_group) -> Group:
    return Group(entry.gr_name, entry.gr_gid, tuple(entry.gr_mem))


def _fields(text: str | None, count: int) -> list[list[str]]:
    """The lines of a database, cut at the colons; lines of another shape are left out."""
    lines = (line.split(":") for line in (text or "").splitlines())
    return [fields for fields in lines if len(fields) == count]


def _parse_groups(text: str | None) -> list[Group]:
    return [
        Group(name, int(gid), tuple(filter(None, members.split(","))))
        for name, _, gid, members in _fields(text, GROUP_FIELDS)
        if gid.isdecimal()
    ]
