"""A sandbox of a file system: real directories, all beneath the sandbox's folder, owned by whoever runs it.

    directories/<path with ':' for '/'>   {"path": "/home/demo/alice.demo"}     what was made, and how often
    quotas/<mapping's subject>            {"home": "10 GB"}

Removed directories wait in `.recycle` beside their place, as with the real leaf. A directory is made or moved first and
recorded after; what was cut short between is found without its record and only recorded then.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from openportal.agents import naming
from openportal.agents.filesystem.volumes import RECYCLE, Place, Volumes, project_of
from openportal.agents.sandbox.store import SandboxStore, Value
from openportal.errors import RunError
from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.templemeads.handlers import Handler, Run

UNLIMITED = "unlimited"
EMPTY = "0 B"
DIRECTORIES = "directories"
QUOTAS = "quotas"


def default_volumes() -> Volumes:
    """One home volume and one project volume."""
    homes, projects = {"home": {"roots": ["/home"]}}, {"projects": {"roots": ["/projects"]}}
    return Volumes.of({"user_volumes": homes, "project_volumes": projects})


class SandboxFilesystem:
    """The leaf of a filesystem agent, on a sandbox. The roots of the volumes are moved beneath its folder."""

    def __init__(
        self, store: SandboxStore, volumes: Volumes | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._volumes = volumes or default_volumes()
        self._wall = wall

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions of a filesystem agent."""
        return self._store.tuned(
            {
                op.GetLocalHomeDir: self._get_local_home_dir,
                op.GetLocalUserDirs: self._get_local_user_dirs,
                op.GetLocalProjectDirs: self._get_local_project_dirs,
                op.IsLocalUserAdded: self._is_local_user_added,
                op.IsLocalUserRemoved: self._is_local_user_removed,
                op.IsLocalProjectAdded: self._is_local_project_added,
                op.IsLocalProjectRemoved: self._is_local_project_removed,
                op.AddLocalProject: self._add_local_project,
                op.AddLocalUser: self._add_local_user,
                op.RemoveLocalProject: self._remove_local_project,
                op.RemoveLocalUser: self._remove_local_user,
                op.GetLocalStorageReport: self._get_local_storage_report,
                op.GetLocalProjectQuota: self._get_quota,
                op.GetLocalProjectQuotas: self._get_quotas,
                op.SetLocalProjectQuota: self._set_quota,
                op.ClearLocalProjectQuota: self._clear_quota,
                op.GetLocalUserQuota: self._get_quota,
                op.GetLocalUserQuotas: self._get_quotas,
                op.SetLocalUserQuota: self._set_quota,
                op.ClearLocalUserQuota: self._clear_quota,
            }
        )

    # --- looks -----------------------------------------------------------------------------------------------------

    def _get_local_home_dir(self, run: Run, instruction: op.GetLocalHomeDir) -> str:
        naming.require_local(instruction.mapping)
        home = self._volumes.home(instruction.mapping)
        if home is None:
            raise RunError("No user volume is the home volume; set is_home = true for one in the agent's file.")
        return self._real(home)

    def _get_local_user_dirs(self, run: Run, instruction: op.GetLocalUserDirs) -> list[str]:
        naming.require_local(instruction.mapping)
        return [self._real(place) for place in self._volumes.user_dirs(instruction.mapping)]

    def _get_local_project_dirs(self, run: Run, instruction: op.GetLocalProjectDirs) -> list[str]:
        return [self._real(place) for place in self._volumes.project_dirs(instruction.mapping.project)]

    def _is_local_user_added(self, run: Run, instruction: op.IsLocalUserAdded) -> bool:
        mapping = instruction.mapping
        naming.require_local(mapping)
        shared = self._volumes.project_places(mapping.user.project_identifier)
        return all(map(self._is_there, (*shared, *self._volumes.user_dirs(mapping))))

    def _is_local_user_removed(self, run: Run, instruction: op.IsLocalUserRemoved) -> bool:
        naming.require_local(instruction.mapping)
        return not any(map(self._is_there, self._volumes.own_dirs(instruction.mapping)))

    def _is_local_project_added(self, run: Run, instruction: op.IsLocalProjectAdded) -> bool:
        return all(map(self._is_there, self._volumes.project_places(instruction.mapping.project)))

    def _is_local_project_removed(self, run: Run, instruction: op.IsLocalProjectRemoved) -> bool:
        return not any(map(self._is_there, self._volumes.project_places(instruction.mapping.project)))

    def _get_local_storage_report(self, run: Run, instruction: op.GetLocalStorageReport) -> Value:
        mapping = instruction.mapping
        return {
            "project": str(mapping.project),
            "generated_at": datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "project_quotas": self._quotas(mapping),
            "user_quotas": {},
            "users": {},
        }

    def _get_quota(self, run: Run, instruction: op.GetLocalProjectQuota | op.GetLocalUserQuota) -> Value:
        volume = self._volume(instruction.mapping, instruction.volume.name)
        return _quota(self._limits(instruction.mapping).get(volume))

    def _get_quotas(self, run: Run, instruction: op.GetLocalProjectQuotas | op.GetLocalUserQuotas) -> dict[str, Value]:
        return self._quotas(instruction.mapping)

    # --- changes ---------------------------------------------------------------------------------------------------

    async def _add_local_project(self, run: Run, instruction: op.AddLocalProject) -> None:
        await self._make(run, self._volumes.project_places(instruction.mapping.project))

    async def _add_local_user(self, run: Run, instruction: op.AddLocalUser) -> None:
        mapping = instruction.mapping
        naming.require_local(mapping)
        await self._make(run, self._volumes.project_places(project_of(mapping).project))
        await self._make(run, self._volumes.own_dirs(mapping))

    async def _remove_local_project(self, run: Run, instruction: op.RemoveLocalProject) -> None:
        await self._recycle(run, self._volumes.project_places(instruction.mapping.project))

    async def _remove_local_user(self, run: Run, instruction: op.RemoveLocalUser) -> None:
        naming.require_local(instruction.mapping)
        await self._recycle(run, self._volumes.own_dirs(instruction.mapping))

    async def _set_quota(self, run: Run, instruction: op.SetLocalProjectQuota | op.SetLocalUserQuota) -> Value:
        limit, volume = str(instruction.limit), self._volume(instruction.mapping, instruction.volume.name)
        await self._put_quota(run, instruction.mapping, volume, limit, "set quota")
        return _quota(limit)

    async def _clear_quota(self, run: Run, instruction: op.ClearLocalProjectQuota | op.ClearLocalUserQuota) -> None:
        volume = self._volume(instruction.mapping, instruction.volume.name)
        await self._put_quota(run, instruction.mapping, volume, None, "clear quota")

    # --- shared ----------------------------------------------------------------------------------------------------

    async def _make(self, run: Run, places: Iterable[Place]) -> None:
        for place in places:
            if not self._is_there(place):
                await run.effect("make directory", self._real(place), partial(self._make_one, place))

    async def _make_one(self, place: Place) -> None:
        _bring(Path(self._real(place)))
        self._store.put(DIRECTORIES, _record(place), {"path": place.path}, "make directory")

    async def _recycle(self, run: Run, places: Iterable[Place]) -> None:
        for place in places:
            if self._is_in_part(place):
                await run.effect("recycle directory", self._real(place), partial(self._recycle_one, place))

    async def _recycle_one(self, place: Place) -> None:
        _set_aside(Path(self._real(place)))
        self._store.put(DIRECTORIES, _record(place), None, "recycle directory")

    async def _put_quota(
        self, run: Run, mapping: ProjectMapping | UserMapping, volume: str, limit: str | None, action: str
    ) -> None:
        found = self._limits(mapping)
        wanted = {name: held for name, held in {**found, volume: limit}.items() if held is not None}
        if wanted != found:

            async def change() -> None:
                self._store.put(QUOTAS, mapping.subject, wanted or None, action)

            await run.effect(action, f"{mapping.subject} {volume}", change)

    def _volume(self, mapping: ProjectMapping | UserMapping, name: str) -> str:
        if name not in self._volumes_of(mapping):
            raise RunError(f"Volume does not exist for {mapping.subject}: {name}")
        return name

    def _volumes_of(self, mapping: ProjectMapping | UserMapping) -> Iterable[str]:
        of_project = isinstance(mapping, ProjectMapping)
        return self._volumes.project_volumes if of_project else self._volumes.user_volumes

    def _limits(self, mapping: ProjectMapping | UserMapping) -> dict[str, str]:
        return self._store.get(QUOTAS, mapping.subject) or {}

    def _quotas(self, mapping: ProjectMapping | UserMapping) -> dict[str, Value]:
        limits = self._limits(mapping)
        return {volume: _quota(limits.get(volume)) for volume in self._volumes_of(mapping)}

    def _real(self, place: Place) -> str:
        return f"{self._store.folder}{place.path}"

    def _is_there(self, place: Place) -> bool:
        return Path(self._real(place)).is_dir() and self._has_record(place)

    def _is_in_part(self, place: Place) -> bool:
        return Path(self._real(place)).is_dir() or self._has_record(place)

    def _has_record(self, place: Place) -> bool:
        return self._store.get(DIRECTORIES, _record(place)) is not None


def _record(place: Place) -> str:
    return place.path.strip("/").replace("/", ":")


def _recycled(real: Path) -> Path:
    return real.parent / RECYCLE / real.name


def _bring(real: Path) -> None:
    """Have a directory there: as it is, out of `.recycle`, or a new one."""
    if real.is_dir():
        return
    aside = _recycled(real)
    if aside.is_dir():
        aside.rename(real)
    else:
        real.mkdir(parents=True)


def _set_aside(real: Path) -> None:
    """Have no directory there; what was there is in `.recycle`."""
    if not real.is_dir():
        return
    aside = _recycled(real)
    aside.parent.mkdir(mode=0o700, exist_ok=True)
    if aside.is_dir():
        shutil.rmtree(aside)
    real.rename(aside)


def _quota(limit: str | None) -> Value:
    return {"limit": limit or UNLIMITED, "usage": EMPTY}
