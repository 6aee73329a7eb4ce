"""What is remembered of FreeIPA: the groups that are known to exist.

Groups are asked for with every change of a user and change next to never, users the other way round: so groups are
kept, a bounded number of them, those used last, and users are not. A call that FreeIPA answers with "no such group"
makes the one that it named forgotten.
"""

from __future__ import annotations

from openportal.agents.account.freeipa.entries import Group

GROUPS_MAX = 100_000


class KnownGroups:
    """Groups by name; the one that was not used for longest goes first."""

    def __init__(self, most: int = GROUPS_MAX) -> None:
        self._most = most
        self._groups: dict[str, Group] = {}

    def get(self, name: str) -> Group | None:
        found = self._groups.pop(name, None)
        if found is not None:
            self._groups[name] = found
        return found

    def put(self, group: Group) -> None:
        self._groups.pop(group.name, None)
        self._groups[group.name] = group
        if len(self._groups) > self._most:
            del self._groups[next(iter(self._groups))]

    def forget(self, name: str) -> None:
        self._groups.pop(name, None)

    def __len__(self) -> int:
        return len(self._groups)
