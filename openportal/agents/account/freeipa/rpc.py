"""A session with one FreeIPA server, over its JSON-RPC.

    POST /ipa/session/login_password   user, password        200 and a cookie, or 401 and X-IPA-Rejection-Reason
    POST /ipa/session/json             the call, the cookie  200 and the answer; 401 when the session has ended

Every request has the server's own address as Referer, or it is refused. The cookie goes back as it came: its value
holds %-escapes that are part of it. A session that ended is opened again once and the call repeated: it did not get
past the door. There is no logging out: `session_logout` asks a browser to forget its cookie, and the server takes it
until it expires. An expired password is reported and not changed; a refused login is not tried again for a while, as a
few wrong passwords lock the account. A call may take 20 s, a batch a second more for each further call.

`python-freeipa` and `ipalib` speak this protocol too, but with blocking sockets; the first has no `batch` and raises
most errors as one, the second needs a Kerberos ticket and the server's whole schema. What is needed fits in this file.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from openportal.agents.account.freeipa.calls import (
    Answer,
    Call,
    IpaDown,
    IpaLogin,
    IpaRefusal,
    IpaUntrusted,
    answers_of,
    envelope,
    result_of,
)
from openportal.errors import ConfigError, JobError

CALL_SECONDS = 20.0
FURTHER_CALL_SECONDS = 1.0
CONNECT_SECONDS = 5.0
LOGIN_BACKOFF_SECONDS = 20.0
ANSWER_MAX_BYTES = 64 * 1024 * 1024
REASON_HEADER = "X-IPA-Rejection-Reason"
REVOKED = "revoked"
UNKNOWN = "not found in Kerberos database"


@dataclass(frozen=True, slots=True)
class Page:
    """What a server sent back."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


@dataclass(frozen=True)
class Credentials:
    """Who this agent is to FreeIPA."""

    user: str
    password: str = field(repr=False)


