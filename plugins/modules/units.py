#!/usr/bin/python
"""Units of a host: enabled, and running with what is on the disk now; and no others of their kind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Run units as they are declared
description:
  - Enables and starts each unit. One that runs is restarted if one of its files is younger than its process, so an
    interrupted rollout is made good by the next one.
  - Stops and disables units that match a pattern and are not listed.
  - One step for all units of a host. They are started in the order in which they are listed.
author: OpenPortal in Python (@openportal)
options:
  units:
    description: The units that are to run.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the unit with its suffix., type: str, required: true}
      files: {description: What it reads when it starts., type: list, elements: path, default: []}
  only: {description: Pattern of unit names; one that matches and is not listed is stopped., type: str, default: ""}
"""
EXAMPLES = r"""
- name: A service runs with its configuration of now
  openportal.facility.units:
    units:
      - {name: slurmctld.service, files: [/etc/slurm/slurm.conf]}
"""
RETURN = r"""
started:
  description: Units that were started or restarted.
  type: list
  elements: str
  returned: always
stopped:
  description: Units that were stopped and disabled.
  type: list
  elements: str
  returned: always
"""

from datetime import datetime, timezone
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SPEC = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
        },
    },
    "only": {"type": "str", "default": ""},
}
WANTS = Path("/etc/systemd/system/multi-user.target.wants")
SHOWN = "--property=ActiveState,UnitFileState,ExecMainStartTimestamp"


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    units = {unit["name"]: unit["files"] for unit in module.params["units"]}
    shown = states(module, list(units))
    wanted = WANTS.glob(module.params["only"]) if module.params["only"] else ()
    unwanted = sorted({link.name for link in wanted} - set(units))
    new = [name for name in units if shown[name].get("UnitFileState") != "enabled"]
    stale = [name for name, files in units.items() if is_stale(files, began(shown[name]))]
    if not module.check_mode:
        change(module, unwanted, new, stale)
    module.exit_json(changed=bool(unwanted or new or stale), started=stale, stopped=unwanted)


def change(module, unwanted, new, stale):
    """Stop, enable and restart, each in one call."""
    if unwanted:
        systemctl(module, "disable", "--now", *unwanted)
    if unwanted or new or stale:
        systemctl(module, "daemon-reload")
    if new:
        systemctl(module, "enable", *new)
    if stale:
        systemctl(module, "restart", *stale)


def systemctl(module, *words):
    return module.run_command(["systemctl", *words], check_rc=True)[1]


def states(module, names):
    """Name -> what systemd shows of the unit."""
    text = systemctl(module, "show", SHOWN, "--timestamp=us+utc", *names) if names else ""
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return dict(zip(names, blocks))


def began(shown):
    """When a unit's process began, in seconds since 1970; None if it is not active.

    systemd shows it such as `Tue 2026-11-24 11:46:54.123456 UTC`.
    """
    if shown.get("ActiveState") != "active":
        return None
    moment = datetime.strptime(shown["ExecMainStartTimestamp"], "%a %Y-%m-%d %H:%M:%S.%f UTC")
    return moment.replace(tzinfo=timezone.utc).timestamp()


def is_stale(files, moment):
    """Whether the unit does not run, or a file of it has changed since it began."""
    return moment is None or any(Path(file).exists() and Path(file).stat().st_mtime > moment for file in files)


if __name__ == "__main__":
    main()
