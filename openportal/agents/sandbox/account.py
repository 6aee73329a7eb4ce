"""A sandbox of an account system: users and groups that are files.

    projects/<project>.<portal>           {"group": "brics.demo"}
    users/<project>.<portal>/<username>   {"state": "active", "home": "/…"}      active | blocked | removed

A user whose value says `"protected": true` (put there by hand) is left alone, like an account of somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping

from openportal.agents import naming
from openportal.agents.account.verbs import handlers_of
from openportal.agents.sandbox.store import SandboxStore, Value
from openportal.errors import RunError
from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectIdentifier, ProjectMapping, UserIdentifier, UserMapping
from openportal.templemeads.handlers import Handler, Run

ACTIVE, BLOCKED, REMOVED = "active", "blocked", "removed"


class SandboxAccounts:
    """The leaf of an account agent, on a sandbox."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions of an account agent."""
        return self._store.tuned(handlers_of(self))

    # --- looks -----------------------------------------------------------------------------------------------------

    def get_projects(self, run: Run, instruction: op.GetProjects) -> list[ProjectMapping]:
        projects = map(ProjectIdentifier.parse, self._store.names("projects"))
        return [naming.project_mapping(project) for project in projects if project.portal == instruction.portal.portal]

    def get_project_mapping(self, run: Run, instruction: op.GetProjectMapping) -> ProjectMapping:
        mapping = naming.project_mapping(instruction.project)
        if not self._has_project(instruction.project):
            raise RunError(f"Project does not exist: {instruction.project}")
        return mapping

    def get_users(self, run: Run, instruction: op.GetUsers) -> list[UserMapping]:
        users = self._users(instruction.project)
        return [naming.user_mapping(user) for user in users if self._state(user) != REMOVED]

    def get_user_mapping(self, run: Run, instruction: op.GetUserMapping) -> UserMapping:
        self._require(instruction.user)
        return naming.user_mapping(instruction.user)

    def is_existing_project(self, run: Run, instruction: op.IsExistingProject) -> bool:
        return self._has_project(instruction.project)

    def is_existing_user(self, run: Run, instruction: op.IsExistingUser) -> bool:
        return self._state(instruction.user) in (ACTIVE, BLOCKED)

    def is_protected_user(self, run: Run, instruction: op.IsProtectedUser) -> bool:
        return _is_protected(self._get(instruction.user))

    def is_blocked_user(self, run: Run, instruction: op.IsBlockedUser) -> bool:
        return self._state(instruction.user) == BLOCKED

    def is_local_user_added(self, run: Run, instruction: op.IsLocalUserAdded) -> bool:
        mapping = instruction.mapping
        naming.require_local(mapping)
        return mapping == naming.user_mapping(mapping.user) and self._state(mapping.user) == ACTIVE

    def is_local_user_removed(self, run: Run, instruction: op.IsLocalUserRemoved) -> bool:
        naming.require_local(instruction.mapping)
        return self._state(instruction.mapping.user) in (None, REMOVED)

    def is_local_project_added(self, run: Run, instruction: op.IsLocalProjectAdded) -> bool:
        mapping = instruction.mapping
        return mapping == naming.project_mapping(mapping.project) and self._has_project(mapping.project)

    def is_local_project_removed(self, run: Run, instruction: op.IsLocalProjectRemoved) -> bool:
        return all(self._state(user) == REMOVED for user in self._users(instruction.mapping.project))

    # --- changes ---------------------------------------------------------------------------------------------------

    async def add_project(self, run: Run, instruction: op.AddProject) -> ProjectMapping:
        mapping = naming.project_mapping(instruction.project)
        await self._make_project(run, mapping)
        return mapping

    async def remove_project(self, run: Run, instruction: op.RemoveProject) -> ProjectMapping:
        project = instruction.project
        mapping = naming.project_mapping(project)
        for user in self._users(project):
            await self._disable(run, user)
        if self._has_project(project) and all(self._state(user) == REMOVED for user in self._users(project)):
            await self._put(run, "projects", str(project), None, "delete group")
        return mapping

    async def add_user(self, run: Run, instruction: op.AddUser) -> UserMapping:
        user = instruction.user
        mapping = naming.user_mapping(user)
        found = self._get(user)
        if _is_protected(found) or (found and found["state"] == BLOCKED):
            return mapping
        await self._make_project(run, naming.project_mapping(user.project_identifier))
        if found is None:
            await self._put_user(run, user, {"state": ACTIVE, "home": f"/home/{mapping.local_user}"}, "create user")
        elif found["state"] == REMOVED:
            await self._put_user(run, user, {**found, "state": ACTIVE}, "enable user")
        return mapping

    async def remove_user(self, run: Run, instruction: op.RemoveUser) -> UserMapping:
        mapping = naming.user_mapping(instruction.user)
        await self._disable(run, instruction.user)
        return mapping

    async def block_user(self, run: Run, instruction: op.BlockUser) -> UserMapping:
        return await self._move(run, instruction.user, BLOCKED, "block user", (ACTIVE, REMOVED))

    async def unblock_user(self, run: Run, instruction: op.UnblockUser) -> UserMapping:
        return await self._move(run, instruction.user, ACTIVE, "unblock user", (BLOCKED,))

    async def update_homedir(self, run: Run, instruction: op.UpdateHomedir) -> str:
        user, home = instruction.user, str(instruction.path)
        found = self._require(user)
        if _is_protected(found):
            raise RunError(f"{user} is not managed by OpenPortal, so the home directory is left as it is.")
        if found["home"] != home:
            await self._put_user(run, user, {**found, "home": home}, "set home directory")
        return home

    # --- shared ----------------------------------------------------------------------------------------------------

    async def _make_project(self, run: Run, mapping: ProjectMapping) -> None:
        if not self._has_project(mapping.project):
            await self._put(run, "projects", str(mapping.project), {"group": mapping.local_group}, "create group")

    async def _disable(self, run: Run, user: UserIdentifier) -> None:
        found = self._get(user)
        if found and found["state"] != REMOVED and not _is_protected(found):
            await self._put_user(run, user, {**found, "state": REMOVED}, "disable user")

    async def _move(
        self, run: Run, user: UserIdentifier, state: str, action: str, before: tuple[str, ...]
    ) -> UserMapping:
        found = self._require(user)
        if found["state"] in before and not _is_protected(found):
            await self._put_user(run, user, {**found, "state": state}, action)
        return naming.user_mapping(user)

    async def _put_user(self, run: Run, user: UserIdentifier, value: Value, action: str) -> None:
        await self._put(run, f"users/{user.project_identifier}", user.username, value, action)

    async def _put(self, run: Run, kind: str, name: str, value: Value | None, action: str) -> None:
        async def change() -> None:
            self._store.put(kind, name, value, action)

        await run.effect(action, f"{kind}/{name}", change)

    def _has_project(self, project: ProjectIdentifier) -> bool:
        naming.project_group(project)
        return self._store.get("projects", str(project)) is not None

    def _get(self, user: UserIdentifier) -> Value | None:
        return self._store.get(f"users/{user.project_identifier}", user.username)

    def _state(self, user: UserIdentifier) -> str | None:
        found = self._get(user)
        return found["state"] if found else None

    def _require(self, user: UserIdentifier) -> Value:
        found = self._get(user)
        if found is None:
            raise RunError(f"User does not exist: {user}")
        return found

    def _users(self, project: ProjectIdentifier) -> list[UserIdentifier]:
        names = self._store.names(f"users/{project}")
        return [UserIdentifier(name, project.project, project.portal) for name in names]


def _is_protected(found: Value | None) -> bool:
    return bool(found and found.get("protected"))
