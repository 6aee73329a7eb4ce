"""A FreeIPA in memory for fast tests of what asks it: the same answers to the same calls as the recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from openportal.agents.account.freeipa.calls import IS_MEMBER, IS_NO_MEMBER, Answer, Call
from openportal.errors import JobError


@dataclass
class Double:
    """Users and groups by name; `failing` may raise before a request is carried out."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[list[str]] = field(default_factory=list)
    failing: Callable[[list[str]], JobError | None] = lambda methods: None

    async def send(self, calls: Sequence[Call]) -> list[Answer]:
        methods = [call.method for call in calls]
        self.requests.append(methods)
        error = self.failing(methods)
        if error is not None:
            raise error
        return [getattr(self, f"_{call.method}")(call) for call in calls]

    def of(self, user: str) -> set[str]:
        return {name for name, group in self.groups.items() if user in group["member_user"]}

    def _entry(self, user: str) -> dict[str, Any]:
        return {**self.users[user], "memberof_group": ["ipausers", *sorted(self.of(user))]}

    def _ping(self, call: Call) -> Answer:
        return Answer({"summary": "IPA server"})

    def _user_show(self, call: Call) -> Answer:
        if call.name not in self.users:
            return Answer(None, 4001, f"{call.name}: user not found")
        return Answer({"result": self._entry(call.name), "value": call.name, "summary": None})

    def _user_find(self, call: Call) -> Answer:
        groups, class_ = set(call.options.get("in_group", ())), call.options.get("userclass")
        here = [name for name in self.users if groups <= self.of(name)]
        found = [self._entry(n) for n in here if class_ in (None, *self.users[n].get("userclass", ()))]
        return Answer({"result": found, "count": len(found), "truncated": False})

    def _user_add(self, call: Call) -> Answer:
        if call.name in self.users:
            return Answer(None, 4002, f'user with name "{call.name}" already exists')
        given = {name: value if isinstance(value, list) else [value] for name, value in call.options.items()}
        home = {"homedirectory": [f"/home/{call.name}"]}
        self.users[call.name] = {"uid": [call.name], "nsaccountlock": False, **home, **given}
        return Answer({"result": {**self._entry(call.name), "dn": f"{call.name} in full"}, "value": call.name})

    def _user_mod(self, call: Call) -> Answer:
        if call.name not in self.users:
            return Answer(None, 4001, f"{call.name}: user not found")
        given = {name: value if isinstance(value, list) else [value] for name, value in call.options.items()}
        if all(self.users[call.name].get(name) == value for name, value in given.items()):
            return Answer(None, 4202, "no modifications to be performed")
        self.users[call.name] |= given
        return Answer({"result": self._entry(call.name), "value": call.name})

    def _user_enable(self, call: Call) -> Answer:
        return self._switch(call, False, 4009, "This entry is already enabled")

    def _user_disable(self, call: Call) -> Answer:
        return self._switch(call, True, 4010, "This entry is already disabled")

    def _switch(self, call: Call, locked: bool, code: int, message: str) -> Answer:
        if call.name not in self.users:
            return Answer(None, 4001, f"{call.name}: user not found")
        if self.users[call.name]["nsaccountlock"] is locked:
            return Answer(None, code, message)
        self.users[call.name]["nsaccountlock"] = locked
        return Answer({"result": True, "value": call.name})

    def _group_show(self, call: Call) -> Answer:
        if call.name not in self.groups:
            return Answer(None, 4001, f"{call.name}: group not found")
        return Answer({"result": {"cn": [call.name], "description": self.groups[call.name]["description"]}})

    def _group_find(self, call: Call) -> Answer:
        found = [{"cn": [name], **group} for name, group in self.groups.items() if call.name in name]
        return Answer({"result": found, "count": len(found), "truncated": False})

    def _group_add(self, call: Call) -> Answer:
        if call.name in self.groups:
            return Answer(None, 4002, f'group with name "{call.name}" already exists')
        self.groups[call.name] = {"description": [call.options["description"]], "member_user": []}
        return Answer({"result": {"cn": [call.name], "description": [call.options["description"]]}})

    def _group_mod(self, call: Call) -> Answer:
        if call.name not in self.groups:
            return Answer(None, 4001, f"{call.name}: group not found")
        group = self.groups[call.name]
        if "addattr" in call.options:
            return self._write_members(group, call)
        group["description"] = [call.options["description"]]
        return Answer({"result": {"cn": [call.name], "description": [call.options["description"]]}})

    def _write_members(self, group: dict[str, Any], call: Call) -> Answer:
        """All at once, and nobody looks whether they are there."""
        full = [text.removeprefix("member=").removesuffix(" in full") for text in call.options["addattr"]]
        added = [name for name in full if name not in group["member_user"]]
        group["member_user"] = [*group["member_user"], *added]
        done = Answer({"result": {"cn": [call.name], "description": group["description"]}})
        return done if added else Answer(None, 4202, "no modifications to be performed")

    def _group_add_member(self, call: Call) -> Answer:
        return self._members(call, IS_MEMBER, lambda members, user: None if user in members else [*members, user])

    def _group_remove_member(self, call: Call) -> Answer:
        def without(members: list[str], user: str) -> list[str] | None:
            return [name for name in members if name != user] if user in members else None

        return self._members(call, IS_NO_MEMBER, without)

    def _members(self, call: Call, already: str, change: Callable[[list[str], str], list[str] | None]) -> Answer:
        if call.name not in self.groups:
            return Answer(None, 4001, f"{call.name}: group not found")
        failed = []
        for user in call.members:
            changed = change(self.groups[call.name]["member_user"], user)
            if user not in self.users:
                failed.append([user, "no such entry"])
            elif changed is None:
                failed.append([user, already])
            else:
                self.groups[call.name]["member_user"] = changed
        entry: dict[str, Any] = {"cn": [call.name]}
        if call.options.get("no_members") is False:
            entry["member_user"] = list(self.groups[call.name]["member_user"])
        done = len(call.members) - len(failed)
        return Answer({"result": entry, "completed": done, "failed": {"member": {"user": failed}}})
