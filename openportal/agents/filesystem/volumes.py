"""Where the directories of users and projects are, and what must be done so that they are there or gone. Pure.

    [user_volumes.home]                     [project_volumes.projects]
    roots = ["/home"]                       roots = ["/projects", "/work"]
    subpath = "{project}/{user}"            subpath = "{project}"
    permissions = "0755"                    permissions = "2770"            one for all roots, or a list
    is_home = true                          links = ["", "/fast/{project}"] one for each root, "" for none

`{user}` is the local user, `{project}` the name of the project without its portal. A directory is a root, which the
site makes, and parts below it. For a user volume the parts before `{user}` are the project's own directory there; a
user volume without `{user}` has that one only, and removing a user leaves it alone.

What is found at a place is one of three states, for the directory and for its recycled copy `.recycle/<name>`:

    found      recycled    add                             remove
    nothing    nothing     make                            -
    nothing    there       restore                         -
    there      nothing     -                               recycle
    there      there       restore if it is a skeleton     recycle, which replaces the older copy

A skeleton holds nothing but hidden plain files, as a first login leaves them. Something that is not a directory is an
error to add (a symbolic link is never followed) and is moved aside like a directory to remove.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from openportal.errors import ConfigError, RunError
from openportal.grammar.identifiers import ProjectIdentifier, ProjectMapping, UserMapping

RECYCLE = ".recycle"
DENIED = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys",
    "/tmp", "/usr", "/var",
)  # fmt: skip
VOLUMES_MAX = 64
ROOTS_MAX = 64
PATH_MAX_CHARACTERS = 1024
MODE_MAX = 0o7777

PROJECT = "{project}"
USER = "{user}"
_PLACEHOLDER = re.compile(r"\{(?:project|user)\}", re.IGNORECASE)
_OCTAL = re.compile(r"0?[0-7]{3,4}").fullmatch


@dataclass(frozen=True, slots=True)
class Place:
    """A directory (or link) below a root; `parts` are single names."""

    volume: str
    root: str
    parts: tuple[str, ...]
    mode: int = 0o755

    def __post_init__(self) -> None:
        if not self.parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in self.parts):
            raise ValueError(f"the parts below a root are single names, not {self.parts!r}")

    @property
    def path(self) -> str:
        return "/".join((self.root.rstrip("/"), *self.parts))

    @property
    def name(self) -> str:
        return self.parts[-1]


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link at `place` to the directory `target`."""

    place: Place
    target: str


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a place: something, whether that is no directory or a skeleton, and a recycled copy."""

    there: bool = False
    strange: bool = False
    skeleton: bool = False
    recycled: bool = False


class Step(Enum):
    """What to do at a place; the value is the action of the audit trail."""

    MAKE = "make directory"
    RESTORE = "restore directory"
    RECYCLE = "recycle directory"


def plan_add(found: Mapping[Place, Found]) -> list[tuple[Step, Place]]:
    """The steps after which every place is there, in order. Raises RunError for what is no directory."""
    for place, state in found.items():
        if state.strange:
            raise RunError(f"{place.path} is not a directory (links are not followed); move it away and try again.")
    steps = ((_step_to_add(state), place) for place, state in found.items())
    return [(step, place) for step, place in steps if step]


def plan_remove(found: Mapping[Place, Found]) -> list[tuple[Step, Place]]:
    """The steps after which no place is there, the deepest first."""
    return [(Step.RECYCLE, place) for place in sorted(found, key=_depth, reverse=True) if found[place].there]


def _depth(place: Place) -> int:
    return len(place.parts)


def _step_to_add(found: Found) -> Step | None:
    if found.recycled and (not found.there or found.skeleton):
        return Step.RESTORE
    return None if found.there else Step.MAKE


def plain(path: str) -> str:
    """An absolute path without empty parts and dots: a slash or dot at its end would make the system follow a link."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def check_root(path: str, denied: Iterable[str] = DENIED) -> None:
    """Raise ConfigError unless `path` is absolute, plain and outside the directories of the system."""
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts or "\0" in path or len(path) > PATH_MAX_CHARACTERS:
        raise ConfigError(f"{path!r} must be an absolute path without '..'.")
    real = plain(path)
    if real == "/" or any(real == other or real.startswith(f"{other}/") for other in denied):
        raise ConfigError(f"{path!r} is in a directory of the system, where OpenPortal changes nothing.")


