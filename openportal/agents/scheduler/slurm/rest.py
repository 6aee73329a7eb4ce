"""Slurm by slurmrestd, over TCP or a unix socket.

    slurm-server = http://ctl:6820          slurm-server = unix:/run/slurmrestd/socket

Which API versions a slurmrestd serves depends on how it was built and started, and what it says about itself has
changed in form with most releases, so each of VERSIONS is tried, the newest first, until one is there. It is looked
for again when it is gone: slurmrestd was upgraded.

    looks, records, cancelling    every version
    changes                       v0.0.40 and later (Slurm 23.11)

A change of an association drops every limit by resource that is not sent with it, so they are read first and sent
back as they are. An administrator who changes one in between loses that.

Before v0.0.40 slurmrestd makes accounts without a parent and users without a QOS, does not change limits, and says
that all went well. There the commands are used for changes, if we have them; otherwise a change is refused.

A token that is refused is exchanged once. A call that found slurmrestd but no answer in time may have done its work:
who called looks again. No more than so many calls run at a time; users that are put into one account at the same time
are one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import httpx

from openportal.agents.scheduler.slurm import rest_answers
from openportal.agents.scheduler.slurm.records import JobRecords, read_json
from openportal.agents.scheduler.slurm.rest_answers import Verdict, judge
from openportal.agents.scheduler.slurm.together import NAMES_PER_CALL_MAX, Together
from openportal.agents.scheduler.slurm.token import Tokens
from openportal.agents.scheduler.slurm.transport import (
    Account,
    Association,
    JobQuery,
    QueuedJob,
    Slurm,
    TresMinutes,
    User,
)
from openportal.errors import ConfigError, RunError, Unavailable, Unsupported

VERSIONS: Final = (43, 42, 41, 40, 39, 38)
"""The API versions v0.0.N."""
CHANGES_SINCE: Final = 40
ANSWER_MAX_BYTES: Final = 256 * 1024 * 1024
JOBS_PER_CALL_MAX: Final = 500
UNIX: Final = "unix:"
UNIX_HOST: Final = "http://slurmrestd"
PENDING: Final = "PENDING"
OVER: Final = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
     "TIMEOUT"}
)  # fmt: skip

Parameters = Mapping[str, str | int]


def client_of(server: str, user: str) -> httpx.AsyncClient:
    """A client of the setting slurm-server. Raises ConfigError."""
    headers = {"X-SLURM-USER-NAME": user, "Accept": "application/json"}
    if server.startswith(UNIX):
        path = "/" + server.removeprefix(UNIX).lstrip("/")
        transport = httpx.AsyncHTTPTransport(uds=path)
        return httpx.AsyncClient(base_url=UNIX_HOST, headers=headers, transport=transport, timeout=None)
    if not server.startswith(("http://", "https://")):
        raise ConfigError(f"slurm-server is such as http://ctl:6820 or unix:/run/slurmrestd/socket, not {server!r}.")
    return httpx.AsyncClient(base_url=server.rstrip("/"), headers=headers, timeout=None, trust_env=False)


class Rest:
    """A Slurm behind slurmrestd. `commands` is the way for what its version cannot do; None if there is none."""

    def __init__(
        self, client: httpx.AsyncClient, tokens: Tokens, seconds: float, runners: int, commands: Slurm | None = None
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._seconds = seconds
        self._slots = asyncio.Semaphore(runners)
        self._commands = commands
        self._found = 0
        self._finding = asyncio.Lock()
        self._additions = Together(self._add_users, NAMES_PER_CALL_MAX)

    async def close(self) -> None:
        await self._client.aclose()

    async def api(self) -> int:
        """The N of the API version in use. Raises RunError if slurmrestd serves none that we know."""
        async with self._finding:
            if not self._found:
                self._found = await self._find_version()
            return self._found

    # --- looks -------------------------------------------------------------------------------------------------------

    async def clusters(self) -> tuple[str, ...]:
        return rest_answers.clusters(await self._get("slurmdb", "clusters"))

    async def account(self, name: str) -> Account | None:
        found = rest_answers.accounts(await self._get("slurmdb", f"account/{quote(name, safe='')}"))
        return found[0] if found else None

    async def accounts(self) -> tuple[Account, ...]:
        return rest_answers.accounts(await self._get("slurmdb", "accounts"))

    async def user(self, name: str) -> User | None:
        """Its default account is that of its associations: what a user itself says of it differs by version."""
        found = rest_answers.users(await self._get("slurmdb", f"user/{quote(name, safe='')}"))
        if not found:
            return None
        its = rest_answers.associations(await self._get("slurmdb", "associations", {"user": name}))
        return User(found[0], next((one.account for one in its if one.is_default), ""), its)

    async def associations(self, cluster: str, account: str = "") -> tuple[Association, ...]:
        wanted = {"cluster": cluster, **({"account": account} if account else {})}
        return rest_answers.associations(await self._get("slurmdb", "associations", wanted))

    async def queue(self, account: str, user: str = "") -> tuple[QueuedJob, ...]:
        held = rest_answers.queue(await self._get("slurm", "jobs"))
        return tuple(job for job in held if job.account == account and user in ("", job.user) and job.state not in OVER)

    async def jobs(self, query: JobQuery) -> JobRecords:
        wanted: dict[str, str | int] = {
            "start_time": f"uts{query.window.start}",  # every version understands it; 22.05 nothing shorter
            "end_time": f"uts{query.window.end}",
            "cluster": query.cluster,
            "skip_steps": "true",
        }
        if await self.api() >= CHANGES_SINCE:
            wanted["show_duplicates"] = "true"  # the default, but not once skip_steps is given; unknown before
        wanted |= {"account": ",".join(query.accounts)} if query.accounts else {}
        wanted |= {"partition": query.partition} if query.partition else {}
        content = await self._get("slurmdb", "jobs", wanted)
        return await asyncio.to_thread(read_json, content) if content else JobRecords()

    # --- changes -----------------------------------------------------------------------------------------------------

    async def add_account(self, cluster: str, account: Account, parent: str) -> None:
        if (other := await self._other_way()) is not None:
            return await other.add_account(cluster, account, parent)
        condition = {"accounts": [account.name], "clusters": [cluster], "association": {"parent": parent}}
        about = {"description": account.description, "organization": account.organization}
        return await self._post("accounts_association", {"association_condition": condition, "account": about})

    async def move_account(self, cluster: str, account: str, parent: str) -> None:
        if (other := await self._other_way()) is not None:
            return await other.move_account(cluster, account, parent)
        return await self._associate(cluster, account, "", {"parent_account": parent})

    async def add_user(self, cluster: str, account: str, user: str) -> None:
        if (other := await self._other_way()) is not None:
            return await other.add_user(cluster, account, user)
        return await self._additions.ask((cluster, account), user)

    async def _add_users(self, where: tuple[str, str], users: Sequence[str]) -> Mapping[str, None]:
        cluster, account = where
        condition = {"accounts": [account], "users": list(users), "clusters": [cluster], "association": {}}
        about = {"defaultaccount": account}
        await self._post("users_association", {"association_condition": condition, "user": about})
        return dict.fromkeys(users)

    async def set_default_account(self, cluster: str, user: str, account: str) -> None:
        if (other := await self._other_way()) is not None:
            return await other.set_default_account(cluster, user, account)
        return await self._associate(cluster, account, user, {"is_default": True})

    async def set_minutes(self, cluster: str, account: str, minutes: TresMinutes) -> None:
        if (other := await self._other_way()) is not None:
            return await other.set_minutes(cluster, account, minutes)
        return await self._associate(cluster, account, "", {}, minutes)

    async def cancel(self, jobs: tuple[int, ...]) -> None:
        if await self.api() < CHANGES_SINCE:
            return await self._cancel_one_by_one(jobs)
        for first in range(0, len(jobs), JOBS_PER_CALL_MAX):
            numbers = list(map(str, jobs[first : first + JOBS_PER_CALL_MAX]))
            content = await self._call("DELETE", "slurm", "jobs/", body={"jobs": numbers, "job_state": [PENDING]})
            if wrong := rest_answers.not_cancelled(content):
                raise RunError(f"slurmrestd did not cancel every job: {'; '.join(wrong)}")
        return None

    async def _cancel_one_by_one(self, jobs: Sequence[int]) -> None:
        """For versions that cannot be told to spare what runs: only what waits at this moment."""
        held = rest_answers.queue(await self._get("slurm", "jobs"))
        waiting = {job.job_id for job in held if job.state == PENDING}
        for number in jobs:
            if number in waiting:
                await self._call("DELETE", "slurm", f"job/{number}")

    # --- shared ------------------------------------------------------------------------------------------------------

    async def _other_way(self) -> Slurm | None:
        """None if this version makes changes; the commands if it does not. Raises Unsupported without them."""
        if await self.api() >= CHANGES_SINCE:
            return None
        if self._commands is None:
            raise Unsupported(
                f"slurmrestd with v0.0.{self._found} cannot make accounts, users or limits: leave slurm-server out, so "
                f"that sacctmgr is used, or upgrade to Slurm 23.11 or later (v0.0.{CHANGES_SINCE})."
            )
        return self._commands

    async def _associate(
        self, cluster: str, account: str, user: str, change: Mapping[str, Any], minutes: TresMinutes | None = None
    ) -> None:
        """Change an association that is there, and send its limits with it."""
        found = await self._get("slurmdb", "associations", {"cluster": cluster, "account": account})
        limits = rest_answers.limits(found, user)
        if limits is None:
            raise RunError(f"{user or 'account'} {account} is not on cluster {cluster}, so it cannot be changed there.")
        if minutes is not None:
            limits = rest_answers.with_minutes(limits, minutes)
        its = {"cluster": cluster, "account": account, "user": user, "max": {"tres": limits}, **change}
        await self._post("associations", {"associations": [its]})

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        await self._call("POST", "slurmdb", path, body=body)

    async def _get(self, api: str, path: str, parameters: Parameters | None = None) -> bytes:
        return await self._call("GET", api, path, parameters)

    async def _call(
        self, method: str, api: str, path: str, parameters: Parameters | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:  # fmt: skip
        """The answer, empty if there is nothing. What a new token or another version helps against is tried again."""
        for is_last in (False, True):
            url = f"/{api}/v0.0.{await self.api()}/{path}"
            token = await self._tokens.current()
            verdict, content = await self._ask(method, url, token, parameters, body, is_last)
            if verdict is Verdict.FINE:
                return content
            if verdict is Verdict.NOTHING:
                return b""
            if verdict is Verdict.TOKEN:
                self._tokens.refused(token)
            else:
                self._found = 0
        raise AssertionError("the last try ends with an answer or an error")

    async def _ask(
        self, method: str, url: str, token: str, parameters: Parameters | None, body: Any, is_last: bool
    ) -> tuple[Verdict, bytes]:
        """One try. Raises JobError for what another try does not help against, or on the last one."""
        status, content = await self._send(method, url, token, parameters, body)
        verdict, said = judge(status, content)
        match verdict:
            case Verdict.DOWN:
                raise Unavailable(f"slurmrestd does not reach Slurm: {said}")
            case Verdict.REFUSED:
                raise RunError(f"slurmrestd refuses {method} {url}: {said}")
            case Verdict.TOKEN if is_last:
                raise Unavailable(
                    f"slurmrestd refuses our token, and a new one too ({said}): check slurm-user, token-command or "
                    "token-key, and that the clocks agree."
                )
            case Verdict.VERSION if is_last:
                raise RunError(f"slurmrestd has no {url}: {said}")
        return verdict, content

    async def _find_version(self) -> int:
        for number in VERSIONS:
            token = await self._tokens.current()
            status, content = await self._send("GET", f"/slurm/v0.0.{number}/ping", token, None, None)
            if judge(status, content)[0] is not Verdict.VERSION:
                return number
        raise RunError(
            f"{self._client.base_url} serves none of v0.0.{VERSIONS[-1]} to v0.0.{VERSIONS[0]}: is it slurmrestd, and "
            "which data_parser plugins does it have (slurmrestd -d list)?"
        )

    async def _send(
        self, method: str, url: str, token: str, parameters: Parameters | None, body: Any
    ) -> tuple[int, bytes]:
        """Status and content. Raises Unavailable if there is no answer, RunError if it is too large."""
        headers = {"X-SLURM-USER-TOKEN": token}
        async with self._slots:
            try:
                async with asyncio.timeout(self._seconds):
                    request = self._client.stream(method, url, params=parameters, json=body, headers=headers)
                    async with request as answer:
                        return answer.status_code, await _content(answer)
            except TimeoutError as error:
                raise Unavailable(f"slurmrestd did not answer {method} {url} in {self._seconds:g} s.") from error
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                raise Unavailable(f"slurmrestd cannot be reached at {self._client.base_url}: {reason}") from error


async def _content(answer: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > ANSWER_MAX_BYTES:
            raise RunError(f"slurmrestd's answer is larger than {ANSWER_MAX_BYTES} bytes: ask for less at a time.")
        parts.append(part)
    return b"".join(parts)
