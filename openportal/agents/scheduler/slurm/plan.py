"""What must be done to Slurm, given what was found. PURE.

    account     found                                        add project      add user         limit, cancel
    absent      no such account                              create           create           error
    detached    ours, but not on this cluster                attach           attach           error
    ours        organisation `openportal`                    move if astray   -                yes
    taken       ours, for another project                    error            error            error
    foreign     another organisation                         error            error            error

Slurm's account is named after the project's local group and its user after the local user, in lower case, `/` and
blanks as `_`. It keeps descriptions in lower case, so they are compared without it. A description that is not in our
words (older agents, a site's own) tells nothing about whose account it is; one that names another project does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from openportal.agents import naming
from openportal.agents.scheduler.slurm.limits import is_applied
from openportal.agents.scheduler.slurm.transport import Account, Association, QueuedJob, Slurm, TresMinutes, User
from openportal.errors import InvalidJob, RunError
from openportal.grammar.identifiers import ProjectIdentifier, ProjectMapping, UserMapping

ORGANIZATION: Final = "openportal"
DESCRIPTION: Final = "account for openportal project "
RESERVED: Final = frozenset({"root"})
PENDING: Final = "PENDING"
LEAVE_RUNNING: Final = "leave running jobs"
SHOWN_JOBS_MAX: Final = 20
_PLAIN: Final = str.maketrans({"/": "_", " ": "_"})


# --- names ------------------------------------------------------------------------------------------------------------


def account_name(local_group: str) -> str:
    """Slurm's account for a project's group. Raises InvalidJob for a name that Slurm keeps for itself."""
    name = local_group.removeprefix(naming.LEGACY_PREFIX).lower().translate(_PLAIN)
    if name in RESERVED:
        raise InvalidJob(f"The account {name} is Slurm's own and cannot be a project's.")
    return name


def user_name(local_user: str) -> str:
    """Slurm's user for a local user. Raises InvalidJob for a name that Slurm keeps for itself."""
    name = local_user.lower().translate(_PLAIN)
    if name in RESERVED:
        raise InvalidJob(f"The user {name} is Slurm's own and cannot be a project's.")
    return name


def description(project: ProjectIdentifier) -> str:
    """What is written about the account of a project."""
    return f"Account for OpenPortal project {project}"


# --- what was found ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A project's account on a cluster, as it should be."""

    cluster: str
    account: str
    parent: str
    project: ProjectIdentifier

    @classmethod
    def of(cls, mapping: ProjectMapping, cluster: str, parent: str) -> Target:
        """Raises InvalidJob when the project would have an account that others hang beneath."""
        name = account_name(mapping.local_group)
        if name == parent:
            raise InvalidJob(f"The account {name} is the parent of all projects' accounts (parent-account).")
        return cls(cluster, name, parent, mapping.project)


@dataclass(frozen=True, slots=True)
class Found:
    """A project's account, as Slurm has it: with its associations on the cluster in question."""

    account: Account | None
    associations: tuple[Association, ...] = ()

    @property
    def own(self) -> Association | None:
        """The association of the account itself."""
        return next((one for one in self.associations if not one.user), None)

    @property
    def minutes(self) -> TresMinutes:
        return self.own.minutes if self.own else {}


def is_managed(account: Account | None) -> bool:
    return account is not None and account.organization.lower() == ORGANIZATION


def owner(account: Account) -> str | None:
    """The project whose account this is, in lower case, where the description says so."""
    text = account.description.lower()
    return text.removeprefix(DESCRIPTION) if text.startswith(DESCRIPTION) else None


def require_ours(target: Target, found: Found) -> None:
    """Raise when the account exists and is not this project's."""
    if found.account is None:
        return
    if not is_managed(found.account):
        raise RunError(
            f"The Slurm account {target.account} belongs to the organisation {found.account.organization!r}, so it is "
            f"left as it is. To hand it over: sacctmgr modify account {target.account} set organization={ORGANIZATION}"
        )
    whose = owner(found.account)
    if whose not in (None, str(target.project).lower()):
        raise RunError(f"The Slurm account {target.account} is that of {whose}, so {target.project} cannot have it.")


def require_there(target: Target, found: Found) -> None:
    """Raise unless the account is this project's and on the cluster."""
    require_ours(target, found)
    if found.account is None or found.own is None:
        raise RunError(f"There is no Slurm account {target.account} on the cluster {target.cluster}; add the project.")


# --- changes ----------------------------------------------------------------------------------------------------------


class Change(Protocol):
    """One change, in words for the audit trail and as a call."""

    action: ClassVar[str]

    @property
    def target(self) -> str: ...

    def make(self, slurm: Slurm) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class AddAccount:
    action: ClassVar[str] = "create account"
    cluster: str
    account: Account
    parent: str

    @property
    def target(self) -> str:
        return f"{self.account.name} beneath {self.parent} on {self.cluster}"

    def make(self, slurm: Slurm) -> Awaitable[None]:
        return slurm.add_account(self.cluster, self.account, self.parent)


