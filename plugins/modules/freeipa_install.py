#!/usr/bin/python
"""Run one of FreeIPA's installers with passwords that stand in no process list and in no log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: freeipa_install
short_description: Run ipa-server-install or ipa-client-install
description:
  - The installers take passwords as words of their command line, where every user of the host can read them. Here they
    read their words from standard input.
  - One installer works at a time. If one is at work, as a rollout before has left it, the module waits for its end.
  - Does nothing on a host where it is complete. An installation of a server that was cut short is taken back first.
author: OpenPortal in Python (@openportal)
options:
  program: {description: The installer., type: str, choices: [ipa-server-install, ipa-client-install], required: true}
  words: {description: Its words., type: list, elements: str, required: true}
  secrets: {description: Further options with their values., type: dict, default: {}}
  wait: {description: Whether to wait until it is complete. Who does not asks again later., type: bool, default: true}
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

import fcntl
import json
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# What each says of itself, and where it keeps how far it has come.
LOGS = {"ipa-server-install": "ipaserver-install.log", "ipa-client-install": "ipaclient-install.log"}
STATES = {"ipa-server-install": "ipa", "ipa-client-install": "ipa-client"}
SPEC = {
    "program": {"type": "str", "choices": list(LOGS), "required": True},
    "words": {"type": "list", "elements": "str", "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "wait": {"type": "bool", "default": True},
}
READING = "import json, runpy, sys; sys.argv = json.load(sys.stdin); runpy.run_path(sys.argv[0], run_name='__main__')"
COMMAND = ["/usr/bin/python3", "-c", READING]


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    log = f"/var/log/{LOGS[module.params['program']]}"
    if module.check_mode:
        module.exit_json(changed=True, log=log)
    with Path(f"/run/{module.params['program']}.lock").open("w") as lock:
        changed = took(lock, module.params["wait"]) and "complete = True" not in state(module)
        if changed:
            take_back(module)
            (install if module.params["wait"] else begin)(module, log, lock)
    module.exit_json(changed=changed, log=log)


def took(lock, wait):
    """Take the lock; False if an installer has it and we are not to wait for it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def state(module):
    """How far the installer has come, empty if it never ran."""
    path = Path(f"/var/lib/{STATES[module.params['program']]}/sysrestore/sysrestore.state")
    return path.read_text() if path.exists() else ""


def take_back(module):
    """Undo a server that is there in part; a client's installer does so itself."""
    if module.params["program"] == "ipa-server-install" and "[" in state(module):
        module.run_command(["/usr/sbin/ipa-server-install", "--uninstall", "--unattended"], check_rc=True)


def install(module, log, _lock):
    """Run the installer to its end."""
    code, out, error = module.run_command(COMMAND, data=told(module.params))
    if code:
        last = " ".join((error.strip() or out.strip()).splitlines()[-3:])
        program = module.params["program"]
        module.fail_json(msg=f"{program} ended with code {code}; {log} of this host says why: {last}", log=log)


def begin(module, _log, lock):
    """Leave the installer at work; the lock is its own until it ends."""
    installer = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=[lock.fileno()], start_new_session=True, cwd="/", text=True,
    )  # fmt: skip
    installer.stdin.write(told(module.params))
    installer.stdin.close()


def told(params):
    """The command line of the installer, for its standard input."""
    secrets = [f"--{option}={value}" for option, value in params["secrets"].items()]
    return json.dumps([f"/usr/sbin/{params['program']}", *params["words"], *secrets])


if __name__ == "__main__":
    main()
