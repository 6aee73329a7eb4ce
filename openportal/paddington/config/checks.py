"""What a single value may be: names, addresses, keys, URLs, moments. Each check returns the normal form."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from openportal.errors import ConfigError
from openportal.paddington.peer import AGENT_TYPES

DEFAULT_ZONE = "default"
DEFAULT_KEY_ID = "default"
KEY_BYTES = 32


def check_name(name: str) -> str:
    """An agent's name: letters, digits, `-` and `_`; a dot would split a destination in two."""
    if not name or not all(c.isalnum() or c in "-_" for c in name):
        raise ConfigError(f"The agent name {name!r} must be letters, digits, - and _ only, and not empty.")
    return name


def check_zone(zone: str) -> str:
    """A zone: as a name, and also `<` and `>`."""
    if not zone or not all(c.isalnum() or c in "-_<>" for c in zone):
        raise ConfigError(f"The zone {zone!r} must be letters, digits, - _ < and > only, and not empty.")
    return zone


def check_type(agent: str) -> str:
    """An agent's type in the capitalised spelling of the file; any case is read."""
    for known in AGENT_TYPES:
        if agent.casefold() == known.casefold():
            return known
    raise ConfigError(f"The agent type {agent!r} is not one of {', '.join(AGENT_TYPES)}.")


def check_address(address: str) -> str:
    """One address to listen on."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise ConfigError(f"{address!r} is not an IP address, such as 127.0.0.1 or ::1.") from None


def check_hex_key(data: str) -> bytes:
    """A key from its 64 hexadecimal digits. The text is in no error."""
    try:
        key = bytes.fromhex(data)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or len(data) != 2 * KEY_BYTES:
        raise ConfigError("A key must be 64 hexadecimal digits.")
    if not any(key):
        raise ConfigError("A key must not be all zeroes.")
    return key


def websocket_url(url: str) -> str:
    """The address peers dial, as it is stored: `http` becomes `ws`, a port other than the scheme's own is written."""
    schemes = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
    return _normal_url(url, schemes, {"ws": 80, "wss": 443}, "ws://host:8040")


def web_url(url: str) -> str:
    """An address of an HTTP service, with its path (at least `/`)."""
    normal = _normal_url(url, {"http": "http", "https": "https"}, {"http": 80, "https": 443}, "http://host:3000")
    return normal if urlsplit(normal).path or urlsplit(normal).query else normal + "/"


def _normal_url(url: str, schemes: Mapping[str, str], ports: Mapping[str, int], example: str) -> str:
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = schemes[parts.scheme.lower()], parts.hostname, parts.port
    except (ValueError, KeyError):
        raise ConfigError(f"{_no_password(url)!r} is not a URL such as {example}.") from None
    if not host or any(c.isspace() for c in url.strip()):
        raise ConfigError(f"{_no_password(url)!r} is not a URL such as {example}.")
    shown = f"[{host}]" if ":" in host else host
    query = f"?{parts.query}" if parts.query else ""
    if (port or ports[scheme]) == ports[scheme]:
        return f"{scheme}://{shown}{parts.path.rstrip('/') if not query else parts.path}{query}"
    return f"{scheme}://{shown}:{port}{parts.path or '/'}{query}"


def _no_password(url: str) -> str:
    """The text to show of a URL that is refused: without what stands before an `@`."""
    return url.rpartition("@")[2]


def check_key_id(key_id: str) -> str:
    if not key_id or len(key_id) > 64 or not all(c.isalnum() or c in "-_.:" for c in key_id):
        raise ConfigError(f"The key id {key_id!r} must be 1 to 64 letters, digits and - _ . : only.")
    return key_id


def check_moment(value: datetime | str) -> datetime:
    """A moment in time; without a time zone it is UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ConfigError(f"{value!r} is not a date and time such as 2030-01-31T12:00:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
