"""An agent's configuration file: what it may hold, how it is read, how it is changed.

The file is TOML, in the shape that today's agents write:

    agent = "Instance"                        one of AGENT_TYPES
    [service]                                 name url ip port, heathcheck_port (sic) proxy_header trusted_proxy
    [service.encryption.Environment]          key = "VARIABLE";  or an empty [service.encryption.Simple]
    [[service.servers]]                       agents that we dial: name zone url, optional type proxy
    [service.servers.inner_key]               data = 64 hexadecimal digits; the same for outer_key
    [[service.clients]]                       agents that dial us: name zone ip, optional type proxy, and the two keys;
                                              ours: standby invite_expires next_keys spent_keys
    [extras]                                  text to text; secrets are sealed (see secretstore)
    [bridge]                                  a bridge only: url ip port signal_url notification_url trusted_proxy
    [bridge.key]                              data; the key with the id "default"
    [[bridge.keys]]                           ours: id data, optional verbs destinations (prefixes) expires
    [ledger]                                  ours: path url commit checkpoint_every
    [metrics]                                 ours: ip port

Whatever else is in the file is kept: unknown top-level entries are handed on in `tables`, and `edit` changes only what
it is asked to, so comments survive. Text is validated once, here; an error is one sentence that names the file and the
entry and never quotes a value that could be a key or a secret.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import tomlkit
from pydantic import AliasChoices, AliasPath, BeforeValidator, Field, TypeAdapter, ValidationError
from tomlkit.exceptions import TOMLKitError

from openportal.errors import ConfigError
from openportal.paddington.ephemeral import KeyPair
from openportal.paddington.files import exclusive, read_text, write_private
from openportal.paddington.peer import AGENT_TYPES

DEFAULT_ZONE = "default"
DEFAULT_KEY_ID = "default"
BRIDGE_HTTP_PORT = 3000
BRIDGE_URL = "http://localhost:3000"
SIGNAL_URL = "http://localhost/signal"
NOTIFICATION_URL = "http://localhost/notification"
KEY_BYTES = 32
IP_RULES_MAX = 1024
KNOWN_TABLES = frozenset({"agent", "service", "encryption", "extras", "bridge", "ledger", "metrics", "trusted_proxy"})

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


# ---- the agents' commands -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AgentDefaults:
    """What `init` writes when it is told nothing else. `service` is the default name and names the default file."""

    command: str
    agent: str
    service: str
    port: int

    @property
    def config_file(self) -> Path:
        return default_folder() / f"{self.service}-config.toml"


DEFAULTS: Mapping[str, AgentDefaults] = {
    defaults.service: defaults
    for defaults in (
        AgentDefaults("op-portal", "Portal", "portal", 8040),
        AgentDefaults("op-provider", "Provider", "provider", 8041),
        AgentDefaults("op-bridge", "Bridge", "bridge", 8044),
        AgentDefaults("op-clusters", "Platform", "clusters", 8045),
        AgentDefaults("op-cluster", "Instance", "cluster", 8046),
        AgentDefaults("op-freeipa", "Account", "freeipa", 8046),
        AgentDefaults("op-localaccount", "Account", "localaccount", 8047),
        AgentDefaults("op-filesystem", "Filesystem", "filesystem", 8047),
        AgentDefaults("op-slurm", "Scheduler", "slurm", 8048),
    )
}
DEFAULT_PORTS: Mapping[str, int] = {name: defaults.port for name, defaults in DEFAULTS.items()}


def default_folder() -> Path:
    """`~/.config/openportal`, or below XDG_CONFIG_HOME when that is an absolute path."""
    xdg = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (xdg if xdg.is_absolute() else Path("~/.config").expanduser()) / "openportal"


# ---- checks of single values ----------------------------------------------------------------------------------------


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


# ---- IP rules -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IpRules:
    """Addresses and ranges that may connect. Families never mix; a v4-mapped v6 address is its v4 address."""

    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, value: object) -> IpRules:
        """From `"1.2.3.4, 10.0.0.0/8"`, or a stored table `{IP=…}`, `{Range=…}` or `{List=[…]}`."""
        texts = list(_ip_texts(value))
        if not texts:
            raise ConfigError("An IP rule is empty; give an address, a range such as 10.0.0.0/8, or a comma list.")
        if len(texts) > IP_RULES_MAX:
            raise ConfigError(f"An IP rule lists {len(texts)} entries; at most {IP_RULES_MAX} are allowed.")
        return cls(tuple(_network(text) for text in texts))

    def allows(self, address: str) -> bool:
        """Whether a peer at this address may connect. What is not an address may not."""
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return any(peer.version == network.version and peer in network for network in self.networks)

    def texts(self) -> tuple[str, ...]:
        single = ((n, n.prefixlen == n.max_prefixlen) for n in self.networks)
        return tuple(str(n.network_address) if alone else str(n) for n, alone in single)

    def __str__(self) -> str:
        return ",".join(self.texts())

    def to_toml(self) -> dict[str, Any]:
        """The stored table. `IP` and `Range` are read by every release, `List` by newer ones."""
        texts = self.texts()
        if len(texts) > 1:
            return {"List": list(texts)}
        return {"Range" if "/" in texts[0] else "IP": texts[0]}


def _ip_texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from (text.strip() for text in value.split(",") if text.strip())
    elif isinstance(value, list):
        for item in value:
            yield from _ip_texts("" if isinstance(item, list) else item)
    elif isinstance(value, Mapping) and len(value) == 1 and set(value) <= {"IP", "Range", "List"}:
        ((kind, inner),) = value.items()
        if isinstance(inner, list) != (kind == "List") or not isinstance(inner, list | str):
            raise ConfigError("An IP table needs text for IP and Range, and a list of texts for List.")
        if isinstance(inner, list) and any(isinstance(item, Mapping) and "List" in item for item in inner):
            raise ConfigError("An IP list cannot hold another list.")
        yield from _ip_texts(inner)
    else:
        raise ConfigError("An IP rule must be text, or a table with one of IP, Range and List.")


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(f"{text!r} is not an IP address or a range such as 10.0.0.0/8 or fd00::/8.") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


# ---- how a value of the file becomes a field ------------------------------------------------------------------------


def _checked(check: Callable[[Any], Any], *wanted: type) -> BeforeValidator:
    """Pydantic's validator around a check of ours; other types are left for pydantic to refuse."""

    def validate(value: Any) -> Any:
        if not isinstance(value, wanted):
            return value
        try:
            return check(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(validate)


def _kept(check: Callable[[str], str]) -> Callable[[str], str]:
    """A check whose normal form is not wanted: the file's own spelling stays."""

    def unchanged(value: str) -> str:
        check(value)
        return value

    return unchanged


def _stored_key(value: Any) -> bytes:
    data = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(data, str):
        raise ConfigError("A key must be a table whose data is 64 hexadecimal digits.")
    return check_hex_key(data)


def check_moment(value: datetime | str) -> datetime:
    """A moment in time; without a time zone it is UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ConfigError(f"{value!r} is not a date and time such as 2030-01-31T12:00:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _scheme(value: Any) -> Encryption | None:
    """`{Environment = {key = "VARIABLE"}}`, `{Simple = {}}` or `"Simple"`."""
    if value is None or isinstance(value, Encryption):
        return value
    if value == "Simple" or (isinstance(value, Mapping) and set(value) == {"Simple"}):
        return Encryption("Simple")
    table = value.get("Environment") if isinstance(value, Mapping) and len(value) == 1 else None
    variable = table.get("key") if isinstance(table, Mapping) else None
    if not isinstance(variable, str) or not variable:
        raise ConfigError("The encryption must be a table Simple, or a table Environment whose key names a variable.")
    return Encryption("Environment", variable)


def _bridge_keys(value: Any) -> Any:
    """Today's single `[bridge.key]` is the first of the keys, with the id "default"."""
    if not isinstance(value, Mapping):
        return value
    single, more = value.get("key"), value.get("keys", [])
    if not isinstance(more, list) or not (single is None or isinstance(single, Mapping)):
        raise ConfigError("[bridge.key] must be a table and [[bridge.keys]] a list of tables.")
    first = [] if single is None else [{**single, "id": DEFAULT_KEY_ID}]
    return {**value, "keys": [*first, *more]}


def _stored_pair(value: Any) -> KeyPair:
    if not isinstance(value, Mapping) or not {"inner_key", "outer_key"} <= set(value):
        raise ConfigError("A pair of keys must be a table with inner_key and outer_key.")
    return KeyPair(_stored_key(value["inner_key"]), _stored_key(value["outer_key"]))


KeyField: TypeAlias = Annotated[bytes, _checked(_stored_key, dict, str)]
PairField: TypeAlias = Annotated[KeyPair, _checked(_stored_pair, dict)]
MomentField: TypeAlias = Annotated[datetime | None, _checked(check_moment, datetime, str)]
NameField: TypeAlias = Annotated[str, _checked(check_name, str)]
ZoneField: TypeAlias = Annotated[str, _checked(check_zone, str), Field(default=DEFAULT_ZONE)]
TypeField: TypeAlias = Annotated[str | None, _checked(check_type, str)]
AddressField: TypeAlias = Annotated[str, _checked(check_address, str)]
UrlField: TypeAlias = Annotated[str, _checked(_kept(websocket_url), str)]
WebUrlField: TypeAlias = Annotated[str, _checked(_kept(web_url), str)]
PortField: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=65535)]


