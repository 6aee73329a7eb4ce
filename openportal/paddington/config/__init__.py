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

from openportal.paddington.config.changing import checked_text, edit
from openportal.paddington.config.checks import (
    DEFAULT_KEY_ID,
    DEFAULT_ZONE,
    KEY_BYTES,
    check_address,
    check_key_id,
    check_moment,
    check_name,
    check_type,
    check_zone,
    web_url,
    websocket_url,
)
from openportal.paddington.config.defaults import (
    BRIDGE_HTTP_PORT,
    BRIDGE_URL,
    DEFAULTS,
    NOTIFICATION_URL,
    SIGNAL_URL,
    AgentDefaults,
    default_folder,
)
from openportal.paddington.config.fields import KeyField, MomentField, NameField, TypeField, ZoneField
from openportal.paddington.config.ip_rules import IP_RULES_MAX, IpRules
from openportal.paddington.config.reading import load, parse, parse_toml, validated
from openportal.paddington.config.sections import (
    AgentConfig,
    BridgeConfig,
    BridgeKey,
    ClientPeer,
    Encryption,
    LedgerSection,
    MetricsSection,
    ServerPeer,
    ServiceConfig,
)

__all__ = [
    "BRIDGE_HTTP_PORT",
    "BRIDGE_URL",
    "DEFAULTS",
    "DEFAULT_KEY_ID",
    "DEFAULT_ZONE",
    "IP_RULES_MAX",
    "KEY_BYTES",
    "NOTIFICATION_URL",
    "SIGNAL_URL",
    "AgentConfig",
    "AgentDefaults",
    "BridgeConfig",
    "BridgeKey",
    "ClientPeer",
    "Encryption",
    "IpRules",
    "KeyField",
    "LedgerSection",
    "MetricsSection",
    "MomentField",
    "NameField",
    "ServerPeer",
    "ServiceConfig",
    "TypeField",
    "ZoneField",
    "check_address",
    "check_key_id",
    "check_moment",
    "check_name",
    "check_type",
    "check_zone",
    "checked_text",
    "default_folder",
    "edit",
    "load",
    "parse",
    "parse_toml",
    "validated",
    "web_url",
    "websocket_url",
]
