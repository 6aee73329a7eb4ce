"""Slurm by its own commands: sacctmgr, sacct, scontrol, scancel and squeue.

    looks      sacctmgr -nP show …, one thing a line, fields with `|` between, free text last: the same in every version
    changes    sacctmgr -i …: without -i it asks, and on no terminal asks for ever; so standard input is empty as well
    records    sacct, in the form of `sacct.py`
    queue      squeue of the controller, which knows what waits now; sacct may hear of it later

A command gets its arguments as they are, never through a shell. It is given a time; one that does not end in it is
killed with all that it started. Changes are waited for even when the job that asked is given up: cut short, nobody
would know what they did. At most so many run at a time, reports in a lane of their own, so that none delays a change.

sacctmgr takes as long for fifty names as for one, so looks for accounts and users, and users that are put into one
account, go together (`together.py`). Accounts that are made and limits that are set differ in more than their names,
and go one by one.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from openportal.agents.scheduler.slurm import sacct
from openportal.agents.scheduler.slurm.limits import MINUTES_MAX
from openportal.agents.scheduler.slurm.records import JobRecords, read_json, read_text
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.together import NAMES_PER_CALL_MAX, Together
from openportal.agents.scheduler.slurm.transport import (
    Account,
    Association,
    JobQuery,
    QueuedJob,
    TresMinutes,
    User,
)
from openportal.errors import JobError, RunError, Unavailable

CLEARED: Final = -1
OUTPUT_MAX_BYTES: Final = 256 * 1024 * 1024
CHUNK_BYTES: Final = 256 * 1024
OUTPUT_SHOWN_CHARACTERS: Final = 300
JOBS_PER_CALL_MAX: Final = 500
ABSENT_EXIT_CODE: Final = 2
OUR_PREFIX: Final = "OPENPORTAL_"
UNREACHABLE: Final = (
    "connection refused", "unable to contact", "unable to connect", "problem talking to the database", "timed out",
    "zero bytes were transmitted", "connection reset", "no route to host", "network is unreachable", "munge",
    "persistent connection", "temporarily unavailable", "immediate execution impossible",
)  # fmt: skip
"""What the tools say when a daemon of Slurm, its database or munge does not answer.

