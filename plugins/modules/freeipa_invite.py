#!/usr/bin/python
"""One-time passwords with which hosts enrol in a FreeIPA realm, made in its server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: freeipa_invite
short_description: One-time passwords for hosts that are to enrol
description:
  - Runs on a FreeIPA server, as root. Makes an entry for each host and gives it a new password, which is good for one
    enrolment. A host that was enrolled before, and was lost, is taken out of the realm first.
  - The answer holds the passwords, so a task with this module needs C(no_log).
author: OpenPortal in Python (@openportal)
options:
  hosts: {description: Full names of the hosts., type: list, elements: str, required: true}
"""
EXAMPLES = r"""
- name: Passwords for two nodes
  openportal.facility.freeipa_invite:
    hosts: [node1.example.org, node2.example.org]
  no_log: true
"""
RETURN = r"""
passwords:
  description: By the host's full name, its password; empty in check mode.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openportal.facility.plugins.module_utils.freeipa import connect

SPEC = {"hosts": {"type": "list", "elements": "str", "required": True}}


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    hosts = module.params["hosts"]
    api = connect(module) if hosts else None
    passwords = {} if api is None or module.check_mode else {host: invite(api.Command, host) for host in hosts}
    module.exit_json(changed=bool(hosts), passwords=passwords)


def invite(command, host):
    """A new password of a host."""
    from ipalib.errors import NotFound

    try:
        held = command.host_show(host)["result"]
    except NotFound:
        return command.host_add(host, random=True, force=True)["result"]["randompassword"]
    if held.get("has_keytab"):
        command.host_disable(host)
    return command.host_mod(host, random=True)["result"]["randompassword"]


if __name__ == "__main__":
    main()