def _mode(text: object) -> int:
    if not isinstance(text, str) or not _OCTAL(text.strip()):
        raise ValueError(f"permissions are a text of three or four octal digits such as '0755', not {text!r}")
    return int(text.strip(), 8)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Mode = Annotated[int, BeforeValidator(_mode), Field(ge=0, le=MODE_MAX)]
Modes = Annotated[tuple[Mode, ...], BeforeValidator(_as_tuple)]
Text = Annotated[str, Field(max_length=PATH_MAX_CHARACTERS)]


class _Volume(BaseModel):
    """What both kinds of volumes have. The settings of quotas are kept for whoever sets quotas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roots: Annotated[tuple[Text, ...], Field(min_length=1, max_length=ROOTS_MAX)]
    subpath: Text
    permissions: Modes
    quota_engine: str | None = None
    max_quota: str | None = None
    default_quota: str | None = None
    mount_point: str | None = None
    default_inode_limit: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.permissions) not in (1, len(self.roots)):
            raise ValueError(f"{len(self.roots)} roots and {len(self.permissions)} permissions: give one, or one each")
        parts = _parts(self.subpath)
        if PROJECT not in "/".join(parts):
            raise ValueError(f"the subpath {self.subpath!r} must hold {PROJECT}")
        for root in self.roots:
            if not root.startswith("/") or ".." in root.split("/"):
                raise ValueError(f"the root {root!r} must be an absolute path without '..'")
        return self

    def rooted(self) -> Iterator[tuple[str, int]]:
        """Each root with its permissions."""
        modes = self.permissions if len(self.permissions) > 1 else self.permissions * len(self.roots)
        yield from zip(self.roots, modes, strict=True)


class UserVolume(_Volume):
    """A table of user_volumes."""

    subpath: Text = f"{PROJECT}/{USER}"
    permissions: Modes = (0o755,)
    is_home: bool = False

    @model_validator(mode="after")
    def _check_user(self) -> Self:
        parts = _parts(self.subpath)
        if any(USER in part for part in parts[:-1]):
            raise ValueError(f"in the subpath {self.subpath!r} only the last part may hold {USER}")
        if self.is_home and len(self.roots) != 1:
            raise ValueError("the home volume must have exactly one root")
        return self

    @cached_property
    def user_parts(self) -> tuple[str, ...]:
        """The template of a user's directory."""
        return _parts(self.subpath)

    @cached_property
    def project_parts(self) -> tuple[str, ...]:
        """The template of the project's own directory, empty when there is none."""
        before = tuple(part for part in _parts(self.subpath) if USER not in part)
        return before if PROJECT in "/".join(before) else ()


class ProjectVolume(_Volume):
    """A table of project_volumes."""

    subpath: Text = PROJECT
    permissions: Modes = (0o2770,)
    links: tuple[Text, ...] = ()

    @cached_property
    def project_parts(self) -> tuple[str, ...]:
        """The template of the project's directory."""
        return _parts(self.subpath)

    @model_validator(mode="after")
    def _check_project(self) -> Self:
        if USER in "/".join(_parts(self.subpath)):
            raise ValueError(f"the subpath {self.subpath!r} of a project volume cannot hold {USER}")
        if self.links and len(self.links) != len(self.roots):
            raise ValueError(f"{len(self.roots)} roots and {len(self.links)} links: give one each, '' for none")
        for link in filter(None, map(str.strip, self.links)):
            if not link.startswith("/") or PROJECT not in "/".join(_parts(link[1:])):
                raise ValueError(f"the link {link!r} must be an absolute path that holds {PROJECT}")
        return self


