"""The settings of `op-freeipa`, from the extras of its file and two environment variables."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from openportal.agents.account.freeipa.rpc import Credentials, trust
from openportal.agents.account.policy import Policy
from openportal.errors import ConfigError

log = logging.getLogger(__name__)

DEFAULT_USER = "admin"
DEFAULT_WINDOW_SECONDS = 30.0
DEFAULT_CONCURRENT_WRITES = 2
WRITES = (1, 64)
WINDOWS = (0.0, 3600.0)
READS_AT_ONCE = 2
TRUE = frozenset({"true", "yes", "1"})
INSECURE = "OPENPORTAL_ALLOW_INVALID_SSL_CERTS"
REQUIRE_CLASS = "OPENPORTAL_REQUIRE_MANAGED_CLASS"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Settings:
    """`servers` maps each master to how many reads it gets at once."""

    servers: Mapping[str, int]
    write_server: str
    who: Credentials
    trust: ssl.SSLContext
    policy: Policy
    window_seconds: float = DEFAULT_WINDOW_SECONDS
    concurrent_writes: int = DEFAULT_CONCURRENT_WRITES
    require_class: bool = False

    @classmethod
    def of(cls, extras: Mapping[str, str], password: str | None, environ: Mapping[str, str]) -> Settings:
        """Raises ConfigError, naming the setting."""
        named = Counter(_host(name) for name in extras.get("freeipa-server", "").split(",") if name.strip())
        if not named:
            raise ConfigError(
                "extras.freeipa-server is not set: the full name of a FreeIPA master, or several with commas."
            )
        if password is None:
            raise ConfigError("There is no secret freeipa-password; set it with the secret command.")
        write_server = _host(extras.get("freeipa-write-server", next(iter(named))))
        if write_server not in named:
            raise ConfigError(f"extras.freeipa-write-server: {write_server} is not one of freeipa-server.")
        return cls(
            servers={name: READS_AT_ONCE * times for name, times in named.items()},
            write_server=write_server,
            who=Credentials(extras.get("freeipa-user", DEFAULT_USER), password),
            trust=trust(extras.get("freeipa-ca-file"), _insecure(environ)),
            policy=Policy.of({name: text for name, text in extras.items() if name != "managed-group"}),
            window_seconds=_number(
                "freeipa-replication-window", extras.get("freeipa-replication-window"), DEFAULT_WINDOW_SECONDS, WINDOWS
            ),
            concurrent_writes=_number(
                "freeipa-concurrent-writes", extras.get("freeipa-concurrent-writes"), DEFAULT_CONCURRENT_WRITES, WRITES
            ),
            require_class=_is_true(environ, REQUIRE_CLASS),
        )


def _host(text: str) -> str:
    """A master's name; its URL is taken for it. Raises ConfigError for a URL of another kind."""
    name = text.strip().lower().removeprefix("https://").partition("/")[0]
    if not name or "://" in text.removeprefix("https://"):
        raise ConfigError(f"{text.strip()!r} is not the name of a FreeIPA master: give its full host name.")
    return name


def _number(name: str, text: str | None, default: Number, limits: tuple[Number, Number]) -> Number:
    least, most = limits
    if text is None:
        return default
    try:
        value = type(default)(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise ConfigError(f"extras.{name} must be a number from {least} to {most}, not {text!r}.")
    return value


def _is_true(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() in TRUE


def _insecure(environ: Mapping[str, str]) -> bool:
    found = _is_true(environ, INSECURE)
    if found:
        log.warning("%s is set: certificates are NOT verified, whoever is on the way can read the password.", INSECURE)
    return found