# ---- the sections ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encryption:
    """How the secrets in `extras` are sealed: with a variable's value, or (no protection) with the agent's name."""

    scheme: Literal["Environment", "Simple"]
    variable: str | None = None


RulesField: TypeAlias = Annotated[IpRules | None, _checked(IpRules.parse, str, dict, list)]


@dataclass(frozen=True)
class ClientPeer:
    """An agent that dials us. `ip` is None only for one that comes through a proxy.

    `standby`: it is two processes or more, at different addresses; one of them works, the others wait.
    `invite_expires`: its keys are those of an invite that was not used yet. `next_keys`, `spent_keys`: see keyring.py.
    """

    name: NameField
    zone: ZoneField
    ip: Annotated[RulesField, Field(default=None)]
    inner_key: KeyField = field(repr=False)
    outer_key: KeyField = field(repr=False)
    type: TypeField = None
    proxy: str | None = None
    standby: Annotated[bool, Field(strict=True)] = False
    invite_expires: MomentField = None
    next_keys: tuple[PairField, ...] = ()
    spent_keys: Annotated[PairField | None, Field(default=None)] = None


@dataclass(frozen=True)
class ServerPeer:
    """An agent that we dial. `url` is empty only for one that is reached through a proxy."""

    name: NameField
    zone: ZoneField
    url: Annotated[str, Field(default="")]
    inner_key: KeyField = field(repr=False)
    outer_key: KeyField = field(repr=False)
    type: TypeField = None
    proxy: str | None = None


