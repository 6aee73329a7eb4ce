#!/usr/bin/python
"""Run one of FreeIPA's installers with passwords that stand in no process list and in no log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: freeipa_install
short_description: Run ipa-server-install or ipa-client-install
description:
  - The installers take passwords as words of their command line, where every user of the host can read them. Here they
    read their words from standard input.
author: OpenPortal in Python (@openportal)
options:
  program: {description: The installer., type: str, choices: [ipa-server-install, ipa-client-install], required: true}
  words: {description: Its words., type: list, elements: str, required: true}
  secrets: {description: Further options with their values., type: dict, default: {}}
"""
EXAMPLES = r"""
- name: Enrol this host
  openportal.facility.freeipa_install:
    program: ipa-client-install
    words: [--unattended, --domain=example.org]
    secrets: {password: "{{ one_time_password }}"}
"""
RETURN = r"""
log:
  description: The file of this host in which the installer says what it did.
  type: str
  returned: always
"""

import json

from ansible.module_utils.basic import AnsibleModule

PROGRAMS = {"ipa-server-install": "ipaserver-install.log", "ipa-client-install": "ipaclient-install.log"}
SPEC = {
    "program": {"type": "str", "choices": list(PROGRAMS), "required": True},
    "words": {"type": "list", "elements": "str", "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
}
READING = "import json, runpy, sys; sys.argv = json.load(sys.stdin); runpy.run_path(sys.argv[0], run_name='__main__')"


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    program = module.params["program"]
    log = f"/var/log/{PROGRAMS[program]}"
    if not module.check_mode:
        secrets = [f"--{option}={value}" for option, value in module.params["secrets"].items()]
        words = [f"/usr/sbin/{program}", *module.params["words"], *secrets]
        code, out, error = module.run_command(["/usr/bin/python3", "-c", READING], data=json.dumps(words))
        if code:
            last = " ".join((error.strip() or out.strip()).splitlines()[-3:])
            module.fail_json(msg=f"{program} ended with code {code}; {log} of this host says why: {last}", log=log)
    module.exit_json(changed=True, log=log)


if __name__ == "__main__":
    main()
