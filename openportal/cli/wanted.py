"""Which events an operator wants to see: the one filter of every command that reads ledgers. Pure.

Not every event says whom it is about (`Started`, `Joined`, `Late` name a job only), nor which key asked. So what is
wanted of a person, a project or a key is wanted job by job: a `Picker` first learns the jobs from the events that do
say it, over all the ledgers that are looked at, and then matches by job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from openportal.templemeads.events import Sent
from openportal.templemeads.ledger import Recorded


class Wanted(NamedTuple):
    """Which events to show; None means any."""

    jobs: Collection[str] | None = None
    user: str | None = None
    project: str | None = None
    peer: str | None = None
    key: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def by_job(self) -> bool:
        """Whether events are wanted for the job that they belong to."""
        return not (self.user is None and self.project is None and self.key is None)

    def in_time(self, at: float) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class Picker:
    """Matches events; `learn` has to have seen the earlier events of the ledgers."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._of_user: set[str] = set()
        self._of_project: set[str] = set()
        self._of_key: set[str] = set()

    def learn(self, records: Iterable[Recorded]) -> None:
        """Note the jobs that are about the person or the project, or that the key asked for."""
        if not self.wanted.by_job:
            return
        user, project, key = self.wanted.user, self.wanted.project, self.wanted.key
        for recorded in records:
            event = recorded.event
            subject, job = getattr(event, "subject", None), getattr(event, "id", "")
            if subject is not None:
                if subject == user:
                    self._of_user.add(job)
                if project is not None and is_of_project(subject, project):
                    self._of_project.add(job)
            if key is not None and isinstance(event, Sent) and event.client == key:
                self._of_key.add(job)

    def matches(self, recorded: Recorded) -> bool:
        wanted, job = self.wanted, getattr(recorded.event, "id", None)
        return (
            (wanted.jobs is None or job in wanted.jobs)
            and (wanted.user is None or job in self._of_user)
            and (wanted.project is None or job in self._of_project)
            and (wanted.key is None or job in self._of_key)
            and (wanted.peer is None or is_of_peer(recorded.stream, wanted.peer))
            and wanted.in_time(recorded.at)
        )


def is_of_project(subject: str, project: str) -> bool:
    """Whether a subject is this project, or one of its users."""
    return subject == project or subject.endswith(f".{project}")


def is_of_peer(stream: str, peer: str) -> bool:
    """Whether a stream is the board shared with a neighbour; `peer` is its name, or its name and zone."""
    return stream == f"board:{peer}" or stream.startswith(f"board:{peer}@")
