"""The directories of users and projects on the file systems of the machine this agent runs on.

Nothing is reached by its path: a root is opened without following a link at its end, its real path is held against the
directories of the system, and from there each part is opened from the descriptor of the one before, links refused. So
whoever may write in a directory above cannot make us leave the root, before or during a change.

A directory is made under a draft name, gets owner and permissions through its descriptor, and is then renamed: it is
there complete or not at all. It is removed by renaming it into `.recycle` beside it, a directory of ours that nobody
else may enter, and restored by renaming it back after its owner was set. A file system may take its time, so the calls
run in threads; one project is worked on by one job at a time.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import logging
import os
import pwd
import shutil
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from openportal.agents import naming
from openportal.agents.filesystem import volumes as plan
from openportal.agents.filesystem.volumes import DENIED, RECYCLE, Found, Link, Place, Step, Volumes
from openportal.errors import ConfigError, InvalidJob, JobError, RunError, Unavailable
from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.templemeads.handlers import Handler, Run

log = logging.getLogger(__name__)

T = TypeVar("T")

DRAFT_PREFIX = ".openportal-"
SKELETON_MAX_FILES = 64
LOCKS = 64
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NOT_A_DIRECTORY = frozenset({errno.ELOOP, errno.ENOTDIR})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EIO})


@dataclass(frozen=True, slots=True)
class Owner:
    """Ids for a directory."""

    uid: int
    gid: int


class Tree:
    """The calls of the operating system, each on one place; they block. Errors of the system come out as JobError."""

    def __init__(self, denied: Iterable[str] = DENIED) -> None:
        self._denied = tuple(denied)

    def look(self, place: Place) -> Found:
        """What is there."""
        with _spoken("look at", place.path), self._parent(place) as parent:
            if parent is None:
                return Found()
            here = _status(place.name, parent)
            recycled = self._is_recycled(place, parent)
            there, strange = here is not None, here is not None and not stat.S_ISDIR(here)
            skeleton = there and not strange and recycled and _is_skeleton(place.name, parent)
            return Found(there, strange, skeleton, recycled)

    def make(self, place: Place, owner: Owner) -> None:
        """Make a directory with its owner and permissions."""
        with _spoken("make", place.path), self._parent(place) as parent:
            above = _require(parent, place)
            draft = DRAFT_PREFIX + place.name
            with _opened(_make_draft(draft, above), above) as directory:
                os.fchown(directory, owner.uid, owner.gid)
                os.fchmod(directory, place.mode)
            os.rename(draft, place.name, src_dir_fd=above, dst_dir_fd=above)
            os.fsync(above)

    def restore(self, place: Place, owner: Owner) -> None:
        """Bring a recycled directory back, in place of a skeleton if there is one."""
        with _spoken("restore", place.path), self._parent(place) as parent:
            above = _require(parent, place)
            with _recycle_of(above) as recycle, _opened(place.name, recycle) as directory:
                found = os.fstat(directory)
                if (found.st_uid, found.st_gid) != (owner.uid, owner.gid):
                    mode = stat.S_IMODE(found.st_mode)
                    os.fchown(directory, owner.uid, owner.gid)
                    os.fchmod(directory, mode)
                _remove_skeleton(place.name, above)
                os.rename(place.name, place.name, src_dir_fd=recycle, dst_dir_fd=above)
                os.fsync(above)

    def recycle(self, place: Place) -> None:
        """Move what is there into `.recycle`, where it replaces an older copy, and stamp it with the time."""
        with _spoken("recycle", place.path), self._parent(place) as parent:
            above = _require(parent, place)
            with _recycle_of(above, make=True) as recycle:
                _remove_older(place.name, recycle)
                os.rename(place.name, place.name, src_dir_fd=above, dst_dir_fd=recycle)
                os.utime(place.name, dir_fd=recycle, follow_symlinks=False)
                os.fsync(above)

    def target(self, link: Link) -> str | None:
        """What a link points to; None when there is none, empty when there is something else."""
        with _spoken("look at", link.place.path), self._parent(link.place) as parent:
            found = None if parent is None else _status(link.place.name, parent)
            if found is None:
                return None
            return os.readlink(link.place.name, dir_fd=parent) if stat.S_ISLNK(found) else ""

    def make_link(self, link: Link) -> None:
        """Make a link."""
        with _spoken("link", link.place.path), self._parent(link.place) as parent:
            os.symlink(link.target, link.place.name, dir_fd=_require(parent, link.place))

    def remove_link(self, link: Link) -> None:
        """Remove a link."""
        with _spoken("unlink", link.place.path), self._parent(link.place) as parent:
            os.unlink(link.place.name, dir_fd=_require(parent, link.place))

    def _is_recycled(self, place: Place, parent: int) -> bool:
        if _status(RECYCLE, parent) is None:
            return False
        with _recycle_of(parent) as recycle:
            found = _status(place.name, recycle)
        if found is not None and not stat.S_ISDIR(found):
            log.warning("%s has a recycled copy that is no directory; it is left there.", place.path)
            return False
        return found is not None

    @contextmanager
    def _parent(self, place: Place) -> Iterator[int | None]:
        """The directory that holds the place; None when a part above it does not exist."""
        held = [self._open_root(place.root)]
        try:
            for part in place.parts[:-1]:
                try:
                    held.append(os.open(part, OPEN_DIRECTORY, dir_fd=held[-1]))
                except FileNotFoundError:
                    yield None
                    return
            yield held[-1]
        finally:
            for descriptor in reversed(held):
                os.close(descriptor)

    def _open_root(self, root: str) -> int:
        try:
            descriptor = os.open(plan.plain(root), OPEN_DIRECTORY)
        except FileNotFoundError:
            raise Unavailable(f"The root {root} is not there; is its file system mounted?") from None
        try:
            plan.check_root(_real_path(descriptor), self._denied)
        except ConfigError as error:
            os.close(descriptor)
            raise InvalidJob(f"The root {root} cannot be used: {error}") from error
        return descriptor


class Directories:
    """The leaf of a filesystem agent."""

    def __init__(self, volumes: Volumes, extras: Mapping[str, str], denied: Iterable[str] = DENIED) -> None:
        if extras.get("exec-prefix", "").strip():
            raise ConfigError("exec-prefix is not supported: run the agent where the file systems are mounted.")
        self._denied = tuple(denied)
        volumes.check_roots(self._denied)
        self._volumes = volumes
        self._tree = Tree(self._denied)
        self._locks = [asyncio.Lock() for _ in range(LOCKS)]

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions of a filesystem agent, without those about quotas and reports."""
        return {
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
        }

    # --- looks -----------------------------------------------------------------------------------------------------

    def _get_local_home_dir(self, run: Run, instruction: op.GetLocalHomeDir) -> str:
        naming.require_local(instruction.mapping)
        home = self._volumes.home(instruction.mapping)
        if home is None:
            raise RunError("No user volume is the home volume; set is_home = true for one in the agent's file.")
        return home.path

    def _get_local_user_dirs(self, run: Run, instruction: op.GetLocalUserDirs) -> list[str]:
        naming.require_local(instruction.mapping)
        return [place.path for place in self._volumes.user_dirs(instruction.mapping)]

    def _get_local_project_dirs(self, run: Run, instruction: op.GetLocalProjectDirs) -> list[str]:
        return [place.path for place in self._volumes.project_dirs(instruction.mapping.project)]

    async def _is_local_user_added(self, run: Run, instruction: op.IsLocalUserAdded) -> bool:
        mapping = instruction.mapping
        naming.require_local(mapping)
        places = (*self._volumes.user_dirs(mapping), *self._volumes.project_places(mapping.user.project_identifier))
        found = await self._look(places)
        return all(state.there and not state.strange for state in found.values())

    async def _is_local_user_removed(self, run: Run, instruction: op.IsLocalUserRemoved) -> bool:
        naming.require_local(instruction.mapping)
        found = await self._look(self._volumes.own_dirs(instruction.mapping))
        return not any(state.there for state in found.values())

    async def _is_local_project_added(self, run: Run, instruction: op.IsLocalProjectAdded) -> bool:
        project = instruction.mapping.project
        found = await self._look(self._volumes.project_places(project))
        links = await self._targets(self._volumes.links(project))
        there = all(state.there and not state.strange for state in found.values())
        return there and all(target == link.target for link, target in links.items())

    async def _is_local_project_removed(self, run: Run, instruction: op.IsLocalProjectRemoved) -> bool:
        project = instruction.mapping.project
        found = await self._look(self._volumes.project_places(project))
        links = await self._targets(self._volumes.links(project))
        there = any(state.there for state in found.values())
        return not there and not any(target == link.target for link, target in links.items())

    # --- changes ---------------------------------------------------------------------------------------------------

    async def _add_local_project(self, run: Run, instruction: op.AddLocalProject) -> None:
        async with self._lock(instruction.mapping):
            await self._add_project(run, instruction.mapping)

    async def _add_local_user(self, run: Run, instruction: op.AddLocalUser) -> None:
        mapping = instruction.mapping
        naming.require_local(mapping)
        async with self._lock(mapping):
            owner = await _in_thread(lambda: _user_owner(mapping))
            await self._add_project(run, plan.project_of(mapping))
            await self._add(run, self._volumes.own_dirs(mapping), owner)

    async def _remove_local_project(self, run: Run, instruction: op.RemoveLocalProject) -> None:
        project = instruction.mapping.project
        async with self._lock(instruction.mapping):
            for link, target in (await self._targets(self._volumes.links(project))).items():
                if target == link.target:
                    await self._effect(run, "remove link", link.place.path, partial(self._tree.remove_link, link))
            await self._remove(run, self._volumes.project_places(project))

    async def _remove_local_user(self, run: Run, instruction: op.RemoveLocalUser) -> None:
        naming.require_local(instruction.mapping)
        async with self._lock(instruction.mapping):
            await self._remove(run, self._volumes.own_dirs(instruction.mapping))

    # --- shared ----------------------------------------------------------------------------------------------------

    async def _add_project(self, run: Run, mapping: ProjectMapping) -> None:
        owner = await _in_thread(lambda: Owner(0, _gid(mapping.local_group)))
        await self._add(run, self._volumes.project_places(mapping.project), owner)
        for link, target in (await self._targets(self._volumes.links(mapping.project))).items():
            if target is None:
                await self._effect(run, "make link", link.place.path, partial(self._tree.make_link, link))
            elif target != link.target:
                log.warning("%s is there and is not a link to %s; it is left as it is.", link.place.path, link.target)

    async def _add(self, run: Run, places: Iterable[Place], owner: Owner) -> None:
        for step, place in plan.plan_add(await self._look(places)):
            change = self._tree.make if step is Step.MAKE else self._tree.restore
            await self._effect(run, step.value, place.path, partial(change, place, owner))

    async def _remove(self, run: Run, places: Iterable[Place]) -> None:
        for step, place in plan.plan_remove(await self._look(places)):
            await self._effect(run, step.value, place.path, partial(self._tree.recycle, place))

    async def _effect(self, run: Run, action: str, target: str, change: Callable[[], None]) -> None:
        await run.effect(action, target, lambda: _in_thread(change))

    async def _look(self, places: Iterable[Place]) -> dict[Place, Found]:
        return await _in_thread(lambda: {place: self._tree.look(place) for place in places})

    async def _targets(self, links: Iterable[Link]) -> dict[Link, str | None]:
        return await _in_thread(lambda: {link: self._tree.target(link) for link in links})

    def _lock(self, mapping: ProjectMapping | UserMapping) -> asyncio.Lock:
        """The lock of the project; a few projects may share one."""
        project = plan.project_of(mapping).project
        return self._locks[zlib.crc32(str(project).encode()) % LOCKS]


