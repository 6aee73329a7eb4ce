"""One call of a bridge's function, without I/O: what is sent, and what the answer means.

POST /run?openportal-version=0.1 HTTP/1.1         the headers of `openportal/signing.py`, and a body of compact JSON
HTTP/1.1 200 OK                                   the answer is JSON

429    asked too often: again after 100, 200, 400, 800 and 1600 ms, signed anew each time
401    who knows version 1 only says this too; the error tells so where a bridge does not say why
other  the error carries the `message` of the bridge
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from openportal.client.config import Config
from openportal.client.errors import BridgeError
from openportal.signing import CONTENT_TYPE, signed_headers

TIMEOUT_SECONDS: Final = 30.0
RETRY_AFTER_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
ANSWER_MAX_BYTES: Final = 256 * 1024 * 1024
REASON_MAX_CHARACTERS: Final = 500
QUERY: Final = "openportal-version=0.1"
TOO_MANY_REQUESTS: Final = 429
UNAUTHORISED: Final = 401

_OLD_BRIDGE: Final = (
    "the bridge did not accept the signature and does not say why. Check the key in the config file and the clock of"
    " this machine. A bridge older than release 0.90 knows only the first version of signatures, which this client does"
    " not send: it has to be brought up to date"
)


@dataclass(frozen=True, slots=True)
class Request:
    """One function and what is asked of it; without a body it is a GET. `query` is added to the usual one."""

    function: str
    body: str = ""
    query: str = ""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def target(self, config: Config) -> str:
        extra = f"&{self.query}" if self.query else ""
        return f"{config.path_of(self.function)}?{QUERY}{extra}"

    def headers(self, config: Config) -> dict[str, str]:
        """Signed now, with a nonce of its own."""
        from email.utils import formatdate  # with the first request, as all of HTTP: see `client._connections`

        date, nonce = formatdate(usegmt=True), str(uuid4())
        signed = signed_headers(config.key, self.method.lower(), self.function, self.body, date, nonce)
        return {"accept": CONTENT_TYPE, **({"content-type": CONTENT_TYPE} if self.body else {}), **signed}


def asking(function: str, body: Any = None, query: str = "") -> Request:
    """A request; a body is written as the published client does it."""
    if body is None:
        return Request(function, "", query)
    return Request(function, json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True), query)


def answer(request: Request, status: int, body: bytes) -> bytes:
    """The JSON of an answer. Raises BridgeError, with the bridge's sentence, if it is a refusal."""
    if not 200 <= status < 300:
        raise BridgeError(f"/{request.function} was refused (Status: {status}): {_reason(status, body)}", status)
    return body


def value_of(request: Request, body: bytes) -> Any:
    """The value of the JSON of an answer."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BridgeError(f"/{request.function}: the answer is not JSON: {error}") from error


def _reason(status: int, body: bytes) -> str:
    try:
        message = json.loads(body)["message"]
        if isinstance(message, str) and message:
            return message[:REASON_MAX_CHARACTERS]
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    if status == UNAUTHORISED:
        return _OLD_BRIDGE
    return body.decode("utf-8", "replace").strip()[:REASON_MAX_CHARACTERS] or "the bridge gives no reason"