@dataclass(frozen=True)
class ServiceConfig:
    """Who we are, where we listen, and the peers we know."""

    name: NameField
    url: UrlField
    ip: AddressField
    port: PortField
    healthcheck_port: Annotated[
        PortField | None, Field(validation_alias=AliasChoices("heathcheck_port", "healthcheck_port"))
    ] = None
    proxy_header: str | None = None
    trusted_proxy: RulesField = None
    clients: tuple[ClientPeer, ...] = ()
    servers: tuple[ServerPeer, ...] = ()


@dataclass(frozen=True)
class BridgeKey:
    """A key of the bridge's HTTP API. None means no restriction; an empty tuple allows nothing."""

    id: Annotated[str, _checked(check_key_id, str)]
    key: Annotated[KeyField, Field(validation_alias=AliasChoices("data", "key"))] = field(repr=False)
    verbs: tuple[str, ...] | None = None
    destinations: tuple[str, ...] | None = None
    expires: MomentField = None


@dataclass(frozen=True)
class BridgeConfig:
    """The HTTP API of a bridge."""

    url: WebUrlField
    ip: AddressField
    port: PortField
    signal_url: WebUrlField | None = None
    notification_url: WebUrlField | None = None
    trusted_proxy: RulesField = None
    keys: tuple[BridgeKey, ...] = ()


