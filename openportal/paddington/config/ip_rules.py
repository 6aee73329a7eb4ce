"""From which addresses an agent accepts a client."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from openportal.errors import ConfigError

IP_RULES_MAX = 1024
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


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
