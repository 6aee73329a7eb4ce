"""The sections of the file as frozen values; the module of the package says what stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, AliasPath, Field

from openportal.errors import ConfigError
from openportal.paddington.config.checks import DEFAULT_KEY_ID, check_key_id, check_type
from openportal.paddington.config.fields import (
    AddressField,
    KeyField,
    MomentField,
    NameField,
    PairField,
    PortField,
    TypeField,
    UrlField,
    WebUrlField,
    ZoneField,
    checked,
)
from openportal.paddington.config.ip_rules import IpRules


@dataclass(frozen=True)
class Encryption:
    """How the secrets in `extras` are sealed: with a variable's value, or (no protection) with the agent's name."""

    scheme: Literal["Environment", "Simple"]
    variable: str | None = None


RulesField: TypeAlias = Annotated[IpRules | None, checked(IpRules.parse, str, dict, list)]


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

    id: Annotated[str, checked(check_key_id, str)]
    key: Annotated[KeyField, Field(validation_alias=AliasChoices("data", "key"))] = field(repr=False)
    verbs: tuple[str, ...] | None = None
    destinations: tuple[str, ...] | None = None
    expires: MomentField = None


def _bridge_keys(value: Any) -> Any:
    """Today's single `[bridge.key]` is the first of the keys, with the id "default"."""
    if not isinstance(value, Mapping):
        return value
    single, more = value.get("key"), value.get("keys", [])
    if not isinstance(more, list) or not (single is None or isinstance(single, Mapping)):
        raise ConfigError("[bridge.key] must be a table and [[bridge.keys]] a list of tables.")
    first = [] if single is None else [{**single, "id": DEFAULT_KEY_ID}]
    return {**value, "keys": [*first, *more]}


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

    agent: Annotated[str, checked(check_type, str)]
    service: ServiceConfig
    encryption: Annotated[
        Encryption | None,
        checked(_scheme, object),
        Field(validation_alias=AliasChoices(AliasPath("service", "encryption"), "encryption")),
    ] = None
    extras: Mapping[str, str] = field(default_factory=dict, repr=False)
    bridge: Annotated[BridgeConfig | None, checked(_bridge_keys, dict)] = None
    ledger: LedgerSection = field(default_factory=LedgerSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    path: Path = Path()
    tables: Mapping[str, Any] = field(default_factory=dict, repr=False)