class Volumes(BaseModel):
    """The volumes of a filesystem agent, in the order of its file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user_volumes: Annotated[dict[str, UserVolume], Field(max_length=VOLUMES_MAX)] = Field(default_factory=dict)
    project_volumes: Annotated[dict[str, ProjectVolume], Field(max_length=VOLUMES_MAX)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(volume.is_home for volume in self.user_volumes.values()) > 1:
            raise ValueError("more than one user volume has is_home = true")
        return self

    @classmethod
    def of(cls, config: Mapping[str, object]) -> Self:
        """From the top level of the agent's file; other tables are ignored. Raises ConfigError."""
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "volumes"
            raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}.") from error

    def check_roots(self, denied: Iterable[str] = DENIED) -> None:
        """Raise ConfigError when a root or the fixed part of a link is in a directory of the system."""
        volumes: list[_Volume] = [*self.user_volumes.values(), *self.project_volumes.values()]
        for volume in volumes:
            for root in volume.roots:
                check_root(root, denied)
        for project_volume in self.project_volumes.values():
            for link in filter(None, map(str.strip, project_volume.links)):
                check_root(_split_link(link)[0], denied)

    def home(self, mapping: UserMapping) -> Place | None:
        """The home directory of a user; the only user volume is the home volume without being told."""
        volumes = self.user_volumes.items()
        homes = [item for item in volumes if item[1].is_home] or ([*volumes] if len(volumes) == 1 else [])
        if not homes or len(homes[0][1].roots) != 1:
            return None
        name, volume = homes[0]
        return next(_places(name, volume, volume.user_parts, _names(mapping.user.project, mapping.local_user)))

    def user_dirs(self, mapping: UserMapping) -> tuple[Place, ...]:
        """Every directory a user has, shared ones of the project included."""
        names = _names(mapping.user.project, mapping.local_user)
        return _unique(
            place
            for name, volume in self.user_volumes.items()
            for place in _places(name, volume, volume.user_parts, names)
        )

    def own_dirs(self, mapping: UserMapping) -> tuple[Place, ...]:
        """The directories of a user that are nobody else's."""
        shared = {place.path for place in self.project_roots(mapping.user.project_identifier)}
        return tuple(place for place in self.user_dirs(mapping) if place.path not in shared)

    def project_dirs(self, project: ProjectIdentifier) -> tuple[Place, ...]:
        """Every directory on the project volumes of a project."""
        names = _names(project.project)
        return _unique(
            place
            for name, volume in self.project_volumes.items()
            for place in _places(name, volume, volume.project_parts, names)
        )

    def project_roots(self, project: ProjectIdentifier) -> tuple[Place, ...]:
        """The directories of a project on the user volumes, in which those of its users are."""
        names = _names(project.project)
        return _unique(
            place
            for name, volume in self.user_volumes.items()
            if volume.project_parts
            for place in _places(name, volume, volume.project_parts, names)
        )

    def project_places(self, project: ProjectIdentifier) -> tuple[Place, ...]:
        """Every directory that belongs to a project as a whole."""
        return _unique((*self.project_dirs(project), *self.project_roots(project)))

    def links(self, project: ProjectIdentifier) -> tuple[Link, ...]:
        """The links of a project."""
        names = _names(project.project)
        found = []
        for name, volume in self.project_volumes.items():
            places = _places(name, volume, volume.project_parts, names)
            for link, target in zip(volume.links, places, strict=False):
                if link.strip():
                    root, parts = _split_link(link.strip())
                    found.append(Link(Place(name, root, _fill(parts, names)), target.path))
        return tuple(found)


def project_of(mapping: ProjectMapping | UserMapping) -> ProjectMapping:
    """The project's mapping in a user's."""
    if isinstance(mapping, ProjectMapping):
        return mapping
    return ProjectMapping(mapping.user.project_identifier, mapping.local_group)


def _places(name: str, volume: _Volume, template: tuple[str, ...], names: Mapping[str, str]) -> Iterator[Place]:
    parts = _fill(template, names)
    return (Place(name, root, parts, mode) for root, mode in volume.rooted())


def _unique(places: Iterable[Place]) -> tuple[Place, ...]:
    return tuple({place.path: place for place in places}.values())


def _names(project: str, user: str = "") -> dict[str, str]:
    return {PROJECT: project, USER: user}


def _fill(template: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part.replace(PROJECT, names[PROJECT]).replace(USER, names[USER]) for part in template)


def _parts(subpath: str) -> tuple[str, ...]:
    """The parts of a template, placeholders in lower case. Raises ValueError for what could leave the root."""
    lowered = _PLACEHOLDER.sub(lambda match: match[0].lower(), subpath.strip())
    parts = tuple(part for part in lowered.split("/") if part)
    if lowered.startswith("/") or not parts or any(part in (".", "..", RECYCLE) or "\0" in part for part in parts):
        raise ValueError(f"the subpath {subpath!r} must be a relative path without '.', '..' and {RECYCLE}")
    return parts


def _split_link(link: str) -> tuple[str, tuple[str, ...]]:
    """The fixed directory that a link is in, and the template of the rest."""
    parts = _parts(link[1:])
    first = next(index for index, part in enumerate(parts) if PROJECT in part or index == len(parts) - 1)
    return "/" + "/".join(parts[:first]), parts[first:]
