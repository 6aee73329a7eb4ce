"""What slurmrestd answers, in v0.0.38 to v0.0.43. PURE.

An answer is judged before it is read: slurmrestd tells of an error by its status (500 for a thing that is not there,
304 for nothing to change), by `errors` in an answer of status 200, or by both, and which of them differs by version
and by call.

    fine      it did what was asked, or has nothing to change (304)
    nothing   there is no such thing, or no such job to cancel
    token     it does not believe us: 401, or slurmdbd or slurmctld refused the token
    version   it does not serve this API version (any more): 404 and no JSON
    down      slurmdbd, slurmctld or the database cannot be reached, or slurmrestd is too busy: later
    refused   it will not do that, now or later

`warnings` are of fields that a version does not know, and are not errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import starmap
from typing import Any, Final

import msgspec

from openportal.agents.scheduler.slurm.records import NOTHING_FOUND
from openportal.agents.scheduler.slurm.transport import Account, Association, QueuedJob, TresMinutes
from openportal.errors import RunError

QUOTED_MAX_CHARACTERS: Final = 200
UNCHANGED: Final = 304
NOT_CHANGED_SINCE: Final = 1900
"""slurmdbd's "nothing to change", as 22.05 says it when there is nothing to remove."""

STATUS_OF_TOKEN: Final = (401, 403)
STATUS_OF_DOWN: Final = (408, 429, 502, 503, 504)
ERRORS_OF_TOKEN: Final = (1007,)
"""The protocol's authentication error."""
ERRORS_OF_DOWN: Final = (-1, 1001, 1800, 1801, 1802, 1803, 1804, 1805, 1806, 7000, 7001)
"""Communication with slurmctld or slurmdbd; -1 is what 22.05 says in place of each of them."""
JOBS_THAT_NEED_NO_CANCEL: Final = (2017, 2021, 2172)
"""No such job, over already, and not in the state that was given."""


class Verdict(StrEnum):
    FINE = "fine"
    NOTHING = "nothing"
    TOKEN = "token"
    VERSION = "version"
    DOWN = "down"
    REFUSED = "refused"


class _Problem(msgspec.Struct, frozen=True):
    error_number: int = 0
    error: str | None = None
    description: str | None = None

    def __str__(self) -> str:
        parts = dict.fromkeys(part for part in (self.description, self.error) if part)
        return ": ".join(parts) or f"error {self.error_number}"


class _Judged(msgspec.Struct, frozen=True):
    errors: tuple[_Problem, ...] | None = ()


def judge(status: int, content: bytes) -> tuple[Verdict, str]:
    """What an answer means, and what slurmrestd says about it."""
    if status == UNCHANGED:
        return Verdict.FINE, ""
    try:
        problems = msgspec.json.decode(content, type=_Judged).errors or ()
    except msgspec.MsgspecError:
        return _judge_text(status, content.decode(errors="replace"))
    said = "; ".join(dict.fromkeys(map(str, problems))) or (f"status {status}" if status >= 400 else "")
    return _judge_errors(status, problems, said), said


def _judge_text(status: int, text: str) -> tuple[Verdict, str]:
    said = f"status {status}: {text[:QUOTED_MAX_CHARACTERS].strip() or 'no text'}"
    if status == 404:
        return Verdict.VERSION, said
    if status in STATUS_OF_TOKEN:
        return Verdict.TOKEN, said
    if status in STATUS_OF_DOWN:
        return Verdict.DOWN, said
    return Verdict.REFUSED, said if status >= 400 else f"no JSON: {said}"


def _judge_errors(status: int, problems: tuple[_Problem, ...], said: str) -> Verdict:
    numbers = {problem.error_number for problem in problems}
    if status in STATUS_OF_TOKEN or numbers & {*ERRORS_OF_TOKEN} or "authentication error" in said:
        return Verdict.TOKEN
    if problems and numbers <= {NOTHING_FOUND, NOT_CHANGED_SINCE, *JOBS_THAT_NEED_NO_CANCEL}:
        return Verdict.NOTHING
    if status in STATUS_OF_DOWN or numbers & {*ERRORS_OF_DOWN}:
        return Verdict.DOWN
    return Verdict.REFUSED if said else Verdict.FINE


