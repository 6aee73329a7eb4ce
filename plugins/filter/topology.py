"""Filters around `openportal.cli.topology`: what an inventory says of a site's agents, and what follows from it.

The controller needs the Python package `openportal-agents[rollout]` in the environment that Ansible runs in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from openportal.cli.topology import Topology


def plan(agents: object, hostvars: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What the agents of a host are to be."""
    return declared(agents, hostvars).plan(host)


def text_drawing(agents: object, hostvars: Mapping[str, Any]) -> list[str]:
    """The lines of the drawing of a topology that is right."""
    topology = declared(agents, hostvars)
    from openportal.cli import drawing

    return drawing.text(topology).splitlines()


def introductions(
    agents: object, hostvars: Mapping[str, Any], looks: Mapping[str, Any], anew: bool = False
) -> list[dict[str, Any]]:
    """The pairs of agents, both on hosts that were looked at, that have no keys in common yet; or all with `anew`."""
    return declared(agents, hostvars).introductions(looks, anew)


def openings(agents: object, hostvars: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    """The ports of a host that are reached from others, and from which addresses, by the family of these."""
    found = declared(agents, hostvars).openings(host)
    return [
        {
            **opening,
            "ip": [source for source in opening["sources"] if ":" not in source],
            "ip6": [source for source in opening["sources"] if ":" in source],
        }
        for opening in found
    ]


def targets(agents: object, hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every agent as Prometheus is to ask it."""
    return declared(agents, hostvars).targets()


def operators(agents: Mapping[str, Any], hostvars: Mapping[str, Any]) -> list[str]:
    """The Unix users of the agents that work on a Slurm."""
    members = declared(agents, hostvars).members.values() if agents else ()
    return [f"op-{member.name}" for member in members if member.system == "slurm"]


def units(agents: Iterable[Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
    """The units of agents of a plan, each with the files that it is started with."""
    template = "/etc/systemd/system/openportal-agent@"
    return [
        {
            "name": f"openportal-agent@{agent['name']}.service",
            "files": [
                f"{template}.service",
                f"{template}{agent['name']}.service.d/agent.conf",
                f"{folder}/{agent['name']}.toml",
            ],
        }
        for agent in agents
    ]


def declared(agents: object, hostvars: Mapping[str, Any]) -> Topology:
    """The topology. Raises AnsibleFilterError with every mistake and a drawing of what is said.

    What it needs is imported here: Ansible loads this file anew for each task of each host whose text names a filter,
    called or not, and the models of the package take a fifth of a second.
    """
    try:
        from openportal.cli.topology import Topology
        from openportal.errors import ConfigError
    except ImportError as missing:
        raise AnsibleFilterError(f"Install openportal-agents[rollout] beside ansible-core: {missing}.") from None
    try:
        known = {host: hostvars[host] for host in hosts_of(agents) if host in hostvars}
        watcher = monitor(known.values())
        if watcher is not None and watcher in hostvars:
            known[watcher] = hostvars[watcher]
        addresses = {host: address(host, variables) for host, variables in known.items()}
        return Topology.declared(plain(agents), addresses, watcher)
    except ConfigError as error:
        raise AnsibleFilterError(f"openportal_agents is refused, and no host was touched:\n{error}") from None


def address(host: str, variables: Mapping[str, Any]) -> str:
    return str(variables.get("openportal_address") or variables.get("ansible_host") or host)


def hosts_of(agents: object) -> set[object]:
    """The hosts that are named; whatever else is wrong is told later. To look at a host's variables is slow."""
    words = agents.values() if isinstance(agents, Mapping) else ()
    return {each.get("host") for each in words if isinstance(each, Mapping) and isinstance(each.get("host"), str)}


def monitor(variables: Iterable[Mapping[str, Any]]) -> str | None:
    """The host that watches the agents, if one of their hosts names it."""
    named = (each.get("openportal_monitor") for each in variables)
    return next((str(name) for name in named if name), None)


def plain(value: Any) -> Any:
    """A value without Ansible's own types of text, table and list."""
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, str) else value


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "plan": plan, "drawing": text_drawing, "introductions": introductions, "units": units,
            "openings": openings, "operators": operators, "targets": targets,
        }  # fmt: skip