async def _in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call; it is waited for even when we are cancelled, so that no lock is given up before its end."""
    task = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@contextmanager
def _spoken(verb: str, path: str) -> Iterator[None]:
    """Turn an error of the system into one of a job."""
    try:
        yield
    except JobError:
        raise
    except PermissionError as error:
        who = "" if os.geteuid() == 0 else " The agent does not run as root, which it must to give directories away."
        raise RunError(f"Not permitted to {verb} {path} ({error.strerror}).{who}") from error
    except OSError as error:
        if error.errno in NOT_A_DIRECTORY:
            raise RunError(f"Cannot {verb} {path}: a part of it is a link or no directory.") from error
        kind = Unavailable if error.errno in FULL else RunError
        raise kind(f"Cannot {verb} {path}: {error.strerror}.") from error


@contextmanager
def _opened(name: str, parent: int) -> Iterator[int]:
    """A directory in another one, never through a link."""
    descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _recycle_of(parent: int, make: bool = False) -> Iterator[int]:
    """The `.recycle` of a directory. Raises RunError when it is not ours."""
    if make:
        try:
            os.mkdir(RECYCLE, 0o700, dir_fd=parent)
        except FileExistsError:
            pass
    with _opened(RECYCLE, parent) as descriptor:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise RunError(f"{_real_path(descriptor)} belongs to somebody else; move it away.")
        yield descriptor


def _real_path(descriptor: int) -> str:
    """Where an open directory is, every link of its path resolved."""
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def _require(parent: int | None, place: Place) -> int:
    if parent is None:
        raise RunError(f"The directory above {place.path} does not exist; only the last part is ever made.")
    return parent


def _status(name: str, parent: int) -> int | None:
    """The mode of what is there, links not followed; None when nothing is."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _make_draft(draft: str, parent: int) -> str:
    """An empty directory of ours; one that an interrupted run left is made anew."""
    try:
        os.mkdir(draft, 0o700, dir_fd=parent)
    except FileExistsError:
        os.rmdir(draft, dir_fd=parent)
        os.mkdir(draft, 0o700, dir_fd=parent)
    return draft