The last is what -1 is called among Slurm's errors: slurmdbd gives it for a query that its database did not finish.
"""
UNITS: Final = {"": 1, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}


class Commands:
    """A Slurm whose tools run on this machine, or on another one by the prefixes of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._commands = settings.commands
        self._seconds = settings.timeout_seconds
        self._columns: tuple[str, ...] = ()
        self._changes = asyncio.Semaphore(settings.runners)
        self._reports = asyncio.Semaphore(settings.runners)
        self._accounts = Together(self._accounts_named, NAMES_PER_CALL_MAX)
        self._users = Together(self._users_named, NAMES_PER_CALL_MAX)
        self._associations = Together(self._associations_of, NAMES_PER_CALL_MAX)
        self._visible = Together(self._visible_of, NAMES_PER_CALL_MAX)
        self._additions = Together(self._add_users, NAMES_PER_CALL_MAX)

    # --- looks -------------------------------------------------------------------------------------------------------

    async def clusters(self) -> tuple[str, ...]:
        return tuple(name for (name,) in await self._show("cluster", "Cluster"))

    async def account(self, name: str) -> Account | None:
        return await self._accounts.ask(None, name)

    async def _accounts_named(self, _: None, names: Sequence[str]) -> Mapping[str, Account | None]:
        rows = await self._show("account", "Account,Org,Descr", f"name={','.join(names)}")
        found = {row[0]: _account(row) for row in rows}
        return {name: found.get(name) for name in names}

    async def accounts(self) -> tuple[Account, ...]:
        return tuple(_account(row) for row in await self._show("account", "Account,Org,Descr"))

    async def user(self, name: str) -> User | None:
        return await self._users.ask(None, name)

    async def _users_named(self, _: None, names: Sequence[str]) -> Mapping[str, User | None]:
        where = (f"name={','.join(names)}", "withassoc")
        rows = await self._show("user", "User,DefaultAccount,Cluster,Account", *where)
        by_name: defaultdict[str, list[list[str]]] = defaultdict(list)
        for row in rows:
            by_name[row[0]].append(row)
        return {name: _user(by_name[name]) for name in names}

    async def associations(self, cluster: str, account: str = "") -> tuple[Association, ...]:
        if account:
            return await self._associations.ask(cluster, account)
        return await self._associations_where(cluster)

    async def _associations_of(self, cluster: str, accounts: Sequence[str]) -> Mapping[str, tuple[Association, ...]]:
        by_account: defaultdict[str, list[Association]] = defaultdict(list)
        for one in await self._associations_where(cluster, f"account={','.join(accounts)}"):
            by_account[one.account].append(one)
        return {account: tuple(by_account[account]) for account in accounts}

    async def _associations_where(self, cluster: str, *narrowing: str) -> tuple[Association, ...]:
        where = ("where", f"cluster={cluster}", *narrowing)
        rows = await self._show("assoc", "Account,User,ParentName,GrpTRESMins", *where)
        return tuple(_association(cluster, row) for row in rows)

    async def queue(self, account: str, user: str = "") -> tuple[QueuedJob, ...]:
        output = await self._run("squeue", "--noheader", f"--account={account}", "--format=%A|%u|%a|%T|%r")
        jobs = (_queued(row) for row in _rows("squeue", output, 5))
        return tuple(job for job in jobs if user in ("", job.user))

    async def jobs(self, query: JobQuery) -> JobRecords:
        if not sacct.is_direct(self._commands["sacct"]):
            return await asyncio.to_thread(read_json, await self._run("sacct", *sacct.json_arguments(query)))
        if not self._columns:
            self._columns = sacct.columns(await self._run("sacct", sacct.LIST_COLUMNS))
        return await asyncio.to_thread(read_text, await self._run("sacct", *sacct.text_arguments(query, self._columns)))

    async def is_visible(self, user: str) -> bool:
        """Whether the scheduler's machine knows a login name; always, where nothing is set to ask."""
        return await self._visible.ask(None, user) if self._commands["getent"] else True

    async def _visible_of(self, _: None, users: Sequence[str]) -> Mapping[str, bool]:
        """Each by itself only where some are not shown: a directory may show a user by another form of the name."""
        code, output, errors = await self._finish("getent", ("passwd", "--", *users))
        if code not in (0, ABSENT_EXIT_CODE):
            raise _failure("getent", code, output + errors)
        if not code or len(users) == 1:
            return dict.fromkeys(users, not code)
        shown = {line.partition(":")[0] for line in output.splitlines()}
        return {user: user in shown or (await self._visible_of(None, (user,)))[user] for user in users}

    # --- changes -----------------------------------------------------------------------------------------------------

    async def add_account(self, cluster: str, account: Account, parent: str) -> None:
        await self._change(
            "add", "account", f"name={account.name}", f"cluster={cluster}", f"parent={parent}",
            f"organization={account.organization}", f"description={account.description}",
        )  # fmt: skip

    async def move_account(self, cluster: str, account: str, parent: str) -> None:
        await self._modify("account", cluster, account, f"parent={parent}")

    async def add_user(self, cluster: str, account: str, user: str) -> None:
        await self._additions.ask((cluster, account), user)

    async def _add_users(self, where: tuple[str, str], users: Sequence[str]) -> Mapping[str, None]:
        cluster, account = where
        names = (f"name={','.join(users)}", f"cluster={cluster}", f"account={account}", f"defaultaccount={account}")
        await self._change("add", "user", *names)
        return dict.fromkeys(users)

    async def set_default_account(self, cluster: str, user: str, account: str) -> None:
        await self._modify("user", cluster, user, f"defaultaccount={account}")

    async def set_minutes(self, cluster: str, account: str, minutes: TresMinutes) -> None:
        if not minutes:
            minutes = dict.fromkeys(await self._limited(cluster, account), CLEARED)
        limits = ",".join(f"{name}={min(MINUTES_MAX, amount)}" for name, amount in minutes.items())
        if limits:
            await self._modify("account", cluster, account, f"GrpTRESMins={limits}")

    async def cancel(self, jobs: tuple[int, ...]) -> None:
        for first in range(0, len(jobs), JOBS_PER_CALL_MAX):
            numbers = map(str, jobs[first : first + JOBS_PER_CALL_MAX])
            await self._run("scancel", "--state=PENDING", *numbers)

    async def close(self) -> None:
        """There is nothing to close: a command is over when it has ended."""

    # --- shared ------------------------------------------------------------------------------------------------------

    async def _limited(self, cluster: str, account: str) -> Iterable[str]:
        """The resources that the account itself has a limit on."""
        return [name for one in await self.associations(cluster, account) if not one.user for name in one.minutes]

    async def _show(self, what: str, fields: str, *where: str) -> list[list[str]]:
        output = await self._run("sacctmgr", "-nP", "show", what, *where, f"format={fields}")
        return _rows("sacctmgr", output, fields.count(",") + 1)

    async def _modify(self, what: str, cluster: str, name: str, value: str) -> None:
        await self._change("modify", what, "where", f"name={name}", f"cluster={cluster}", "set", value)

    async def _change(self, *arguments: str) -> None:
        await self._run("sacctmgr", "-i", *arguments)

    async def _run(self, tool: str, *arguments: str) -> str:
        """What a command prints. Raises RunError, or Unavailable when Slurm or the command does not answer."""
        code, output, errors = await self._finish(tool, arguments)
        if code:
            raise _failure(tool, code, errors + output)
        return output

    async def _finish(self, tool: str, arguments: Sequence[str]) -> tuple[int, str, str]:
        """Run a command to its end, even when we are cancelled meanwhile."""
        async with self._reports if tool == "sacct" else self._changes:
            task = asyncio.ensure_future(self._execute(tool, (*self._commands[tool], *arguments)))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait([task])
                raise

    async def _execute(self, tool: str, command: Sequence[str]) -> tuple[int, str, str]:
        pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=none, stdout=pipe, stderr=pipe, env=_environment(command), start_new_session=True
            )
        except OSError as error:
            raise RunError(f"{command[0]} cannot be started ({error.strerror}); see extras.{tool}.") from error
        try:
            async with asyncio.timeout(self._seconds):
                output, errors = await asyncio.gather(_read(process.stdout), _read(process.stderr))
                code = await process.wait()
        except TimeoutError:
            await _kill(process)
            raise Unavailable(
                f"{tool} did not finish within {self._seconds} s (slurm-timeout): is Slurm overloaded, or its database?"
            ) from None
        except _TooMuch:
            await _kill(process)
            raise RunError(f"{tool} answered more than {OUTPUT_MAX_BYTES} bytes, so its answer was left.") from None
        return code, output, errors


