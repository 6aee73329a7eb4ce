"""The HTTP API of the bridge, as the published clients speak it.

    GET   /                    nothing signed; null
    GET   /health              {"status":"ok","health":{...}}, or {"status":"error"}
    GET   /get_portal          "brics"
    GET   /get_offerings       ["cluster1.brics.allocator"]
    GET   /fetch_jobs          the jobs that wait for the portal software
    POST  /run                 {"command":"<destination> <instruction>"} -> job
    POST  /status              {"job":"<id>"} -> job
    POST  /fetch_job           "<id>" -> job
    POST  /fetch_notification  "<id>" -> notification
    POST  /send_result         job -> {"status":"ok"}
    POST  /sync_offerings, /add_offerings, /remove_offerings
                               ["cluster1.brics.allocator"] -> those that were accepted
    POST  /restart             {"restart_type":"soft"|"hard","destination":"..."} -> {"status":"ok","message":"..."}
    POST  /diagnostics         {"destination":"..."} -> {"status":"ok","report":{...}}, or {"status":"error"}
    POST  /notify              {"command":"<destination> <event> [argument]"} -> {"status":"ok"}

Clients poll: /run and /status answer with the job as it is, but linger for a moment, because most jobs finish in less
time than it takes to ask again. `/status?wait=10` lingers for up to that many seconds, and so does `/run?wait=10`.
`/fetch_jobs?wait=10` lingers while no job waits.

Whatever goes wrong is answered with {"message": "<what to do about it>"} and a status that says whose turn it is: 400,
404, 405 and 413 for the request, 401 and 403 for the key, 408, 429 and 503 for later, 500 for the bridge's operator.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NoReturn, NotRequired, TypeVar
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import TypedDict

from openportal.bridge.auth import Allows, Refusal, SignedRequest, Verifier, client_address
from openportal.bridge.backend import Backend, Json, OfferingsAction
from openportal.bridge.keys import KeyRing, NotAllowed
from openportal.errors import (
    CommitFailed,
    GrammarError,
    JobError,
    OpenPortalError,
    RunError,
    TransportError,
    Unavailable,
)

BODY_MAX_BYTES = 1_048_576
BODY_READ_MAX_BYTES = 8 * BODY_MAX_BYTES  # a body that is too long is read this far: its sender then reads our answer
IN_FLIGHT_MAX_REQUESTS = 512
REQUEST_MAX_SECONDS = 30.0
RUN_LINGER_SECONDS = 0.2
STATUS_LINGER_SECONDS = 0.1
WAIT_MAX_SECONDS = 25.0
REASON_MAX_CHARACTERS = 200

log = logging.getLogger(__name__)

STATUS: tuple[tuple[type[OpenPortalError], int], ...] = (
    (NotAllowed, 403),
    (GrammarError, 400),
    (Unavailable, 503),
    (TransportError, 503),
    (CommitFailed, 503),
    (RunError, 500),
    (JobError, 400),
)
"""The first that fits counts; anything else is 500."""

HEADERS: dict[int, list[tuple[bytes, bytes]]] = {
    401: [(b"www-authenticate", b"OpenPortal")],
    408: [(b"connection", b"close")],
    413: [(b"connection", b"close")],
    429: [(b"retry-after", b"1")],
    503: [(b"retry-after", b"1")],
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one bridge takes on."""

    body_max_bytes: int = BODY_MAX_BYTES
    in_flight_max_requests: int = IN_FLIGHT_MAX_REQUESTS
    request_max_seconds: float = REQUEST_MAX_SECONDS


# --------------------------------------------------------------------------------------------------------------- bodies


def _printed_form(text: str) -> str:
    """A UUID as it is printed; any other text as it is."""
    try:
        return str(UUID(text))
    except ValueError:
        return text


