"""Who is whose peer: a site's agents as an inventory declares them, and everything that follows from it.

    openportal_agents:
      brics:    { kind: portal,     host: portal1 }
      bridge:   { kind: bridge,     host: portal1, under: brics }
      aip1:     { kind: provider,   host: site1,   under: brics }
      clusters: { kind: platform,   host: site1,   under: aip1 }
      shared:   { kind: instance,   host: site1,   under: clusters }
      acct:     { kind: account,    host: login1,  under: shared, system: local }
      fs:       { kind: filesystem, host: files1,  under: [shared, gpu@default] }
      slurm:    { kind: scheduler,  host: ctl1,    under: shared, system: sandbox }

`under` names the agent that it serves, with `@zone` if that is not `default`: an agent dials those above it and listens
for those below. Where it listens, who may connect from where and what each agent's file says is derived here (`plan`),
for every host the same way. `Topology.declared` checks the whole and tells every mistake at once.

Pure: no host is asked and no file is read.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from openportal.errors import ConfigError
from openportal.paddington.config import BRIDGE_HTTP_PORT, DEFAULT_ZONE, DEFAULTS, check_name, check_zone

AGENTS_MAX = 1000
LOOPBACK = "127.0.0.1"
STATE_FOLDER = "/var/lib/openportal"
SANDBOX = "sandbox"


@dataclass(frozen=True)
class Kind:
    """What every agent of a kind has: its type in the file, what it may serve, its command by system, its ports."""

    agent: str
    above: str | None
    commands: Mapping[str, str]
    port: int
    metrics_port: int


def _kind(agent: str, above: str | None, metrics_port: int, **commands: str) -> Kind:
    return Kind(agent, above, commands, DEFAULTS[next(iter(commands.values()))].port, metrics_port)


# By system, the first one is the default; the words are those of DEFAULTS.
KINDS: Mapping[str, Kind] = {
    "portal": _kind("Portal", None, 9040, portal="portal"),
    "provider": _kind("Provider", "portal", 9041, provider="provider"),
    "bridge": _kind("Bridge", "portal", 9044, bridge="bridge"),
    "platform": _kind("Platform", "provider", 9045, platform="clusters"),
    "instance": _kind("Instance", "platform", 9046, instance="cluster"),
    "account": _kind("Account", "instance", 9047, local="localaccount", freeipa="freeipa", sandbox="localaccount"),
    "filesystem": _kind("Filesystem", "instance", 9048, directories="filesystem", sandbox="filesystem"),
    "scheduler": _kind("Scheduler", "instance", 9049, slurm="slurm", sandbox="slurm"),
}
LEAVES = ("account", "filesystem", "scheduler")
ROOT_SYSTEMS = ("local", "directories")  # they make accounts, and directories that belong to others
BRIDGE: Mapping[str, Any] = {"url": f"http://{LOOPBACK}:{BRIDGE_HTTP_PORT}/", "ip": LOOPBACK, "port": BRIDGE_HTTP_PORT}
SQLITE, POSTGRESQL = "sqlite", "postgresql"
LEDGERS = (SQLITE, POSTGRESQL)
POSTGRESQL_SOCKETS = "/var/run/postgresql"
WORDS = ("kind", "host", "under", "system", "port", "metrics_port", "url", "ledger", "settings", "client_file")


@dataclass(frozen=True, order=True)
class Pair:
    """Two agents that are introduced to each other: one listens, one dials."""

    listener: str
    dialler: str
    zone: str = DEFAULT_ZONE

    def __str__(self) -> str:
        return f"{self.listener}<{self.dialler}@{self.zone}"


@dataclass(frozen=True)
class Member:
    """One agent as it is declared. `settings` are further tables of its file, as they are written there."""

    name: str
    kind: str
    host: str
    system: str
    under: tuple[tuple[str, str], ...]
    port: int
    metrics_port: int
    url: str | None = None
    client_file: str | None = None
    ledger: str = SQLITE
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        return DEFAULTS[KINDS[self.kind].commands[self.system]].command

    @property
    def is_root(self) -> bool:
        """Whether its work needs root's rights on its host."""
        return self.system in ROOT_SYSTEMS

    def pairs(self) -> list[Pair]:
        """Those above it, as pairs in which it dials."""
        return [Pair(above, self.name, zone) for above, zone in self.under]


