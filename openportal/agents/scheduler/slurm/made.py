"""What this agent made, by what its own ledger says: projects, their users and their limits. PURE.

Every instruction that was carried out to its end counts, in order; one that failed does not, though it may have left
something behind: that shows as foreign until a repeat of it succeeds. What was removed keeps its account and its
association in Slurm, so it is remembered as removed. Whoever was erased from the ledger is not in it any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from openportal.errors import GrammarError, InvalidJob
from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.grammar.instructions import parse_instruction
from openportal.templemeads.events import Ended, Received
from openportal.templemeads.ledger import Recorded


@dataclass(slots=True)
class Made:
    """True for what is there, False for what was removed; limits in node seconds."""

    projects: dict[ProjectMapping, bool] = field(default_factory=dict)
    users: dict[UserMapping, bool] = field(default_factory=dict)
    limits: dict[ProjectMapping, int] = field(default_factory=dict)

    def carried_out(self, instruction: Instruction) -> None:
        match instruction:
            case op.AddLocalProject(mapping=project):
                self.projects[project] = True
            case op.RemoveLocalProject(mapping=project):
                self.projects[project] = False
            case op.AddLocalUser(mapping=user):
                self.users[user] = True
                self.projects[ProjectMapping(user.user.project_identifier, user.local_group)] = True
            case op.RemoveLocalUser(mapping=user):
                self.users[user] = False
            case op.SetLocalLimit(mapping=project, limit=limit):
                self.limits[project] = limit.usage.seconds


def made_of(records: Iterable[Recorded]) -> Made:
    """From the events of a ledger, in order."""
    made = Made()
    asked: dict[tuple[str, str], str] = {}
    for record in records:
        event = record.event
        if isinstance(event, Received) and event.command is not None:
            asked[record.stream, event.id] = event.command
        elif isinstance(event, Ended):
            command = asked.pop((record.stream, event.id), None)
            if command is not None and event.kind is None:
                _carried_out(made, command)
    return made


def _carried_out(made: Made, command: str) -> None:
    try:
        made.carried_out(parse_instruction(command.partition(" ")[2]))
    except (GrammarError, InvalidJob):  # of a version with other words; it was carried out by that one
        return