class _TooMuch(Exception):
    """A command prints more than we take."""


async def _read(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    parts: list[bytes] = []
    left = OUTPUT_MAX_BYTES
    while part := await stream.read(CHUNK_BYTES):
        left -= len(part)
        if left < 0:
            raise _TooMuch
        parts.append(part)
    return b"".join(parts).decode(errors="replace")


async def _kill(process: asyncio.subprocess.Process) -> None:
    """The command and all that it started: a prefix such as nsenter or docker would leave the tool itself behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    await process.wait()


def _environment(command: Sequence[str]) -> Mapping[str, str]:
    """Ours without our own settings, some of which are secret; messages in English.

    The form of times is set for text only: 22.05 makes JSON of times by way of that form, and cannot read it back.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OUR_PREFIX)}
    for name in sacct.ENVIRONMENT:
        kept.pop(name, None)
    return {**kept, **(sacct.ENVIRONMENT if "--parsable2" in command else {}), "LC_ALL": "C"}


def _failure(tool: str, code: int, text: str) -> JobError:
    """The error of a command that ended with a code other than 0."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = "; ".join(lines)[:OUTPUT_SHOWN_CHARACTERS]
    if any(sign in said.lower() for sign in UNREACHABLE):
        return Unavailable(f"{tool} does not reach Slurm: {said}")
    if not said:
        return Unavailable(f"{tool} ended with exit code {code} and gave no reason; look into the logs of Slurm.")
    return RunError(f"{tool} failed with exit code {code}: {said}")


def _rows(tool: str, output: str, fields: int) -> list[list[str]]:
    """The lines of an answer. Raises RunError for one of another shape: half an answer must not pass for one."""
    rows = [line.split("|", fields - 1) for line in output.splitlines() if line]
    for row in rows:
        if len(row) != fields:
            shown = "|".join(row)[:OUTPUT_SHOWN_CHARACTERS]
            raise RunError(f"{tool} answered what cannot be read: {shown!r} has not {fields} fields.")
    return rows


def _queued(row: Sequence[str]) -> QueuedJob:
    number, user, account, state, reason = row
    if not number.isdecimal():
        raise RunError(f"squeue answered what cannot be read: {number!r} is no number of a job.")
    return QueuedJob(int(number), user, account, state, reason)


def _user(rows: Sequence[Sequence[str]]) -> User | None:
    """A user from its lines, of which there is one for each association."""
    if not rows:
        return None
    found = tuple(Association(cluster, account, user) for user, _, cluster, account in rows if cluster)
    return User(rows[0][0], rows[0][1], found)


def _account(row: Sequence[str]) -> Account:
    name, organization, description = row
    return Account(name, description, organization)


def _association(cluster: str, row: Sequence[str]) -> Association:
    account, user, parent, minutes = row
    return Association(cluster, account, user, parent, minutes=_minutes(minutes))


def _minutes(text: str) -> TresMinutes:
    """From `cpu=1000,gres/gpu=60,mem=100000M`."""
    pairs = (item.partition("=") for item in text.split(",") if item)
    return {name: _amount(amount) for name, _, amount in pairs}


def _amount(text: str) -> int:
    unit = text[-1:] if text[-1:].isalpha() else ""
    try:
        return int(float(text.removesuffix(unit)) * UNITS[unit]) if unit else int(text)
    except (ValueError, KeyError):
        raise RunError(f"sacctmgr answered what cannot be read: {text!r} is no amount of a resource.") from None
