"""One change at a time per subject, in the order of acceptance.

A change of a user (`alice.demo.brics`) waits for earlier changes of the same user and of its project; a change of a
project (`demo.brics`) waits for every earlier change in it. Changes of different users of a project go side by side.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


def project_of(subject: str) -> str:
    """The project of a user or project identifier, in its printed form."""
    return ".".join(subject.split(".")[-2:])


def conflict(one: str, other: str) -> bool:
    """Whether two subjects may not be changed at the same time."""
    project = project_of(one)
    return project == project_of(other) and (one == other or project in (one, other))


class Lanes(Generic[T]):
    """Who waits for whom."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[T, str]] = {}  # project -> {work: subject}, in order

    def enter(self, work: T, subject: str) -> None:
        self._lanes.setdefault(project_of(subject), {})[work] = subject

    def free(self, work: T, subject: str) -> bool:
        """Whether nothing earlier stands in the way."""
        for earlier, other in self._lanes[project_of(subject)].items():
            if earlier == work:
                return True
            if conflict(subject, other):
                return False
        raise KeyError(work)

    def leave(self, work: T, subject: str) -> list[T]:
        """Take the work out; returns those behind it that it may have held up, in order."""
        project = project_of(subject)
        lane = self._lanes[project]
        behind = list(lane)[list(lane).index(work) + 1 :] if len(lane) > 1 else []
        held = [later for later in behind if conflict(subject, lane[later])]
        del lane[work]
        if not lane:
            del self._lanes[project]
        return held