@dataclass(frozen=True)
class LedgerSection:
    """Where the event log lives: `path` is a folder, by default beside the file; None when only `url` is given."""

    path: Path | None = None
    url: str | None = field(default=None, repr=False)
    commit: Literal["inline", "thread"] = "inline"
    checkpoint_every: Annotated[int, Field(strict=True, ge=1)] = 20000


@dataclass(frozen=True)
class MetricsSection:
    """The Prometheus endpoint; none without a port."""

    ip: AddressField = "127.0.0.1"
    port: PortField | None = None


@dataclass(frozen=True)
class AgentConfig:
    """One agent's file. `path` is absolute; `tables` holds the top-level entries that we do not know, as they are."""

    agent: Annotated[str, _checked(check_type, str)]
    service: ServiceConfig
    encryption: Annotated[
        Encryption | None,
        _checked(_scheme, object),
        Field(validation_alias=AliasChoices(AliasPath("service", "encryption"), "encryption")),
    ] = None
    extras: Mapping[str, str] = field(default_factory=dict, repr=False)
    bridge: Annotated[BridgeConfig | None, _checked(_bridge_keys, dict)] = None
    ledger: LedgerSection = field(default_factory=LedgerSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    path: Path = Path()
    tables: Mapping[str, Any] = field(default_factory=dict, repr=False)


# ---- reading --------------------------------------------------------------------------------------------------------


def load(path: str | Path) -> AgentConfig:
    """Read and check an agent's file. Raises ConfigError, and nothing else, whatever the file holds."""
    where = _place(path)
    return parse(read_text(where), where)


def _place(path: str | Path, follow: bool = False) -> Path:
    """The absolute path of a file; with `follow`, of what a symbolic link leads to."""
    try:
        absolute = Path(path).expanduser().absolute()
        return absolute.resolve() if follow else absolute
    except (OSError, ValueError, RuntimeError):
        raise ConfigError(f"{path} is not the name of a file that can be reached.") from None


def parse(text: str, path: Path) -> AgentConfig:
    """The configuration in a file's text; `path` is where it is, or will be."""
    data = parse_toml(text, path)
    try:
        config: AgentConfig = validated(_FILE, _with_context(data, path))
        _check_peers(config.service)
        _check_bridge(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Errors name the line, never the value that stands there."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = str(error).rpartition("(")[2].rstrip(")")
        raise ConfigError(f"{path} is not a TOML file: look at the text {place}.") from None
    except (ValueError, RecursionError, OverflowError):
        raise ConfigError(f"{path} is not a TOML file that can be read.") from None


def validated(adapter: TypeAdapter[Any], data: Mapping[str, Any]) -> Any:
    """What an adapter makes of a file's tables; a refusal becomes one sentence that quotes no value."""
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        more = f" ({len(problems) - 1} more to correct)" if len(problems) > 1 else ""
        raise ConfigError(f"{_sentence(problems[0])}{more}") from None
    except RecursionError:
        raise ConfigError("The tables are nested too deeply.") from None


def _with_context(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The file's tables, and what does not stand in them: its place, defaults that depend on it, and the unknown."""
    raw = {**data, "path": path, "tables": {k: v for k, v in data.items() if k not in KNOWN_TABLES}}
    ledger = data.get("ledger", {})
    if isinstance(ledger, Mapping):
        given = ledger.get("path")
        if isinstance(given, str) and given and "\0" not in given:
            raw["ledger"] = {**ledger, "path": path.parent / Path(given)}
        elif given is None:
            raw["ledger"] = {**ledger, "path": None if ledger.get("url") else path.with_suffix(".ledger")}
        else:
            raise ConfigError("ledger.path must be the name of a folder, as text in quotes.")
    service = data.get("service")
    if isinstance(service, Mapping) and "trusted_proxy" in data:
        raw["service"] = {"trusted_proxy": data["trusted_proxy"], **service}
    return raw


_PLAIN: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "dataclass_type": "must be a table",
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "tuple_type": "must be a list",
    "bytes_type": "must be a table whose data is 64 hexadecimal digits",
}


def _sentence(problem: Mapping[str, Any]) -> str:
    """One problem that pydantic found, as a sentence: where, and what is expected there."""
    names = [part if isinstance(part, str) else f"[{part}]" for part in problem["loc"]]
    where = ".".join(names).replace(".[", "[") or "The file"
    if problem["type"] == "value_error":
        return f"{where}: {problem['ctx']['error']}"
    return f"{where} {_PLAIN.get(problem['type'], _lower_first(problem['msg']))}."


def _lower_first(message: str) -> str:
    return "is not right: " + message[:1].lower() + message[1:]


def _check_peers(service: ServiceConfig) -> None:
    for client in service.clients:
        if client.ip is None and client.proxy is None:
            raise ConfigError(f"The client {client.name!r} has no ip; say from where it may connect.")
    for server in service.servers:
        if server.url or server.proxy is None:
            websocket_url(server.url)
    peers: list[ClientPeer | ServerPeer] = [*service.clients, *service.servers]
    _unique(((peer.name, peer.zone) for peer in peers), "The peer {} in the zone {}")


def _check_bridge(config: AgentConfig) -> None:
    if config.bridge is None:
        if config.agent == "Bridge":
            raise ConfigError("A bridge needs a [bridge] table with url, ip, port and a key.")
        return
    if not config.bridge.keys:
        raise ConfigError("The bridge has no key; add a [bridge.key] table.")
    _unique(((key.id,) for key in config.bridge.keys), "The bridge key {}")


def _unique(names: Iterable[tuple[str, ...]], what: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{what.format(*map(repr, name))} is in the file twice; remove one.")
        seen.add(name)


_FILE: TypeAdapter[AgentConfig] = TypeAdapter(AgentConfig)


# ---- changing -------------------------------------------------------------------------------------------------------


@contextmanager
def edit(path: str | Path) -> Iterator[tuple[tomlkit.TOMLDocument, AgentConfig]]:
    """Change a file: yields its document and what it means now; on a clean exit the result is checked and written.

    Everything the caller does not touch, comments included, is kept. The file is replaced in one step, and not at all
    when the result would not load.
    """
    where = _place(path, follow=True)
    with exclusive(where.parent):
        text = read_text(where)
        config = parse(text, where)
        try:
            document = tomlkit.parse(text)
        except (TOMLKitError, ValueError, RecursionError):
            raise ConfigError(f"{where} cannot be changed by this command; edit it by hand.") from None
        try:
            yield document, config
        except (TOMLKitError, ValueError):
            raise ConfigError(f"{where} cannot be changed by this command; edit it by hand.") from None
        write_private(where, checked_text(document, where).encode())


def checked_text(document: tomlkit.TOMLDocument, path: Path) -> str:
    """The text of a document, if it says what the document holds and loads as a configuration."""
    text = tomlkit.dumps(document)
    if parse_toml(text, path) != document.unwrap():
        raise ConfigError(f"{path} cannot be changed by this command without damage; edit it by hand.")
    parse(text, path)
    return text
