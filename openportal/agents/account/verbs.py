"""What every account agent answers: its leaf has a method of the verb's name for each of these."""

from __future__ import annotations

from collections.abc import Mapping

from openportal.grammar import instructions as op
from openportal.grammar.declaration import Instruction
from openportal.templemeads.handlers import Handler

VERBS: tuple[type[Instruction], ...] = (
    op.GetProjects,
    op.GetProjectMapping,
    op.GetUsers,
    op.GetUserMapping,
    op.IsExistingProject,
    op.IsExistingUser,
    op.IsProtectedUser,
    op.IsBlockedUser,
    op.IsLocalUserAdded,
    op.IsLocalUserRemoved,
    op.IsLocalProjectAdded,
    op.IsLocalProjectRemoved,
    op.AddProject,
    op.RemoveProject,
    op.AddUser,
    op.RemoveUser,
    op.BlockUser,
    op.UnblockUser,
    op.UpdateHomedir,
)


def handlers_of(accounts: object) -> Mapping[type[Instruction], Handler]:
    """The handlers of a system of accounts."""
    return {kind: getattr(accounts, kind.verb) for kind in VERBS}
