"""A sandbox of a scheduler: accounts, their users and their limits as files.

    accounts/<group>               {"project": "demo.brics"}
    associations/<group>/<user>    {"user": "alice.demo.brics"}
    limits/<group>                 {"seconds": 36000}

No job ever runs in it, so its usage reports are empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from openportal.agents import naming
from openportal.agents.filesystem.volumes import project_of
from openportal.agents.sandbox.store import SandboxStore, Value
from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectMapping
from openportal.templemeads.handlers import Handler, Run


class SandboxScheduler:
    """The leaf of a scheduler agent, on a sandbox."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions of a scheduler agent."""
        return self._store.tuned(
            {
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
        )

    # --- looks -----------------------------------------------------------------------------------------------------

    def _is_local_user_added(self, run: Run, instruction: op.IsLocalUserAdded) -> bool:
        mapping = instruction.mapping
        naming.require_local(mapping)
        there = self._store.get(_associations(mapping.local_group), mapping.local_user) is not None
        return there and self._has_account(project_of(mapping))

    def _is_local_user_removed(self, run: Run, instruction: op.IsLocalUserRemoved) -> bool:
        mapping = instruction.mapping
        naming.require_local(mapping)
        return self._store.get(_associations(mapping.local_group), mapping.local_user) is None

    def _is_local_project_added(self, run: Run, instruction: op.IsLocalProjectAdded) -> bool:
        return self._has_account(instruction.mapping)

    def _is_local_project_removed(self, run: Run, instruction: op.IsLocalProjectRemoved) -> bool:
        return not self._has_account(instruction.mapping)

    def _get_local_usage_report(self, run: Run, instruction: op.GetLocalUsageReport) -> Value:
        return {"project": str(instruction.mapping.project), "reports": {}, "users": {}}

    def _get_local_limit(self, run: Run, instruction: op.GetLocalLimit) -> Value:
        return self._store.get("limits", instruction.mapping.local_group) or {"seconds": 0}

    # --- changes ---------------------------------------------------------------------------------------------------

    async def _add_local_project(self, run: Run, instruction: op.AddLocalProject) -> None:
        await self._make_account(run, instruction.mapping)

    async def _add_local_user(self, run: Run, instruction: op.AddLocalUser) -> None:
        mapping = instruction.mapping
        naming.require_local(mapping)
        await self._make_account(run, project_of(mapping))
        value = {"user": str(mapping.user)}
        await self._put(run, _associations(mapping.local_group), mapping.local_user, value, "add user to account")

    async def _remove_local_project(self, run: Run, instruction: op.RemoveLocalProject) -> None:
        group = instruction.mapping.local_group
        for user in self._store.names(_associations(group)):
            await self._put(run, _associations(group), user, None, "remove user from account")
        await self._put(run, "accounts", group, None, "delete account")

    async def _remove_local_user(self, run: Run, instruction: op.RemoveLocalUser) -> None:
        mapping = instruction.mapping
        naming.require_local(mapping)
        await self._put(run, _associations(mapping.local_group), mapping.local_user, None, "remove user from account")

    async def _set_local_limit(self, run: Run, instruction: op.SetLocalLimit) -> Value:
        value = instruction.limit.usage.to_wire()
        await self._put(run, "limits", instruction.mapping.local_group, value, "set limit")
        return value

    # --- shared ----------------------------------------------------------------------------------------------------

    async def _make_account(self, run: Run, mapping: ProjectMapping) -> None:
        await self._put(run, "accounts", mapping.local_group, {"project": str(mapping.project)}, "create account")

    async def _put(self, run: Run, kind: str, name: str, value: Value | None, action: str) -> None:
        """Make it so, unless it is so already."""
        if self._store.get(kind, name) != value:
            await run.effect(action, f"{kind}/{name}", partial(self._change, kind, name, value, action))

    async def _change(self, kind: str, name: str, value: Value | None, action: str) -> None:
        self._store.put(kind, name, value, action)

    def _has_account(self, mapping: ProjectMapping) -> bool:
        return self._store.get("accounts", mapping.local_group) is not None


def _associations(group: str) -> str:
    return f"associations/{group}"