@dataclass(frozen=True)
class Topology:
    """All agents by name, the address of every host, and the host that watches them, if one is named."""

    members: Mapping[str, Member]
    addresses: Mapping[str, str]
    monitor: str | None = None

    @classmethod
    def declared(cls, agents: object, addresses: Mapping[str, str], monitor: str | None = None) -> Topology:
        """From an inventory's words. Raises ConfigError with one sentence a line for everything that is wrong."""
        if not isinstance(agents, Mapping) or not agents:
            raise ConfigError("openportal_agents must be a table of agents by name, and hold at least one.")
        if len(agents) > AGENTS_MAX:
            raise ConfigError(f"openportal_agents holds {len(agents)} agents; at most {AGENTS_MAX} are allowed.")
        members: dict[str, Member] = {}
        wrong: list[str] = []
        for name, words in agents.items():
            try:
                members[name] = _member(name, words)
            except ConfigError as error:
                wrong.append(str(error))
        topology = cls(members, addresses, monitor)
        wrong.extend(topology._mistakes(agents))
        if wrong:
            raise ConfigError("\n".join(wrong))
        return topology

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def _mistakes(self, agents: Mapping[Any, Any]) -> Iterator[str]:
        for member in self.members.values():
            yield from self._misplaced(member)
            yield from self._misled(member, agents)
        yield from self._clashes()
        yield from self._lonely()
        if self.monitor is not None and not is_address(self.addresses.get(self.monitor)):
            yield f"openportal_monitor: {self.monitor!r} must be a host of the inventory with an IP address."

    def _misplaced(self, member: Member) -> Iterator[str]:
        address = self.addresses.get(member.host)
        if address is None:
            yield f"{member.name}: there is no host {member.host!r} in the inventory."
        elif not is_address(address):
            yield f"{member.name}: the host {member.host} needs openportal_address, an IP address; it has {address!r}."

    def _misled(self, member: Member, agents: Mapping[Any, Any]) -> Iterator[str]:
        wanted = KINDS[member.kind].above
        if wanted is not None and not member.under:
            yield f"{member.name}: say which {wanted} this {member.kind} is under."
        for above, zone in member.under:
            if above not in agents:
                yield f"{member.name}: there is no agent {above!r} for it to be under."
            elif above in self.members and self.members[above].kind != wanted:
                rule = f"{member.kind} agents are under {wanted or 'nobody'}"
                yield f"{member.name}: {rule}, and {above} is of the kind {self.members[above].kind}."
            if member.under.count((above, zone)) > 1:
                yield f"{member.name}: it is under {above} in the zone {zone} twice."

    def _clashes(self) -> Iterator[str]:
        """Ports that two agents of a host would take, and leaves of one kind that an instance could not tell apart."""
        taken: dict[tuple[str, int], str] = {}
        for member in self.members.values():
            ports = [member.metrics_port, *([member.port] if self.below(member.name) else [])]
            for port in [*ports, *self._bridge_port(member)]:
                other = taken.setdefault((member.host, port), member.name)
                if other != member.name:
                    yield f"{member.name}: {other} takes port {port} of {member.host} already; give one another port."
        for name in self.members:
            kinds = Counter((self.members[pair.dialler].kind, pair.zone) for pair in self.below(name))
            for (kind, zone), count in sorted(kinds.items()):
                if count > 1 and kind in LEAVES:
                    yield f"{name}: it has {count} {kind} agents under it in the zone {zone}; it can work with one."

    def _bridge_port(self, member: Member) -> list[int]:
        table = member.settings.get("bridge", {})
        return [int(table.get("port", BRIDGE_HTTP_PORT))] if member.kind == "bridge" else []

    def _lonely(self) -> Iterator[str]:
        for member in self.members.values():
            if member.kind in ("portal", "provider", "platform") and not self.below(member.name):
                yield f"{member.name}: nobody is under this {member.kind}; it would lead nowhere."

    # --- what follows -------------------------------------------------------------------------------------------------

    def pairs(self) -> list[Pair]:
        """Every pair of agents that are introduced to each other."""
        return sorted(pair for member in self.members.values() for pair in member.pairs())

    def below(self, name: str) -> list[Pair]:
        """The pairs in which an agent listens."""
        return self._below.get(name, [])

    @cached_property
    def _below(self) -> dict[str, list[Pair]]:
        found: dict[str, list[Pair]] = {}
        for pair in self.pairs():
            found.setdefault(pair.listener, []).append(pair)
        return found

    def on(self, host: str) -> list[Member]:
        """The agents of a host, by name."""
        return sorted((m for m in self.members.values() if m.host == host), key=lambda member: member.name)

    def paths(self, bridge: Member) -> list[str]:
        """The destinations that a bridge's jobs can have: from its portal down to each instance."""
        return sorted({path for above, _ in bridge.under for path in self._down(above, "")})

    def _down(self, name: str, path: str) -> Iterator[str]:
        path = f"{path}.{name}" if path else name
        if self.members[name].kind == "instance":
            yield path
        for pair in self.below(name):
            if self.members[pair.dialler].kind in ("provider", "platform", "instance"):
                yield from self._down(pair.dialler, path)

    def is_local(self, member: Member) -> bool:
        """Whether everybody who dials it is on its own host: then it listens there only."""
        return all(self.members[pair.dialler].host == member.host for pair in self.below(member.name))

    def listens_on(self, member: Member) -> str:
        return LOOPBACK if self.is_local(member) else self.addresses[member.host]

    def url(self, member: Member) -> str:
        """Where those below it dial it."""
        return member.url or f"ws://{_at(self.listens_on(member), member.port)}/"

    def plan(self, host: str) -> dict[str, Any]:
        """What a host's agents are to be, as plain data: what `openportal site` reads."""
        return {"agents": [self._agent(member) for member in self.on(host)]}

    def _agent(self, member: Member) -> dict[str, Any]:
        kind = KINDS[member.kind]
        service = {"name": member.name, "url": self.url(member), "ip": self.listens_on(member), "port": member.port}
        tables = {
            "metrics": {"ip": self._metrics_address(member), "port": member.metrics_port},
            **member.settings,
            "ledger": _ledger(member),
        }
        if member.kind == "bridge":
            tables["bridge"] = {**BRIDGE, **tables.get("bridge", {})}
        if member.system == SANDBOX:
            sandbox = {SANDBOX: f"{STATE_FOLDER}/{member.name}/sandbox"}
            tables["extras"] = {**sandbox, **tables.get("extras", {})}
        return {
            "name": member.name, "agent": kind.agent, "kind": member.kind, "system": member.system,
            "command": member.command, "root": member.is_root, "client_file": member.client_file,
            "service": service, "tables": tables,
            "clients": [self._client(member, pair) for pair in self.below(member.name)],
            "servers": [self._server(pair) for pair in member.pairs()],
            "paths": self.paths(member) if member.kind == "bridge" else [],
        }  # fmt: skip

    def _client(self, member: Member, pair: Pair) -> dict[str, Any]:
        dialler = self.members[pair.dialler]
        source = LOOPBACK if self.is_local(member) else self.addresses[dialler.host]
        return {"name": dialler.name, "zone": pair.zone, "type": KINDS[dialler.kind].agent, "ip": source}

    def _server(self, pair: Pair) -> dict[str, Any]:
        listener = self.members[pair.listener]
        return {
            "name": listener.name, "zone": pair.zone, "type": KINDS[listener.kind].agent, "url": self.url(listener)
        }  # fmt: skip

    def _metrics_address(self, member: Member) -> str:
        """Where it tells its metrics: on its host only, unless somebody on another host is to ask for them."""
        return LOOPBACK if self.monitor in (None, member.host) else self.addresses[member.host]

    def openings(self, host: str) -> list[dict[str, Any]]:
        """The ports of a host that agents are reached at from other hosts, and from which addresses, by port.

        An agent behind a reverse proxy is not among them: who reaches it is between the site and its proxy.
        """
        found = []
        for member in self.on(host):
            diallers = {self.addresses[self.members[pair.dialler].host] for pair in self.below(member.name)}
            if not self.is_local(member) and member.url is None:
                others = sorted(diallers - {self.addresses[host]})
                found.append({"agent": member.name, "port": member.port, "sources": others})
            if self._metrics_address(member) != LOOPBACK:
                watcher = self.addresses[str(self.monitor)]
                found.append({"agent": member.name, "port": member.metrics_port, "sources": [watcher]})
        return sorted(found, key=lambda opening: opening["port"])

    def targets(self) -> list[dict[str, Any]]:
        """Every agent as Prometheus is to ask it, in the form of its file_sd: where, and what it is called."""
        members = sorted(self.members.values(), key=lambda member: member.name)
        return [
            {
                "targets": [_at(self._metrics_address(member), member.metrics_port)],
                "labels": {"instance": member.name, "kind": member.kind, "host": member.host},
            }
            for member in members
        ]

    def introductions(self, looks: Mapping[str, Mapping[str, Any]], anew: bool = False) -> list[dict[str, Any]]:
        """The pairs that do not share keys yet: `looks` is what each host holds, by host (see `site`).

        Each with the host that invites, the host that is invited, and the box into which the invite is sealed. A pair
        of which a host was not looked at is left alone. With `anew`, also those that share keys.
        """
        found = []
        for pair in self.pairs():
            host, guest = self.members[pair.listener].host, self.members[pair.dialler].host
            if host in looks and guest in looks and (anew or not _share_keys(pair, looks[host], looks[guest])):
                found.append({"pair": str(pair), "host": host, "guest": guest, "box": looks[guest].get("box")})
        return found