def trust(ca_file: str | None, insecure: bool) -> ssl.SSLContext:
    """Which certificates to believe: the site's CA beside the system's (or SSL_CERT_FILE's), or any at all."""
    context = ssl.create_default_context()
    try:
        if os.environ.get("SSL_CERT_FILE"):
            context.load_verify_locations(os.environ["SSL_CERT_FILE"])
        if ca_file:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"freeipa-ca-file or SSL_CERT_FILE cannot be read as certificates: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Session:
    """Calls to one server, one login for all of them."""

    def __init__(
        self, server: str, who: Credentials, context: ssl.SSLContext, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.server = server
        self.requests = 0
        self._who = who
        self._clock = clock
        self._base = f"https://{server}/ipa"
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)  # for the rest of a request there is a limit in `_post`
        self._http = httpx.AsyncClient(
            verify=context, timeout=timeout, headers={"Referer": self._base}, trust_env=False
        )
        self._cookie: str | None = None
        self._opening = asyncio.Lock()
        self._refused: tuple[float, IpaLogin] | None = None

    async def call(self, call: Call) -> dict[str, Any]:
        """The result of one call. Raises JobError."""
        return result_of(call, (await self.send([call]))[0])

    async def send(self, calls: Sequence[Call]) -> list[Answer]:
        """The answer to each call, in one request; the server goes on after one that fails. Raises JobError."""
        further = sum(max(1, len(call.members)) for call in calls) - 1
        return answers_of(calls, await self._ask(envelope(calls), CALL_SECONDS + further * FURTHER_CALL_SECONDS))

    async def close(self) -> None:
        await self._http.aclose()

    # --- the door ----------------------------------------------------------------------------------------------------

    async def _ask(self, body: dict[str, Any], seconds: float = CALL_SECONDS) -> dict[str, Any]:
        cookie = self._cookie or await self._open(None)
        response = await self._post("json", cookie, seconds, json=body)
        if response.status == httpx.codes.UNAUTHORIZED:
            response = await self._post("json", await self._open(cookie), seconds, json=body)
        return self._read(response)

    async def _open(self, stale: str | None) -> str:
        """Log in, unless another call has done so since `stale` was good. Raises IpaLogin, IpaDown, IpaUntrusted."""
        async with self._opening:
            if self._cookie is not None and self._cookie != stale:
                return self._cookie
            self._cookie = None
            if self._refused is not None and self._clock() < self._refused[0]:
                raise self._refused[1]
            response = await self._post(
                "login_password", None, CALL_SECONDS, data={"user": self._who.user, "password": self._who.password}
            )
            self._cookie = self._cookie_of(response)
            self._refused = None
            return self._cookie

    def _cookie_of(self, response: Page) -> str:
        if response.status == httpx.codes.UNAUTHORIZED:
            refused = IpaLogin(f"{self.server} refuses the login of {self._who.user}: {_reason(response)}")
            self._refused = (self._clock() + LOGIN_BACKOFF_SECONDS, refused)
            raise refused
        self._check(response)
        cookie = response.headers.get("set-cookie", "").partition(";")[0]
        if not cookie.startswith("ipa_session="):
            raise IpaDown(f"{self.server} accepted a login and gave no session: is it a FreeIPA server?")
        return str(cookie)

    async def _post(self, path: str, cookie: str | None, seconds: float, **body: Any) -> Page:
        self.requests += 1
        headers = {"Cookie": cookie} if cookie else {}
        try:
            async with asyncio.timeout(seconds):
                return await self._fetch(f"{self._base}/session/{path}", headers, body)
        except httpx.ConnectError as error:
            raise self._unreached(error) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise IpaDown(f"{self.server} did not answer within {seconds:.0f} s.") from error
        except httpx.HTTPError as error:
            raise IpaDown(f"{self.server} closed the connection without an answer: {error}") from error
        finally:
            self._http.cookies.clear()

    async def _fetch(self, url: str, headers: dict[str, str], body: dict[str, Any]) -> Page:
        """The whole answer, unless it is too long."""
        parts, size = [], 0
        async with self._http.stream("POST", url, headers=headers, **body) as response:
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > ANSWER_MAX_BYTES:
                    raise IpaRefusal(f"{self.server} gives an answer of more than {ANSWER_MAX_BYTES} bytes.")
        return Page(response.status_code, response.headers, b"".join(parts))

    def _unreached(self, error: httpx.ConnectError) -> JobError:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return IpaUntrusted(
                f"The certificate of {self.server} is not trusted ({error}); "
                "give the site's CA as extras.freeipa-ca-file or in SSL_CERT_FILE."
            )
        return IpaDown(f"{self.server} cannot be reached: {error}", refused=True)

    def _check(self, response: Page) -> None:
        """Raise unless the answer is 200."""
        code = response.status
        if code == httpx.codes.BAD_REQUEST:
            raise IpaRefusal(f"{self.server} says that our address for it is not its own: name it in full.")
        if code != httpx.codes.OK:
            raise IpaDown(f"{self.server} answers {code}: its directory, its KDC or a part of its API is down.")

    def _read(self, response: Page) -> dict[str, Any]:
        if response.status == httpx.codes.UNAUTHORIZED:
            raise IpaLogin(f"{self.server} gave a session and does not accept it; is its clock right?")
        self._check(response)
        try:
            answer = json.loads(response.body)
        except ValueError as error:
            raise IpaDown(f"{self.server} answers what is not JSON: is it a FreeIPA server?") from error
        if not isinstance(answer, dict) or not {"result", "error"} <= answer.keys():
            raise IpaDown(f"{self.server} answers what is no result of a call: is it a FreeIPA server?")
        return answer


def _reason(response: Page) -> str:
    """Why a login was refused and what to do, from the header and, where that says too little, from the page."""
    if response.headers.get(REASON_HEADER) == "password-expired":
        return "the password has expired. Change it (`kinit` or `ipa passwd`), then store it with the secret command."
    if REVOKED in response.text:
        return "the account is disabled or locked (`ipa user-status`, `ipa user-unlock`, `ipa user-enable`)."
    if UNKNOWN in response.text:
        return "there is no such user; see extras.freeipa-user."
    return "the password is wrong; store it again with the secret command."