Id = Annotated[str, Field(max_length=64), AfterValidator(_printed_form)]
Count = Annotated[int, Field(ge=0, lt=2**64)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class CommandBody(_Body):
    """Of /run and /notify."""

    command: str


class StatusBody(_Body):
    """Of /status."""

    job: Id


class RestartBody(_Body):
    """Of /restart."""

    restart_type: Literal["soft", "hard"]
    destination: str


class DiagnosticsBody(_Body):
    """Of /diagnostics."""

    destination: str


@with_config(ConfigDict(strict=True))
class ErrorBody(TypedDict):
    """Of a job that failed, as newer clients say it."""

    kind: str
    message: str


@with_config(ConfigDict(strict=True))
class JobBody(TypedDict):
    """Of /send_result. Other keys are dropped."""

    id: Id
    created: Count
    changed: Count
    expires: Count
    version: Count
    command: str
    state: Literal["Created", "Pending", "Running", "Complete", "Duplicate", "Error"]
    result: NotRequired[str | None]
    result_type: NotRequired[str | None]
    forwarded_for: NotRequired[str | None]
    error: NotRequired[ErrorBody | None]
    domain: NotRequired[str | None]
    domain_version: NotRequired[str | int | None]


_COMMAND = TypeAdapter(CommandBody)
_STATUS = TypeAdapter(StatusBody)
_ID: TypeAdapter[str] = TypeAdapter(Id)
_DESTINATIONS = TypeAdapter(list[str])
_RESTART = TypeAdapter(RestartBody)
_DIAGNOSTICS = TypeAdapter(DiagnosticsBody)
_JOB = TypeAdapter(JobBody)

T = TypeVar("T")


def _read(body: bytes, kind: TypeAdapter[T], example: str) -> T:
    """The body as `kind`, or a refusal that shows what was expected."""
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
    raise Refusal(400, f"The body cannot be used: {reason[:REASON_MAX_CHARACTERS]}. It must look like {example}")


# ------------------------------------------------------------------------------------------------------------ functions


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose sender is known."""

    key_id: str
    body: bytes
    query: bytes


Handler = Callable[[Call], Awaitable[object]]


class Api:
    """The functions of the API. Each takes a `Call` and returns what is printed as JSON."""

    def __init__(self, backend: Backend, keys: KeyRing) -> None:
        self._backend, self._keys = backend, keys

    def functions(self) -> Mapping[str, tuple[str, Handler]]:
        """Name -> (method, handler)."""
        return {
            "health": ("GET", self.health),
            "get_portal": ("GET", self.get_portal),
            "get_offerings": ("GET", self.get_offerings),
            "fetch_jobs": ("GET", self.fetch_jobs),
            "run": ("POST", self.run),
            "status": ("POST", self.status),
            "fetch_job": ("POST", self.fetch_job),
            "fetch_notification": ("POST", self.fetch_notification),
            "send_result": ("POST", self.send_result),
            "sync_offerings": ("POST", self.sync_offerings),
            "add_offerings": ("POST", self.add_offerings),
            "remove_offerings": ("POST", self.remove_offerings),
            "restart": ("POST", self.restart),
            "diagnostics": ("POST", self.diagnostics),
            "notify": ("POST", self.notify),
        }

    async def health(self, call: Call) -> object:
        health = await self._backend.health()
        return {"status": "error"} if health is None else {"status": "ok", "health": health}

    async def get_portal(self, call: Call) -> object:
        portal = self._backend.portal()
        if portal is None:
            raise Refusal(503, "No portal is connected to this bridge now; try again later.")
        return portal

    async def get_offerings(self, call: Call) -> object:
        return await self._backend.offerings("get", [])

    async def fetch_jobs(self, call: Call) -> object:
        self._keys.may_call(call.key_id, "fetch_jobs")
        jobs = await self._backend.unfinished(_wait_seconds(call.query, 0.0))
        return [_for_the_outside(job) for job in jobs]

    async def run(self, call: Call) -> object:
        command = _read(call.body, _COMMAND, '{"command":"brics.aip1 get_users demo.brics"}').command
        self._keys.may_run(call.key_id, command)
        wait_seconds = _wait_seconds(call.query, RUN_LINGER_SECONDS)
        id = await self._backend.run(command, call.key_id)
        return await self._job(id, wait_seconds)

    async def status(self, call: Call) -> object:
        id = _read(call.body, _STATUS, '{"job":"<id of a job>"}').job
        return await self._job(id, _wait_seconds(call.query, STATUS_LINGER_SECONDS))

    async def fetch_job(self, call: Call) -> object:
        self._keys.may_call(call.key_id, "fetch_job")
        id = _read(call.body, _ID, '"<id of a job>"')
        return _for_the_outside(await self._backend.fetch_job(id) or _unknown("job", id))

    async def fetch_notification(self, call: Call) -> object:
        self._keys.may_call(call.key_id, "fetch_notification")
        id = _read(call.body, _ID, '"<id of a notification>"')
        return self._backend.fetch_notification(id) or _unknown("notification", id)

    async def send_result(self, call: Call) -> object:
        self._keys.may_call(call.key_id, "send_result")
        job = _read(
            call.body, _JOB, "the job that /fetch_job gave, with another result, result_type, state and version"
        )
        await self._backend.send_result(dict(job))
        return {"status": "ok"}

    async def sync_offerings(self, call: Call) -> object:
        return await self._offerings(call, "sync")

    async def add_offerings(self, call: Call) -> object:
        return await self._offerings(call, "add")

    async def remove_offerings(self, call: Call) -> object:
        return await self._offerings(call, "remove")

    async def restart(self, call: Call) -> object:
        body = _read(call.body, _RESTART, '{"destination":"brics.aip1","restart_type":"soft"}, or "hard"')
        self._keys.may_call(call.key_id, "restart", [body.destination])
        return {"status": "ok", "message": await self._backend.restart(body.restart_type, body.destination)}

    async def diagnostics(self, call: Call) -> object:
        destination = _read(call.body, _DIAGNOSTICS, '{"destination":"brics.aip1"}').destination
        self._keys.may_call(call.key_id, "diagnostics", [destination])
        report = await self._backend.diagnostics(destination)
        return {"status": "error"} if report is None else {"status": "ok", "report": report}

    async def notify(self, call: Call) -> object:
        command = _read(call.body, _COMMAND, '{"command":"brics.aip1 user_added alice.demo.brics"}').command
        self._keys.may_call(call.key_id, "notify", command.split(None, 1)[:1] or [""])
        await self._backend.notify(command)
        return {"status": "ok"}

    async def _offerings(self, call: Call, action: OfferingsAction) -> object:
        destinations = _read(call.body, _DESTINATIONS, '["cluster1.brics.allocator"]')
        self._keys.may_call(call.key_id, f"{action}_offerings", destinations)
        return await self._backend.offerings(action, destinations)

    async def _job(self, id: str, wait_seconds: float) -> Json:
        return _for_the_outside(await self._backend.job(id, wait_seconds) or _unknown("job", id))


def _unknown(what: str, id: str) -> NoReturn:
    raise Refusal(404, f"There is no {what} '{id[:64]}' here; it may have been removed since it finished.")


def _for_the_outside(job: Json) -> Json:
    """Which agent failed is no business of a caller."""
    error = job.get("error")
    if not isinstance(error, dict) or "origin" not in error:
        return job
    return {**job, "error": {name: value for name, value in error.items() if name != "origin"}}


def _wait_seconds(query: bytes, least_seconds: float) -> float:
    """What the query asks for; `least_seconds` is what is waited in any case."""
    if b"wait=" not in query:
        return least_seconds
    text = parse_qs(query.decode("latin-1")).get("wait", ["0"])[-1]
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= WAIT_MAX_SECONDS:
        raise Refusal(400, f"wait must be a number of seconds from 0 to {WAIT_MAX_SECONDS:g}.")
    return max(seconds, least_seconds)


# ------------------------------------------------------------------------------------------------------------- requests


class Endpoint:
    """One function as an ASGI app: lets the address in, reads the body, checks the signature, calls, answers."""

    def __init__(
        self,
        name: str,
        method: str,
        handler: Handler,
        verifier: Verifier,
        trusted_proxy: Allows | None,
        body_max_bytes: int,
    ) -> None:
        self._name, self._method, self._handler = name, method, handler
        self._verifier, self._trusted_proxy = verifier, trusted_proxy
        self._body_max_bytes = body_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope["client"]
        address = client_address(client[0] if client else None, scope["headers"], self._trusted_proxy)
        scope["client_address"] = address
        self._verifier.admit(address)
        if scope["method"] != self._method:
            raise Refusal(405, f"/{self._name} must be called with {self._method}.")
        body = await _read_body(receive, self._body_max_bytes)
        key_id = self._verifier.verify(self._signed(scope, body))
        result = await self._handler(Call(key_id, body, scope["query_string"]))
        await _answer(send, 200, msgspec.json.encode(result))

    def _signed(self, scope: Scope, body: bytes) -> SignedRequest:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        return SignedRequest(
            method=self._method.lower(),
            function=self._name,
            body=body,
            authorization=headers.get(b"authorization"),
            date=headers.get(b"date"),
            nonce=headers.get(b"x-nonce"),
            version=headers.get(b"x-openportal-signature-version"),
        )


class Guard:
    """Around everything: how many at a time, how long each, and that every failure is answered with a sentence."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_flight >= self._limits.in_flight_max_requests:
            await _refuse(scope, send, 503, "The bridge is answering as many requests as it can; try again later.")
            return
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._limits.request_max_seconds) as deadline:
                await self._app(scope, receive, send)
        except Refusal as refusal:
            await _refuse(scope, send, refusal.status, str(refusal), quiet=refusal.quiet)
        except OpenPortalError as error:
            await _refuse(scope, send, _status_of(error), str(error))
        except Exception as error:
            await self._failed(scope, send, error, late=isinstance(error, TimeoutError) and deadline.expired())
        finally:
            self._in_flight -= 1

    async def _failed(self, scope: Scope, send: Send, error: Exception, *, late: bool) -> None:
        if late:
            seconds = self._limits.request_max_seconds
            await _refuse(scope, send, 408, f"It took longer than {seconds:g} s; see with /status what became of it.")
            return
        reference = uuid4().hex[:12]
        log.error("request failed, reference %s", reference, exc_info=error)
        message = f"The bridge failed at this request. Its operator finds the reason in the log under {reference}."
        await _refuse(scope, send, 500, message)


