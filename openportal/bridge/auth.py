"""Who is calling the bridge. Every check a request must pass before anything is done for it, in this order:

    1. 429  no more than 10,000 requests in 10 s from one address
    2. 401  Authorization is there and reads `OpenPortal <64 hex digits>`; Date is there and is a date
    3. 401  Date is within 5 s of our clock
    4. 400  X-OpenPortal-Signature-Version is absent, 1 or 2
    5. 401  the signature is the one that a valid key gives
    6. 401  X-Nonce, if there is one, was not used in the last 30 s

Signatures are those of `openportal/signing.py`. Clients sign the text of their Date header, so both that text and the
same moment printed in GMT are accepted.

A request without a nonce can be repeated for as long as its Date is good. Clients that can send one should.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Protocol

from openportal.bridge.keys import KeyRing
from openportal.errors import OpenPortalError
from openportal.signing import CANONICAL, DIGEST_BYTES, SCHEME, digest, printed

WINDOW_SECONDS = 5
NONCE_MEMORY_SECONDS = 30
NONCES_MAX = 100_000
NONCE_MAX_CHARACTERS = 256
DATE_MAX_CHARACTERS = 64
RATE_WINDOW_SECONDS = 10
RATE_MAX_REQUESTS = 10_000
RATE_TABLE_ADDRESSES = 8_192
DATES_CACHED = 256


class Refusal(OpenPortalError):
    """A request that is not served; `status` is the HTTP status and the text is for the caller."""

    kind = "invalid"

    def __init__(self, status: int, message: str, *, quiet: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.quiet = quiet
        """Not worth a line in the log: there is one for the same reason already."""


class Allows(Protocol):
    """A set of addresses, such as those of the trusted proxies."""

    def allows(self, address: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What is signed, and the headers that say how; header values are None when absent."""

    method: str
    function: str
    body: bytes
    authorization: str | None
    date: str | None
    nonce: str | None
    version: str | None


@lru_cache(maxsize=DATES_CACHED)
def read_date(text: str) -> tuple[float, str] | None:
    """A Date header as (seconds since 1970, the same moment printed in GMT), or None if it is not one."""
    if len(text) > DATE_MAX_CHARACTERS:
        return None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment.timestamp(), format_datetime(moment, usegmt=True)


def client_address(peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted_proxy: Allows | None) -> str:
    """The address of the client: the TCP peer, or what a trusted proxy says about whom it speaks for."""
    if peer is None:
        raise Refusal(500, "The address of the client is unknown; the bridge must be reached over TCP.")
    peer = peer.removeprefix("::ffff:") if "." in peer else peer
    if trusted_proxy is None or not trusted_proxy.allows(peer):
        return peer
    values: dict[bytes, list[str]] = {b"x-forwarded-for": [], b"x-real-ip": []}
    for name, value in headers:
        if name in values:
            values[name].extend(value.decode("latin-1").split(","))
    for entry in reversed(values[b"x-forwarded-for"]):
        address = _address(entry)
        if address is None:
            break
        if not trusted_proxy.allows(address):
            return address
    real = values[b"x-real-ip"]
    return (_address(real[-1]) if real else None) or peer