# --- what is read from them -------------------------------------------------------------------------------------------


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Account(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    organization: str | None = None


class _Tres(msgspec.Struct, frozen=True):
    type: str
    count: int
    name: str | None = None


class _Group(msgspec.Struct, frozen=True):
    minutes: tuple[_Tres, ...] | None = ()


class _AllTres(msgspec.Struct, frozen=True):
    group: _Group = _Group()


class _Max(msgspec.Struct, frozen=True):
    tres: _AllTres = _AllTres()


class _Association(msgspec.Struct, frozen=True):
    account: str
    cluster: str
    user: str | None = None
    parent_account: str | None = None
    is_default: bool | int = False
    max: _Max = _Max()


class _Job(msgspec.Struct, frozen=True):
    job_id: int
    job_state: str | tuple[str, ...]
    account: str | None = None
    user_name: str | None = None
    state_reason: str | None = None


class _CancelError(msgspec.Struct, frozen=True):
    code: int = 0
    string: str | None = None
    message: str | None = None


class _Cancelled(msgspec.Struct, frozen=True):
    step_id: str = ""
    error: _CancelError = _CancelError()


class _Answer(msgspec.Struct, frozen=True):
    """Whatever an answer holds of what we read; a kind of call has one of these."""

    clusters: tuple[_Named, ...] = ()
    accounts: tuple[_Account, ...] = ()
    users: tuple[_Named, ...] = ()
    associations: tuple[_Association, ...] = ()
    jobs: tuple[_Job, ...] = ()
    status: tuple[_Cancelled, ...] = ()


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def _read(content: bytes) -> _Answer:
    if not content:
        return _Answer()
    try:
        return _ANSWER.decode(content)
    except msgspec.MsgspecError as error:
        shown = content[:QUOTED_MAX_CHARACTERS].decode(errors="replace")
        raise RunError(f"slurmrestd answered what cannot be read ({error}): {shown}") from error


def clusters(content: bytes) -> tuple[str, ...]:
    return tuple(cluster.name for cluster in _read(content).clusters)


def users(content: bytes) -> tuple[str, ...]:
    return tuple(user.name for user in _read(content).users)


def accounts(content: bytes) -> tuple[Account, ...]:
    found = _read(content).accounts
    return tuple(Account(one.name, one.description or "", one.organization or "") for one in found)


def associations(content: bytes) -> tuple[Association, ...]:
    return tuple(map(_association, _read(content).associations))


def _association(found: _Association) -> Association:
    minutes = {_name(tres.type, tres.name): tres.count for tres in found.max.tres.group.minutes or ()}
    user = found.user or ""
    is_default = bool(found.is_default) and user != ""  # versions differ in what they say of an account itself
    return Association(found.cluster, found.account, user, found.parent_account or "", is_default, minutes)


def limits(content: bytes, user: str) -> dict[str, Any] | None:
    """All limits by resource of a user, or of the account itself for none, as they must be sent back."""
    for one in msgspec.json.decode(content).get("associations", ()) if content else ():
        if (one.get("user") or "") == user:
            return dict(one["max"]["tres"])
    return None


def with_minutes(limits: Mapping[str, Any], minutes: TresMinutes) -> dict[str, Any]:
    """The same with these GrpTRESMins; others stay, but none at all clears them."""
    group = limits["group"]
    kept = [tres for tres in group["minutes"] if _name(tres["type"], tres["name"]) not in minutes] if minutes else []
    return {**limits, "group": {**group, "minutes": [*kept, *starmap(_tres, minutes.items())]}}


def _tres(name: str, count: int) -> dict[str, str | int]:
    kind, _, model = name.partition("/")
    return {"type": kind, "count": count, **({"name": model} if model else {})}


def _name(kind: str, model: str | None) -> str:
    return f"{kind}/{model}" if model else kind


def queue(content: bytes) -> tuple[QueuedJob, ...]:
    """What slurmctld holds; jobs that have ended are among it for some minutes."""
    return tuple(
        QueuedJob(
            job.job_id,
            job.user_name or "",
            job.account or "",
            job.job_state if isinstance(job.job_state, str) else job.job_state[0],
            job.state_reason or "",
        )
        for job in _read(content).jobs
    )


def not_cancelled(content: bytes) -> tuple[str, ...]:
    """What went wrong with jobs that should have been cancelled."""
    return tuple(
        f"job {one.step_id}: {one.error.message or one.error.string or one.error.code}"
        for one in _read(content).status
        if one.error.code and one.error.code not in JOBS_THAT_NEED_NO_CANCEL
    )
