"""The client keys of a bridge: who is calling, and what that caller may do.

Each client has a key of its own with an id. Several keys are valid at the same time, so a key is rotated by adding the
new one, moving the client over, and removing the old one (or by letting it expire).

    verbs          None: everything. Otherwise the instructions that /run takes from this key, and by their own name the
                   functions other than those everybody may call: ("get_users", "restart").
    destinations   None: everywhere. Otherwise prefixes of destinations; "brics.aip1" allows "brics.aip1" and everything
                   below it. Such a key is not for portal software: it may not fetch or answer jobs.
    expires        from then on the key is refused, and its holder is told so
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from openportal.errors import ConfigError, OpenPortalError

KEY_BYTES = 32
KEYS_MAX = 64  # every request is checked against every key

FOR_EVERYBODY = frozenset({"health", "get_portal", "get_offerings", "run", "status"})
FOR_PORTAL_SOFTWARE = frozenset({"fetch_jobs", "fetch_job", "fetch_notification", "send_result"})
WRAPPER = "submit"


class BridgeKey(Protocol):
    """One client key, as the configuration holds it."""

    @property
    def id(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def verbs(self) -> tuple[str, ...] | None: ...
    @property
    def destinations(self) -> tuple[str, ...] | None: ...
    @property
    def expires(self) -> datetime | None: ...


class NotAllowed(OpenPortalError):
    """The caller is known and may not do this; the message names the key and what it may do."""

    kind = "invalid"


class KeyRing:
    """The keys of one bridge. Prints only ids."""

    def __init__(self, keys: Iterable[BridgeKey]) -> None:
        self._keys = {key.id: key for key in _checked(list(keys))}
        self._expiry = {key.id: _timestamp(key.expires) for key in self._keys.values()}

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    def all(self) -> Iterable[BridgeKey]:
        """Every key, also those that have expired."""
        return self._keys.values()

    def expired(self, key_id: str, now_seconds: float) -> bool:
        """Whether the key was valid once and is not any more."""
        expiry = self._expiry[key_id]
        return expiry is not None and now_seconds >= expiry

    def may_run(self, key_id: str, command: str) -> None:
        """Refuse a command outside the key's verbs or destinations; what `submit` wraps counts as well."""
        key = self._key(key_id)
        if key.verbs is None and key.destinations is None:
            return
        destination, verb, rest = _split(command)
        _check_destination(key, destination)
        if verb == WRAPPER:
            self.may_run(key_id, rest)
        elif key.verbs is not None and verb not in key.verbs:
            raise NotAllowed(f"Key '{key_id}' may not run '{verb}'. {_limits(key)}")

    def may_call(self, key_id: str, function: str, destinations: Iterable[str] = ()) -> None:
        """Refuse a function of the API, or one of the destinations it is asked about, to a limited key."""
        key = self._key(key_id)
        if key.verbs is not None and function not in FOR_EVERYBODY and function not in key.verbs:
            raise NotAllowed(f"Key '{key_id}' may not call /{function}. {_limits(key)}")
        if key.destinations is None:
            return
        if function in FOR_PORTAL_SOFTWARE:
            raise NotAllowed(f"Key '{key_id}' may not call /{function}, which shows every job. {_limits(key)}")
        for destination in destinations:
            _check_destination(key, destination)

    def _key(self, key_id: str) -> BridgeKey:
        try:
            return self._keys[key_id]
        except KeyError:
            raise NotAllowed(f"There is no key '{key_id}' at this bridge; ask its operator for one.") from None


def _checked(keys: Sequence[BridgeKey]) -> Sequence[BridgeKey]:
    if len(keys) > KEYS_MAX:
        raise ConfigError(f"The bridge has {len(keys)} client keys, and at most {KEYS_MAX} are possible; remove some.")
    for key in keys:
        if len(key.key) != KEY_BYTES:
            raise ConfigError(f"Client key '{key.id}' has {len(key.key)} bytes and must have exactly {KEY_BYTES}.")
    for what, values in (("id", {key.id for key in keys}), ("key", {key.key for key in keys})):
        if len(values) != len(keys):
            raise ConfigError(f"Two client keys of the bridge have the same {what}; give each client its own.")
    return keys


def _timestamp(moment: datetime | None) -> float | None:
    """Seconds since 1970; a time without a zone is taken as UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _split(command: str) -> tuple[str, str, str]:
    """(destination, verb, all the rest), each empty if it is missing."""
    words = [*command.split(None, 2), "", "", ""]
    return words[0], words[1], words[2]


def _check_destination(key: BridgeKey, destination: str) -> None:
    if key.destinations is None:
        return
    if not any(destination == prefix or destination.startswith(prefix + ".") for prefix in key.destinations):
        raise NotAllowed(f"Key '{key.id}' may not reach '{destination}'. {_limits(key)}")


def _limits(key: BridgeKey) -> str:
    verbs = "everything" if key.verbs is None else ", ".join(key.verbs) or "nothing"
    where = "everywhere" if key.destinations is None else "at " + (", ".join(key.destinations) or "no destination")
    return f"It is allowed {verbs}, {where}; the operator of the bridge can change that."
