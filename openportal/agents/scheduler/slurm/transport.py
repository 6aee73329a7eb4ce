"""What the engine asks of a Slurm, whichever way it is reached.

Two transports say the same: `commands.py` runs sacctmgr, sacct, scontrol and scancel; `rest.py` calls slurmrestd.
Looks give values of Slurm itself, without an opinion about what is ours; changes do one thing each and are not
repeated here. Neither keeps anything: what Slurm has now is what a look returns.

None and an empty tuple mean that Slurm answered and has no such thing. Whatever kept it from answering is an error:

    Unavailable    not reached, no answer in time, its database is down, a token that is refused twice    retry
    RunError       it answered and refused, or its answer cannot be read; the sentence is Slurm's
    Unsupported    this version cannot do that this way; the sentence says which way it can be done
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from openportal.agents.scheduler.slurm.records import JobRecords
from openportal.agents.scheduler.slurm.windows import Window

TresMinutes = Mapping[str, int]
"""GrpTRESMins by the name of the resource (`cpu`, `mem` in MB, `gres/gpu`, `node`, `billing`)."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as slurmdbd has it; Slurm may have changed the case of what we wrote."""

    name: str
    description: str
    organization: str


@dataclass(frozen=True, slots=True)
class Association:
    """An account on a cluster (no user), or a user of that account there."""

    cluster: str
    account: str
    user: str = ""
    parent: str = ""
    is_default: bool = False
    minutes: TresMinutes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class User:
    """A user as slurmdbd has it, with associations on every cluster."""

    name: str
    default_account: str
    associations: tuple[Association, ...]


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that slurmctld still holds."""

    job_id: int
    user: str
    account: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which accounting records: of some accounts or of all, in one partition or in all."""

    window: Window
    cluster: str
    accounts: tuple[str, ...] = ()
    partition: str = ""


class JobSource(Protocol):
    """The part of a Slurm that accounts for jobs."""

    async def jobs(self, query: JobQuery) -> JobRecords:
        """Accounting records of every attempt that waited or ran in the window. Raises JobError."""
        ...


class Slurm(JobSource, Protocol):
    """A Slurm. Every method raises JobError of the kinds above."""

    async def clusters(self) -> tuple[str, ...]:
        """Those that slurmdbd knows."""
        ...

    async def account(self, name: str) -> Account | None: ...

    async def user(self, name: str) -> User | None: ...

    async def associations(self, cluster: str, account: str = "") -> tuple[Association, ...]:
        """Those of one account, or of all."""
        ...

    async def accounts(self) -> tuple[Account, ...]: ...

    async def queue(self, account: str, user: str = "") -> tuple[QueuedJob, ...]:
        """What waits or runs in an account, of one user or of all."""
        ...

    async def add_account(self, cluster: str, account: Account, parent: str) -> None:
        """Make an account beneath another one, on a cluster; one that exists elsewhere is attached to it."""
        ...

    async def move_account(self, cluster: str, account: str, parent: str) -> None: ...

    async def add_user(self, cluster: str, account: str, user: str) -> None:
        """Associate a user with an account, and make it the user's default."""
        ...

    async def set_default_account(self, cluster: str, user: str, account: str) -> None: ...

    async def set_minutes(self, cluster: str, account: str, minutes: TresMinutes) -> None:
        """Set GrpTRESMins of an account for these resources; none at all clears what there is."""
        ...

    async def cancel(self, jobs: tuple[int, ...]) -> None:
        """Cancel those of these jobs that still wait; that one runs, or is gone, is no error."""
        ...

    async def close(self) -> None:
        """Give up what connections there are."""
        ...
