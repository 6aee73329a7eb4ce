"""From the text of a file to an AgentConfig; whatever is wrong with it is one sentence that quotes no value."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from openportal.errors import ConfigError
from openportal.paddington.config.checks import websocket_url
from openportal.paddington.config.sections import AgentConfig, ClientPeer, ServerPeer, ServiceConfig
from openportal.paddington.files import read_text

KNOWN_TABLES = frozenset({"agent", "service", "encryption", "extras", "bridge", "ledger", "metrics", "trusted_proxy"})


def load(path: str | Path) -> AgentConfig:
    """Read and check an agent's file. Raises ConfigError, and nothing else, whatever the file holds."""
    where = place(path)
    return parse(read_text(where), where)


def place(path: str | Path, follow: bool = False) -> Path:
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