def _status_of(error: OpenPortalError) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


async def _read_body(receive: Receive, max_bytes: int) -> bytes:
    """The whole body. One that is too long is read to its end, within reason, but not kept."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The connection ended before the request did.")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= max_bytes:
            parts.append(part)
        elif size > BODY_READ_MAX_BYTES:
            break
    if size > max_bytes:
        raise Refusal(413, f"The body is longer than {max_bytes} bytes; split the request.")
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += HEADERS.get(status, ())
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(scope: Scope, send: Send, status: int, message: str, *, quiet: bool = False) -> None:
    if not quiet:
        address = scope.get("client_address") or (scope.get("client") or ["an unknown address"])[0]
        what, path = scope["method"], scope["path"][:REASON_MAX_CHARACTERS]
        # what callers sent is in the path and may be in the message: no line of the log may be of their making
        log.warning("%s %r from %s refused with %d: %r", what, path, address, status, message[:REASON_MAX_CHARACTERS])
    await _answer(send, status, msgspec.json.encode({"message": message}))


class Alive:
    """`/`, for those who only want to know whether something listens."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "/ must be called with GET.")
        await _answer(send, 200, b"null")


async def _no_such_function(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: only that of a path which is no function."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    raise Refusal(
        status, f"There is no function {request.url.path[:64]!r} here; the documentation lists those there are."
    )


def bridge_app(
    backend: Backend,
    verifier: Verifier,
    keys: KeyRing,
    trusted_proxy: Allows | None = None,
    limits: Limits | None = None,
) -> Starlette:
    """The app; `verifier` and `keys` must be about the same keys."""
    limits = limits or Limits()
    routes = [Route("/", Alive())]
    for name, (method, handler) in Api(backend, keys).functions().items():
        endpoint = Endpoint(name, method, handler, verifier, trusted_proxy, limits.body_max_bytes)
        routes.append(Route(f"/{name}", endpoint))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, limits=limits)],
        exception_handlers={HTTPException: _no_such_function},
    )
    app.router.redirect_slashes = False
    return app
