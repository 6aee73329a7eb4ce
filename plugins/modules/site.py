#!/usr/bin/python
"""Run one of the `openportal site` commands on a host: JSON in, JSON out, and no secret in a log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site
short_description: Run a command of openportal site
description:
  - Hands a JSON object to C(openportal site) on the host and returns the one that it answers with.
  - What is handed over is in no process list. Ansible logs it on the host, as for every module, but for I(secrets).
author: OpenPortal in Python (@openportal)
options:
  command: {description: The word after C(openportal site)., type: str, required: true}
  executable: {description: The C(openportal) command of the host., type: path, required: true}
  input: {description: What the command reads from its standard input., type: dict, required: true}
  secrets: {description: Secrets of agents, by agent and option; part of what is read., type: dict}
  options: {description: Options of the command., type: list, elements: str, default: []}
"""
EXAMPLES = r"""
- name: The agents of this host are ready
  openportal.facility.site:
    executable: /opt/openportal/current/bin/openportal
    command: ready
    input: "{{ plan }}"
"""
RETURN = r"""
answer:
  description: What the command answered; empty in check mode where it could not be asked.
  type: dict
  returned: always
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SPEC = {
    "command": {"type": "str", "required": True},
    "executable": {"type": "path", "required": True},
    "input": {"type": "dict", "required": True},
    "secrets": {"type": "dict", "no_log": True},
    "options": {"type": "list", "elements": "str", "default": []},
}
CHECKABLE = ("configure",)
READ_ONLY = ("ready", "try")


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    command, executable = module.params["command"], module.params["executable"]
    shown = {"module_args": {"command": command}}
    words = [executable, "site", command, *module.params["options"]]
    if module.check_mode and command not in READ_ONLY:
        if command not in CHECKABLE or not Path(executable).exists():
            module.exit_json(changed=True, answer={}, invocation=shown)
        words.append("--check")
    code, out, error = module.run_command(words, data=json.dumps(told(module.params)))
    try:
        answer = json.loads(out)
    except ValueError:
        module.fail_json(msg=(error or out).strip() or "no answer", invocation=shown)
    if code:
        module.fail_json(msg=" ".join(answer.get("waiting", [])) or error.strip(), answer=answer, invocation=shown)
    module.exit_json(changed=bool(answer.get("changed")), answer=answer, invocation=shown)


def told(params):
    """What the command reads."""
    return params["input"] if params["secrets"] is None else {**params["input"], "secrets": params["secrets"]}


if __name__ == "__main__":
    main()