def _skeleton_files(directory: int) -> list[str] | None:
    """The files of a skeleton; None when there is anything else."""
    names = os.listdir(directory)
    modes = [_status(name, directory) or 0 for name in names[: SKELETON_MAX_FILES + 1]]
    plain = len(names) <= SKELETON_MAX_FILES and all(map(stat.S_ISREG, modes))
    return names if plain and all(name.startswith(".") for name in names) else None


def _is_skeleton(name: str, parent: int) -> bool:
    with _opened(name, parent) as directory:
        return _skeleton_files(directory) is not None


def _remove_skeleton(name: str, parent: int) -> None:
    """Remove a skeleton, file by file; what is no skeleton (any more) is left and makes `rmdir` fail."""
    if _status(name, parent) is None:
        return
    with _opened(name, parent) as directory:
        for file in _skeleton_files(directory) or ():
            os.unlink(file, dir_fd=directory)
    os.rmdir(name, dir_fd=parent)


def _remove_older(name: str, recycle: int) -> None:
    found = _status(name, recycle)
    if found is not None and stat.S_ISDIR(found):
        shutil.rmtree(name, dir_fd=recycle)
    elif found is not None:
        os.unlink(name, dir_fd=recycle)


def _user_owner(mapping: UserMapping) -> Owner:
    try:
        uid = pwd.getpwnam(mapping.local_user).pw_uid
    except KeyError:
        raise Unavailable(f"The user {mapping.local_user} is not known on this machine (yet).") from None
    if uid == 0:
        raise InvalidJob(f"{mapping.local_user} is the superuser, who gets no directories.")
    return Owner(uid, _gid(mapping.local_group))


def _gid(name: str) -> int:
    try:
        gid = grp.getgrnam(name).gr_gid
    except KeyError:
        raise Unavailable(f"The group {name} is not known on this machine (yet).") from None
    if gid == 0:
        raise InvalidJob(f"{name} is the superuser's group, which gets no directories.")
    return gid
