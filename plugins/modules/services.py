#!/usr/bin/python
"""The units of a host's agents: running with what is on the disk now, and those of other agents not at all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: services
short_description: Run the agents of a host as they are declared
description:
  - Enables and starts the unit of each agent. One that runs is restarted if its file, its unit or its drop-in is
    younger than its process, so an interrupted rollout is made good by the next one.
  - Stops and disables units of agents that are not listed.
  - One step for all agents of a host.
author: OpenPortal in Python (@openportal)
options:
  agents: {description: Names of the agents that are to run., type: list, elements: str, required: true}
  restart: {description: Restart these whatever their age., type: list, elements: str, default: []}
  others: {description: Whether units of agents that are not listed are left alone., type: bool, default: false}
  folder: {description: Where the agents' files are., type: path, required: true}
  unit: {description: Name of the template unit, without C(@.service)., type: str, default: openportal-agent}
"""
EXAMPLES = r"""
- name: The agents of this host run
  openportal.facility.services:
    agents: [brics, bridge]
    folder: /etc/openportal
"""
RETURN = r"""
started:
  description: Agents that were started or restarted.
  type: list
  elements: str
  returned: always
stopped:
  description: Agents that were stopped and disabled.
  type: list
  elements: str
  returned: always
"""

from datetime import datetime, timezone
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SPEC = {
    "agents": {"type": "list", "elements": "str", "required": True},
    "restart": {"type": "list", "elements": "str", "default": []},
    "others": {"type": "bool", "default": False},
    "folder": {"type": "path", "required": True},
    "unit": {"type": "str", "default": "openportal-agent"},
}
SYSTEM = Path("/etc/systemd/system")


class Units:
    """systemd, as far as the agents' units go."""

    def __init__(self, module):
        self.module = module
        self.template = module.params["unit"]
        self.folder = Path(module.params["folder"])

    def name(self, agent):
        return f"{self.template}@{agent}.service"

    def run(self, *words):
        return self.module.run_command(["systemctl", *words], check_rc=True)[1]

    def enabled(self):
        """The agents that start with the host."""
        links = SYSTEM.glob(f"multi-user.target.wants/{self.template}@*.service")
        return {link.stem.partition("@")[2] for link in links}

    def began(self, agents):
        """Agent -> when its process began, in seconds since 1970; None if it does not run."""
        shown = ("--property=ActiveState,ExecMainStartTimestamp", "--timestamp=us+utc")
        text = self.run("show", *shown, *map(self.name, agents)) if agents else ""
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
        return dict(zip(agents, map(moment, blocks)))

    def is_stale(self, agent, began):
        """Whether what the agent was started with has changed since."""
        unit = SYSTEM / f"{self.template}@.service"
        drop_in = SYSTEM / f"{self.name(agent)}.d" / "agent.conf"
        parts = (unit, drop_in, self.folder / f"{agent}.toml")
        return any(part.exists() and part.stat().st_mtime > began for part in parts)


def moment(shown):
    """When a unit's process began, such as `Tue 2026-11-24 11:46:54.123456 UTC`; None if the unit is not active."""
    if shown.get("ActiveState") != "active":
        return None
    began = datetime.strptime(shown["ExecMainStartTimestamp"], "%a %Y-%m-%d %H:%M:%S.%f UTC")
    return began.replace(tzinfo=timezone.utc).timestamp()


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    units, agents = Units(module), module.params["agents"]
    enabled = units.enabled()
    began = units.began(agents)
    unwanted = [] if module.params["others"] else sorted(enabled - set(agents))
    new = [agent for agent in agents if agent not in enabled]
    forced = set(module.params["restart"])
    stale = [a for a in agents if began[a] is None or a in forced or units.is_stale(a, began[a])]
    if not module.check_mode:
        if unwanted:
            units.run("disable", "--now", *map(units.name, unwanted))
        if unwanted or new or stale:
            units.run("daemon-reload")
        if new:
            units.run("enable", *map(units.name, new))
        if stale:
            units.run("restart", *map(units.name, stale))
    module.exit_json(changed=bool(unwanted or new or stale), started=stale, stopped=unwanted)


if __name__ == "__main__":
    main()