def _address(text: str) -> str | None:
    """An IP address in its usual print, also from `1.2.3.4:5`, `[::1]` and `[::1]:5`; None if it is not one."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class RateLimit:
    """Counts requests per address in windows of fixed length; the address counted longest ago makes room."""

    def __init__(
        self,
        max_requests: int = RATE_MAX_REQUESTS,
        window_seconds: float = RATE_WINDOW_SECONDS,
        table_addresses: int = RATE_TABLE_ADDRESSES,
    ) -> None:
        self._max, self._window, self._table = max_requests, window_seconds, table_addresses
        self._windows: OrderedDict[str, list[float]] = OrderedDict()  # address -> [begin, count], ordered by begin

    def __len__(self) -> int:
        return len(self._windows)

    def excess(self, address: str, now_seconds: float) -> int:
        """Count a request; returns by how many the address is over its limit (0: it may pass)."""
        window = self._windows.get(address)
        if window is None or not 0 <= now_seconds - window[0] < self._window:
            self._windows.pop(address, None)
            if len(self._windows) >= self._table:
                self._windows.popitem(last=False)
            window = self._windows[address] = [now_seconds, 0]
        window[1] += 1
        return max(0, int(window[1]) - self._max)


class ReplayStore:
    """The nonces used lately; the oldest makes room."""

    def __init__(self, memory_seconds: float = NONCE_MEMORY_SECONDS, max_nonces: int = NONCES_MAX) -> None:
        self._memory, self._max = memory_seconds, max_nonces
        self._forget_at: OrderedDict[tuple[str, str], float] = OrderedDict()  # by the time of use

    def __len__(self) -> int:
        return len(self._forget_at)

    def use(self, key_id: str, nonce: str, now_seconds: float) -> bool:
        """Remember a nonce; False if it is remembered already."""
        self._forget(now_seconds)
        if (key_id, nonce) in self._forget_at:
            return False
        self._forget_at[key_id, nonce] = now_seconds + self._memory
        return True

    def _forget(self, now_seconds: float) -> None:
        while self._forget_at:
            oldest = next(iter(self._forget_at.values()))
            if oldest > now_seconds and len(self._forget_at) < self._max:
                return
            self._forget_at.popitem(last=False)


class Verifier:
    """Carries out the checks above; `clock` gives seconds since 1970."""

    def __init__(
        self,
        keys: KeyRing,
        clock: Callable[[], float],
        rates: RateLimit | None = None,
        replays: ReplayStore | None = None,
    ) -> None:
        self._keys, self._clock = keys, clock
        self._rates = RateLimit() if rates is None else rates
        self._replays = ReplayStore() if replays is None else replays

    def admit(self, address: str) -> None:
        """Check 1, which needs nothing of the request but where it came from."""
        excess = self._rates.excess(address, self._clock())
        if excess:
            message = f"Too many requests from {address}: at most {RATE_MAX_REQUESTS} in {RATE_WINDOW_SECONDS} s. Wait."
            raise Refusal(429, message, quiet=excess > 1)

    def verify(self, request: SignedRequest) -> str:
        """Checks 2 to 6; returns the id of the caller's key."""
        given = _read_authorization(request.authorization)
        dates = self._check_date(request.date)
        canonical = CANONICAL.get(request.version)
        if canonical is None:
            raise Refusal(400, "X-OpenPortal-Signature-Version is not known here; send 2, or 1, or leave it out.")
        try:
            body = request.body.decode()
        except UnicodeDecodeError:
            raise Refusal(400, "The body is not UTF-8 text; send JSON in UTF-8.") from None
        texts = [canonical(request.method, date, request.function, body, request.nonce) for date in dates]
        key_id = self._match(given, texts)
        self._check_nonce(key_id, request.nonce)
        return key_id

    def _check_date(self, text: str | None) -> tuple[str, ...]:
        """The texts under which this date may have been signed."""
        if not text:
            raise Refusal(401, "The Date header is missing; send the current time, such as the signature uses.")
        parsed = read_date(text)
        if parsed is None:
            raise Refusal(401, "The Date header cannot be read; it must look like 'Mon, 03 Aug 2026 12:00:00 GMT'.")
        moment, printed = parsed
        now = self._clock()
        if abs(now - moment) > WINDOW_SECONDS:
            raise Refusal(401, _clock_message(moment - now, now))
        return (text,) if printed == text else (text, printed)

    def _match(self, given: bytes, texts: list[str]) -> str:
        """The key that gives this signature; takes as long whichever it is."""
        found: str | None = None
        prints = [printed(text) for text in texts]
        for key in self._keys.all():
            for text in prints:
                if hmac.compare_digest(digest(key.key, text), given):
                    found = key.id
        if found is None:
            raise Refusal(
                401,
                "The signature belongs to no key of this bridge. Check the key in the client's file, and that "
                "X-OpenPortal-Signature-Version says how the request was signed.",
            )
        if self._keys.expired(found, self._clock()):
            raise Refusal(401, f"Key '{found}' has expired; ask the operator of the bridge for a new one.")
        return found

    def _check_nonce(self, key_id: str, nonce: str | None) -> None:
        if not nonce:
            return
        if len(nonce) > NONCE_MAX_CHARACTERS:
            raise Refusal(401, f"X-Nonce is longer than {NONCE_MAX_CHARACTERS} characters; a UUID will do.")
        if not self._replays.use(key_id, nonce, self._clock()):
            raise Refusal(401, "X-Nonce was used before; sign every request anew, with a nonce of its own.")


def _read_authorization(text: str | None) -> bytes:
    if not text:
        raise Refusal(401, "The Authorization header is missing; every function but / needs a signed request.")
    try:
        given = bytes.fromhex(text.removeprefix(SCHEME)) if text.startswith(SCHEME) else b""
    except ValueError:
        given = b""
    if len(given) != DIGEST_BYTES:
        raise Refusal(401, "The Authorization header must read 'OpenPortal <64 hex digits>'.")
    return given


def _clock_message(ahead_seconds: float, now_seconds: float) -> str:
    """`ahead_seconds` is how far the client's clock is ahead of ours; negative if behind."""
    side = "ahead of" if ahead_seconds > 0 else "behind"
    ours = format_datetime(datetime.fromtimestamp(int(now_seconds), UTC), usegmt=True)
    return (
        f"The client's clock is {math.ceil(abs(ahead_seconds))} s {side} the bridge's, which says {ours}; at most "
        f"{WINDOW_SECONDS} s is allowed. Let both machines take their time from NTP."
    )