@dataclass(frozen=True, slots=True)
class MoveAccount:
    action: ClassVar[str] = "move account"
    cluster: str
    account: str
    parent: str

    @property
    def target(self) -> str:
        return f"{self.account} beneath {self.parent} on {self.cluster}"

    def make(self, slurm: Slurm) -> Awaitable[None]:
        return slurm.move_account(self.cluster, self.account, self.parent)


@dataclass(frozen=True, slots=True)
class AddUser:
    action: ClassVar[str] = "add user to account"
    cluster: str
    account: str
    user: str

    @property
    def target(self) -> str:
        return f"{self.user} in {self.account} on {self.cluster}"

    def make(self, slurm: Slurm) -> Awaitable[None]:
        return slurm.add_user(self.cluster, self.account, self.user)


@dataclass(frozen=True, slots=True)
class SetDefault:
    action: ClassVar[str] = "set default account"
    cluster: str
    account: str
    user: str

    @property
    def target(self) -> str:
        return f"{self.account} of {self.user} on {self.cluster}"

    def make(self, slurm: Slurm) -> Awaitable[None]:
        return slurm.set_default_account(self.cluster, self.user, self.account)


@dataclass(frozen=True, slots=True)
class SetMinutes:
    action: ClassVar[str] = "set limit"
    cluster: str
    account: str
    minutes: TresMinutes

    @property
    def target(self) -> str:
        shown = ",".join(f"{name}={amount}" for name, amount in sorted(self.minutes.items()))
        return f"{self.account} on {self.cluster}: GrpTRESMins={shown}"

    def make(self, slurm: Slurm) -> Awaitable[None]:
        return slurm.set_minutes(self.cluster, self.account, self.minutes)


@dataclass(frozen=True, slots=True)
class Cancel:
    action: ClassVar[str] = "cancel pending jobs"
    account: str
    jobs: tuple[int, ...]

    @property
    def target(self) -> str:
        return f"{self.account}: {shown_jobs(self.jobs)}"

    def make(self, slurm: Slurm) -> Awaitable[None]:
        return slurm.cancel(self.jobs)


def shown_jobs(jobs: Iterable[int]) -> str:
    numbers = [str(job) for job in jobs]
    rest = len(numbers) - SHOWN_JOBS_MAX
    return ", ".join(numbers[:SHOWN_JOBS_MAX]) + (f" and {rest} more" if rest > 0 else "")


# --- plans ------------------------------------------------------------------------------------------------------------


def make_account(target: Target, found: Found) -> list[Change]:
    """The account of a project, on its cluster, wherever it hangs there."""
    require_ours(target, found)
    if found.account is not None and found.own is not None:
        return []
    account = found.account or Account(target.account, description(target.project), ORGANIZATION)
    return [AddAccount(target.cluster, account, target.parent)]


def place_account(target: Target, found: Found) -> list[Change]:
    """The account of a project, on its cluster and beneath the parent of the settings."""
    made = make_account(target, found)
    if made or found.own is None or found.own.parent == target.parent:
        return made
    return [MoveAccount(target.cluster, target.account, target.parent)]


def add_user(target: Target, mapping: UserMapping, user: User | None) -> list[Change]:
    """The association of a user with the project's account, as the user's default."""
    name = user_name(mapping.local_user)
    if user is None or not _association(target, user):
        return [AddUser(target.cluster, target.account, name)]
    if not has_default(target, user):
        return [SetDefault(target.cluster, target.account, name)]
    return []


def is_user_added(target: Target, user: User | None) -> bool:
    return user is not None and _association(target, user) is not None and has_default(target, user)


def _association(target: Target, user: User) -> Association | None:
    for one in user.associations:
        if one.cluster == target.cluster and one.account == target.account:
            return one
    return None


def has_default(target: Target, user: User) -> bool:
    """Whether jobs of the user that name no account go to the project."""
    found = _association(target, user)
    return found is not None and (found.is_default or user.default_account == target.account)


def set_minutes(target: Target, found: Found, wanted: TresMinutes) -> list[Change]:
    """The limits of an account for these resources; whatever else is limited stays."""
    require_there(target, found)
    if is_applied(found.minutes, wanted):
        return []
    return [SetMinutes(target.cluster, target.account, wanted)]


def require_minutes(target: Target, found: Found, wanted: TresMinutes) -> None:
    """Raise when a look after the change does not show the limits."""
    left = set_minutes(target, found, wanted)
    if left:
        raise RunError(f"Slurm took the change and does not show it: {left[0].action} {left[0].target}")


def cancel_pending(account: str, queue: Iterable[QueuedJob]) -> list[Change]:
    """Cancel what has not started; what runs is left to end."""
    waiting = tuple(dict.fromkeys(job.job_id for job in queue if job.state == PENDING))
    return [Cancel(account, waiting)] if waiting else []
