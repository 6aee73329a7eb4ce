#!/usr/bin/python
"""The account that op-freeipa works with, in a FreeIPA server: what docs/freeipa.md teaches, made so and kept so."""

from __future__ import annotations

DOCUMENTATION = r"""
module: freeipa_account
short_description: The service account of op-freeipa
description:
  - Runs on a FreeIPA server, as root. Makes the account, its permissions, its privilege and its role, and puts back
    what was changed. The account can make and change users and groups of the agent's own, delete nothing and set no
    password.
  - Sets the password where the account has another one, so that it can be changed by changing it here.
author: OpenPortal in Python (@openportal)
options:
  name: {description: Login name of the account., type: str, required: true}
  password: {description: Its password., type: str, required: true}
  groups:
    description: Patterns of the names of groups that it may make and fill.
    type: list
    elements: str
    required: true
"""
EXAMPLES = r"""
- name: The account of the agent
  openportal.facility.freeipa_account:
    name: op-agent
    password: "{{ vault_agent_password }}"
    groups: [openportal, openportal.blocked, op_*, brics.*]
"""
RETURN = r"""
changes:
  description: What was made or changed.
  type: list
  elements: str
  returned: always
"""

from datetime import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openportal.facility.plugins.module_utils.freeipa import connect, text

SPEC = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "groups": {"type": "list", "elements": "str", "required": True},
}
EXPIRY = datetime(2036, 12, 31, 23, 59, 59)  # the agent never changes its password, so it must not expire
PRIVILEGE, ROLE = "OpenPortal Accounts", "OpenPortal Agent"
OWN_USERS = ["(userclass=openportal)"]
BESIDE = ["System: Add User to default group", "System: Read UPG Definition"]


def permissions(groups):
    """The permissions by name, in the words of `permission-add`."""
    named = ["(|" + "".join(f"(cn={pattern})" for pattern in groups) + ")"]
    users = {"type": "user", "extratargetfilter": OWN_USERS}
    of_groups = {"type": "group", "extratargetfilter": named}
    changeable = ["userclass", "homedirectory", "nsaccountlock"]
    return {
        "OpenPortal - Add Users": {"ipapermright": ["add"], **users},
        "OpenPortal - Change Users": {"ipapermright": ["write"], "attrs": changeable, **users},
        "OpenPortal - Add Groups": {"ipapermright": ["add"], **of_groups},
        "OpenPortal - Change Members": {"ipapermright": ["write"], "attrs": ["member"], **of_groups},
    }


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    api = connect(module)
    if api is None:
        module.exit_json(changed=True, changes=["the server would be made first"])
    account = Account(module, api)
    account.make()
    module.exit_json(changed=bool(account.changes), changes=account.changes)


class Account:
    """Looks before each call, and calls only for what is not so; in check mode it only says so."""

    def __init__(self, module, api):
        self._module, self._api, self._params = module, api, module.params
        self.changes = []

    def make(self):
        name = self._params["name"]
        if self._show("user", name) is None:
            self._call("user_add", name, givenname="OpenPortal", sn="Agent")
        self._set_password(name)
        wanted = permissions(self._params["groups"])
        for permission, options in wanted.items():
            self._permission(permission, options)
        self._member(
            "privilege", PRIVILEGE, "memberof_permission", "privilege_add_permission", permission=[*wanted, *BESIDE]
        )
        self._member("role", ROLE, "memberof_privilege", "role_add_privilege", privilege=[PRIVILEGE])
        self._member("role", ROLE, "member_user", "role_add_member", user=[name])

    def _set_password(self, name):
        if not self._module.check_mode and self._opens(name):
            return
        self._call("user_mod", name, userpassword=self._params["password"])
        self._call("user_mod", name, krbpasswordexpiration=EXPIRY)

    def _opens(self, name):
        """Whether the account has this password."""
        import ldap

        env = self._api.env
        connection = ldap.initialize(env.ldap_uri)
        try:
            connection.simple_bind_s(f"uid={name},{env.container_user},{env.basedn}", self._params["password"])
        except (ldap.INVALID_CREDENTIALS, ldap.UNWILLING_TO_PERFORM, ldap.INAPPROPRIATE_AUTH):
            return False
        return True

    def _permission(self, name, options):
        held = self._show("permission", name)
        if held is None:
            self._call("permission_add", name, **options)
        elif any(text(held.get(word)) != text(value) for word, value in options.items()):
            self._call("permission_mod", name, **options)

    def _member(self, kind, name, held_as, verb, **members):
        """Something of a kind, made if it is not there, that holds these members."""
        held = self._show(kind, name)
        if held is None:
            self._call(f"{kind}_add", name)
        ((word, wanted),) = members.items()
        missing = sorted(set(wanted) - set(text((held or {}).get(held_as))))
        if missing:
            self._call(verb, name, **{word: missing})

    def _show(self, kind, name):
        from ipalib.errors import NotFound

        try:
            return self._api.Command[f"{kind}_show"](name, all=True)["result"]
        except NotFound:
            return None

    def _call(self, verb, name, **options):
        self.changes.append(f"{verb} {name}")
        if not self._module.check_mode:
            self._api.Command[verb](name, **options)


if __name__ == "__main__":
    main()
