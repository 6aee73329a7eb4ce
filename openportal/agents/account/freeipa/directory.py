"""What FreeIPA holds of users, groups and projects: every look that the account agent makes.

A round of looking and acting stays on one master (`Server`). When that does not answer, or what was found has changed
under our hands, the round begins again with a look, for as long as a caller would wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from openportal.agents import naming
from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.cache import KnownGroups
from openportal.agents.account.freeipa.calls import Call, IpaBusy, IpaDown, IpaExists, IpaNotFound
from openportal.agents.account.freeipa.entries import (
    Account,
    Group,
    account_of,
    find_groups,
    find_users,
    group_of,
    show_group,
    show_user,
)
from openportal.agents.account.freeipa.servers import Server, Servers
from openportal.agents.account.freeipa.settings import Settings
from openportal.agents.account.policy import USABLE, Policy, Standing
from openportal.errors import RunError
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier

PATIENCE_SECONDS = 20.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
RACES_MAX = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Survey:
    """What decides how a user is added: its account, its project's group, and the wanted groups that do not exist."""

    account: Account | None
    standing: Standing
    group: Group | None
    missing: tuple[str, ...]


class Directory:
    """The looks, by way of the masters."""

    def __init__(self, settings: Settings, servers: Servers, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy: Policy = settings.policy
        self.known = KnownGroups()
        self._require_class = settings.require_class
        self._servers = servers
        self._clock = clock

    async def until_done(self, attempt: Callable[[Server], Awaitable[T]]) -> T:
        """Rounds, each on one master, until one is not cut short. Raises what cut the last one short."""
        give_up, pause, races = math.inf, FIRST_PAUSE_SECONDS, 0
        while True:
            try:
                return await attempt(self._servers.writer())
            except (IpaDown, IpaBusy):
                give_up = min(give_up, self._clock() + PATIENCE_SECONDS)  # waiting one's turn is no failure
                if self._clock() + pause > give_up:
                    raise
            except (IpaNotFound, IpaExists) as error:
                self.known.forget(error.entry)
                races += 1
                if races > RACES_MAX:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    # --- users -------------------------------------------------------------------------------------------------------

    async def stand(self, user: UserIdentifier) -> tuple[Account | None, Standing]:
        """The account of a user and how it stands to us."""
        naming.user_mapping(user)
        return await self.until_done(lambda server: self.look_user(server, user))

    async def look_user(self, server: Server, user: UserIdentifier) -> tuple[Account | None, Standing]:
        """The same, of this master in this round. "None" is believed when every master says so."""
        account = await self._account(server, naming.local_user(user))
        return account, self.standing(account, user)

    def standing(self, account: Account | None, user: UserIdentifier) -> Standing:
        return plan.standing(account, user, self.policy, self._require_class)

    def standing_of(self, account: Account) -> Standing:
        """How an account stands to us that names its user itself; one that names nobody is somebody else's."""
        return self.standing(account, account.user) if account.user is not None else Standing.PROTECTED

    async def _account(self, server: Server, name: str) -> Account | None:
        call = show_user(name)
        try:
            return account_of((await server.look(call))["result"])
        except IpaNotFound:
            elsewhere = await self._servers.elsewhere(server, call)
        if elsewhere is None:
            return None
        raise IpaBusy(f"The user {name} is on another FreeIPA master and not on {server.name} yet; try again later.")

    async def accounts(self, groups: Sequence[str]) -> list[Account]:
        """The users that are in all these groups."""
        return [account_of(entry) for entry in await self._find(find_users(in_group=list(groups)))]

    async def accounts_of_class(self, name: str) -> list[Account]:
        """The users that have this class."""
        return [account_of(entry) for entry in await self._find(find_users(userclass=name))]

    async def members(self, project: ProjectIdentifier, peer: str) -> list[tuple[UserIdentifier, Account, Standing]]:
        """The users of a project here: those of this instance that were not removed, and those that are not ours."""
        group = await self.project(project)
        here, found = naming.instance_group(peer), []
        for account in await self.accounts([group.name]) if group else []:
            user = account.user or naming.user_of(account.name, project)
            if user is None or user.project_identifier != project or account.name != naming.local_user(user):
                continue
            is_now = self.standing(account, user)
            mine = is_now in USABLE and here in account.groups
            if mine or (is_now is Standing.PROTECTED and not account.disabled):
                found.append((user, account, is_now))
        return found

    # --- groups ------------------------------------------------------------------------------------------------------

    async def project(self, project: ProjectIdentifier) -> Group | None:
        """The group of a project, under its usual or its legacy name."""
        return await self.until_done(lambda server: self.look_project(server, project))

    async def look_project(self, server: Server, project: ProjectIdentifier) -> Group | None:
        """The same, of this master in this round; asked anew, as somebody may have deleted the group."""
        usual, legacy = naming.project_groups(project)
        for name in (usual, legacy):
            self.known.forget(name)
        groups = await self.groups(server, (usual, legacy))
        return plan.project_group(project, groups[usual], groups[legacy], self.policy)

    async def projects(self, portal: PortalIdentifier, peer: str) -> dict[ProjectIdentifier, Group]:
        """The projects of a portal that have a user of this instance: other instances may share the directory."""
        here = frozenset(account.name for account in await self.accounts([naming.instance_group(peer)]))
        found: dict[ProjectIdentifier, Group] = {}
        for prefix in (f"{portal.portal}.", naming.LEGACY_PREFIX):
            for group in map(group_of, await self._find(find_groups(prefix))):
                project = group.project or naming.project_of(group.name, portal)
                if project is None or project.portal != portal.portal or group.members.isdisjoint(here):
                    continue
                if group.name in naming.project_groups(project):
                    found.setdefault(project, group)
        return found

    async def groups(self, server: Server, names: Iterable[str]) -> dict[str, Group | None]:
        """Groups by name, from memory those that are known."""
        asked = list(dict.fromkeys(names))
        found = await asyncio.gather(*(self._group(server, name) for name in asked))
        return dict(zip(asked, found, strict=True))

    def remember(self, result: Mapping[str, Any]) -> Group | None:
        """The group of an answer; none where the answer was that there is one already."""
        if "result" not in result:
            return None
        group = group_of(result["result"])
        self.known.put(group)
        return group

    async def _group(self, server: Server, name: str) -> Group | None:
        known = self.known.get(name)
        if known is not None:
            return known
        try:
            return self.remember(await server.look(show_group(name)))
        except IpaNotFound:
            return None

    # --- both --------------------------------------------------------------------------------------------------------

    async def survey(self, server: Server, user: UserIdentifier, peer: str) -> Survey:
        """All that decides how a user is added, in one request."""
        usual, legacy = naming.project_groups(user.project_identifier)
        others = self.policy.wanted(user, peer)[1:]
        asked = (usual, *others) if self.known.get(usual) else (usual, legacy, *others)
        (account, is_now), groups = await asyncio.gather(self.look_user(server, user), self.groups(server, asked))
        group = plan.project_group(user.project_identifier, groups[usual], groups.get(legacy), self.policy)
        missing = [name for name in (*([] if group else [usual]), *others) if groups[name] is None]
        return Survey(account, is_now, group, tuple(missing))

    async def _find(self, call: Call) -> list[dict[str, Any]]:
        """All that match. Raises RunError when the server gives only the first of them."""
        result = await self.until_done(lambda server: server.look(call))
        if result.get("truncated"):
            raise RunError(f"FreeIPA cut the answer to {call} short: raise its search limits for this account.")
        found: list[dict[str, Any]] = result["result"]
        return found