def _share_keys(pair: Pair, host: Mapping[str, Any], guest: Mapping[str, Any]) -> bool:
    """Whether both ends of a pair have keys, and the same."""
    held = host.get("pairs", {}).get(str(pair), {}).get("listener")
    return held is not None and held == guest.get("pairs", {}).get(str(pair), {}).get("dialler")


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _ledger(member: Member) -> dict[str, Any]:
    """Where its ledger is: below its own folder, or in a database, and then its operators' socket is there alone."""
    given = dict(member.settings.get("ledger", {}))
    if member.ledger == POSTGRESQL:
        user = f"op-{member.name}"
        given = {"url": f"postgresql://{user}@/{user}?host={POSTGRESQL_SOCKETS}", **given}
    return {"path": f"{STATE_FOLDER}/{member.name}/{'run' if 'url' in given else 'ledger'}", **given}


def is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


# --- reading one agent ------------------------------------------------------------------------------------------------


def _member(name: object, words: object) -> Member:
    """One agent. Raises ConfigError."""
    if not isinstance(name, str):
        raise ConfigError(f"{name!r}: the name of an agent must be text.")
    check_name(name)
    if not isinstance(words, Mapping):
        raise ConfigError(f"{name}: it must be a table with kind, host and under.")
    if unknown := sorted(str(word) for word in words if word not in WORDS):
        raise ConfigError(f"{name}: {unknown[0]!r} is not one of {', '.join(WORDS)}.")
    kind_name, host = words.get("kind"), words.get("host")
    if not isinstance(kind_name, str) or kind_name not in KINDS:
        raise ConfigError(f"{name}: the kind {kind_name!r} is not one of {', '.join(KINDS)}.")
    kind = KINDS[kind_name]
    system = words.get("system", next(iter(kind.commands)))
    if system not in kind.commands:
        raise ConfigError(f"{name}: the system {system!r} of a {kind_name} is not one of {', '.join(kind.commands)}.")
    if not isinstance(host, str):
        raise ConfigError(f"{name}: say on which host it runs, with `host`.")
    ledger = words.get("ledger", SQLITE)
    if ledger not in LEDGERS:
        raise ConfigError(f"{name}: the ledger {ledger!r} is not one of {', '.join(LEDGERS)}.")
    settings = words.get("settings", {})
    if not isinstance(settings, Mapping) or not all(isinstance(table, Mapping) for table in settings.values()):
        raise ConfigError(f"{name}: settings must be tables of its file by name.")
    default_port = DEFAULTS[kind.commands[system]].port
    port = _port(name, "port", words.get("port", default_port))
    metrics_port = _port(name, "metrics_port", words.get("metrics_port", kind.metrics_port + port - default_port))
    return Member(
        name, kind_name, host, system, tuple(_above(name, words.get("under", ()))), port, metrics_port,
        words.get("url"), words.get("client_file"), ledger, settings,
    )  # fmt: skip


def _above(name: str, under: object) -> Iterator[tuple[str, str]]:
    """Whom an agent serves: a name, or a list of names, each with `@zone` if need be."""
    listed: object = [under] if isinstance(under, str) else under
    if not isinstance(listed, list | tuple):
        raise ConfigError(f"{name}: under must be the name of an agent, or a list of names.")
    for text in listed:
        if not isinstance(text, str):
            raise ConfigError(f"{name}: under must be the name of an agent, or a list of names.")
        above, _, zone = text.partition("@")
        yield above, check_zone(zone or DEFAULT_ZONE)


def _port(name: str, word: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ConfigError(f"{name}: {word} must be a number between 1 and 65535.")
    return value
