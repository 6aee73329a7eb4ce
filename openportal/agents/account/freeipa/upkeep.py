"""An operator's work on a realm: find drift and repair it, take what a site has under management."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from openportal.agents.account.freeipa.acting import carry_out
from openportal.agents.account.freeipa.adopt import Adoption, adopt_project, adopt_user
from openportal.agents.account.freeipa.directory import Directory
from openportal.agents.account.freeipa.entries import UNFINISHED
from openportal.agents.account.freeipa.plan import Step, make_group
from openportal.agents.account.freeipa.reconcile import Drift, drift
from openportal.agents.account.freeipa.servers import Server, Servers
from openportal.errors import RunError
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.templemeads.handlers import Run


class Upkeep:
    """Looks first, tells what it would do, and does that if it is asked to."""

    def __init__(self, directory: Directory, servers: Servers) -> None:
        self._directory = directory
        self._servers = servers

    async def find_drift(self, peers: Sequence[str]) -> list[Drift]:
        """Every account of ours that is not as it should be, by name; `peers` are the instances of this agent."""
        directory = self._directory
        ours = await directory.accounts([directory.policy.managed])
        begun = await directory.accounts_of_class(UNFINISHED)
        found = []
        for account in {account.name: account for account in (*ours, *begun)}.values():
            one = drift(account, directory.standing_of(account), peers, directory.policy)
            if one is not None:
                found.append(one)
        return sorted(found, key=lambda one: one.account)

    async def find_adoptions(self, mappings: Iterable[UserMapping | ProjectMapping], peer: str) -> list[Adoption]:
        """What each line of a mapping file would do."""
        server = self._servers.writer()
        return [
            await self._user(server, mapping, peer)
            if isinstance(mapping, UserMapping)
            else await self._project(server, mapping)
            for mapping in mappings
        ]

    async def carry_out(self, run: Run, steps: Sequence[Step]) -> None:
        """Do it. A group that a call needs and that is not there is made first. Raises JobError."""
        server = self._servers.writer()
        joined = {call.name for step in steps for call in step if call.method == "group_add_member"}
        made = {call.name for step in steps for call in step if call.method == "group_add"}
        groups = await self._directory.groups(server, sorted(joined - made))
        missing = tuple(make_group(name) for name, group in groups.items() if group is None)
        await carry_out(run, server, [missing, *steps] if missing else steps)

    async def _project(self, server: Server, mapping: ProjectMapping) -> Adoption:
        groups = await self._directory.groups(server, [mapping.local_group])
        return adopt_project(mapping, groups[mapping.local_group], self._directory.policy)

    async def _user(self, server: Server, mapping: UserMapping, peer: str) -> Adoption:
        account, is_now = await self._directory.look_user(server, mapping.user)
        groups = (mapping.local_group, *self._directory.policy.wanted(mapping.user, peer)[1:])
        return adopt_user(mapping, account, is_now, groups)


def one_instance(neighbours: Sequence[str]) -> str:
    """The only neighbour of the agent. Raises RunError when there are several, or none."""
    if len(neighbours) != 1:
        raise RunError(f"Name the instance: the agent has not one neighbour but {', '.join(neighbours) or 'none'}.")
    return neighbours[0]
