"""Every instruction there is: one declaration per verb, in the form that `declaration` explains.

    command      =  destination " " instruction            brics.aip1.clusters.shared add_user alice.demo.brics
    instruction  =  verb *(" " argument)
    submit       =  "submit " destination " " instruction  the portal puts the inner instruction on its way

Verbs are case-sensitive. `VERBS` maps every word that the network accepts, aliases included, to its class; what is read
under an alias is printed under the verb, and an award or a limit is printed in its normal form. Texts are accepted and
refused as by the published client of 0.94, but a range of dates stays as it was written, and one that is left out stays
out: what they mean depends on the day (see `dated`). Everything that is wrong with a text raises GrammarError.

Who only passes an instruction on reads neither it nor the documents in it: see `split_command` and `subject_of`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import date
from types import MappingProxyType
from typing import Final, cast

from openportal.errors import GrammarError
from openportal.grammar.arguments import UsageLimit, Word, WrittenRange
from openportal.grammar.awards import AwardDetails
from openportal.grammar.declaration import PARSE, Description, declare
from openportal.grammar.declaration import Instruction as Instruction
from openportal.grammar.destination import Destination, Destinations
from openportal.grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    Volume,
)
from openportal.grammar.storage import QuotaLimit
from openportal.grammar.text import WHITESPACE, quote, rejoin

SUBMIT_DEPTH_LIMIT: Final = 8

_starts_too_deep = re.compile(rf"(?:submit [^ ]* ){{{SUBMIT_DEPTH_LIMIT}}}").match
_split_first_word = re.compile(
    rf"[{WHITESPACE}]*([^{WHITESPACE}]+)[{WHITESPACE}]+([^{WHITESPACE}].*)", re.DOTALL
).fullmatch


def parse_command(text: str) -> tuple[Destination, Instruction]:
    """Where a job goes and what it asks for. Runs of whitespace count as one space, even inside documents."""
    destination, _, instruction = rejoin(text).partition(" ")
    return Destination.parse(destination), parse_instruction(instruction)


def split_command(text: str) -> tuple[Destination, str]:
    """Where a job goes, and its instruction exactly as it stands there: for a hop that only passes the job on."""
    words = _split_first_word(text)
    if words is None:
        raise GrammarError(f"a command is a destination and an instruction: {quote(text)}")
    return Destination.parse(words[1]), words[2]


def parse_instruction(text: str) -> Instruction:
    """What a job asks for; the words must be separated as `declaration` says."""
    verb, _, arguments = text.partition(" ")
    kind = VERBS.get(verb)
    if kind is None:
        raise GrammarError(f"{quote(verb)} is not an instruction" if verb else f"no instruction in {quote(text)}")
    return kind.parse_arguments(arguments)


def subject_of(text: str) -> str | None:
    """Whom an instruction is about, such as `demo.brics`, without reading its documents.

    None if it is about nobody, or in words that we do not know.
    """
    verb, _, arguments = text.partition(" ")
    kind = VERBS.get(verb)
    try:
        return None if kind is None else kind.subject_in(arguments)
    except GrammarError:
        return None


def describe() -> tuple[Description, ...]:
    """The table of verbs for the documentation, in the order of their declarations."""
    return tuple(kind.describe() for kind in dict.fromkeys(VERBS.values()))


def _parse_submitted(text: str) -> Instruction:
    # Refused before it is read: the depth of a hostile text must not become the depth of our stack.
    if _starts_too_deep(text):
        raise GrammarError(f"more than {SUBMIT_DEPTH_LIMIT} submits within each other")
    return parse_instruction(text)


class _OfInstruction:
    """An attribute that a submit takes from the instruction it carries; `declared` is what the class shows."""

    def __init__(self, name: str, declared: object) -> None:
        self._name = name
        self._declared = declared

    def __get__(self, submit: Submit | None, owner: type[Submit]) -> object:
        return self._declared if submit is None else getattr(submit.instruction, self._name)


# Routing.


@declare
class Submit(Instruction, verb="submit"):
    """Hand an instruction to the portal, which puts it on its way to the destination."""

    result_type = cast(str, _OfInstruction("result_type", "that of the instruction"))
    changes = cast(bool, _OfInstruction("changes", True))

    destination: Destination
    instruction: Instruction = field(metadata={PARSE: _parse_submitted})

    @classmethod
    def subject_in(cls, text: str) -> str | None:
        """That of the instruction it carries."""
        inner = text.partition(" ")[2]
        return None if _starts_too_deep(inner) else subject_of(inner)

    def __init__(self, destination: Destination, instruction: Instruction) -> None:
        # Not super(): a slotted dataclass is a second class, which the implicit cell of super() does not know.
        Instruction.__init__(self, destination, instruction)
        inner, depth = instruction, 1
        while isinstance(inner, Submit):
            inner, depth = inner.instruction, depth + 1
        if depth > SUBMIT_DEPTH_LIMIT:
            raise GrammarError(f"more than {SUBMIT_DEPTH_LIMIT} submits within each other")


# Awards and projects, as the portal's side knows them.


@declare
class CreateProject(Instruction, verb="create_project", aliases=("create_award",), result="ProjectMapping"):
    """Open an award for a project."""

    project: ProjectIdentifier
    award: AwardDetails


@declare
class UpdateProject(Instruction, verb="update_project", aliases=("update_award",), result="ProjectMapping"):
    """Change the award of a project."""

    project: ProjectIdentifier
    award: AwardDetails


@declare
class RemoveProject(Instruction, verb="remove_project", aliases=("remove_award",), result="ProjectMapping"):
    """Close a project."""

    project: ProjectIdentifier


@declare
class GetProject(Instruction, verb="get_project", result="ProjectDetails"):
    """The details of a project's award."""

    project: ProjectIdentifier


@declare
class GetAward(Instruction, verb="get_award", result="ProjectDetails"):
    """The details of a project's award, under its older name."""

    project: ProjectIdentifier


@declare
class GetAwards(Instruction, verb="get_awards", aliases=("list_awards",), result="Vec<ProjectDetails>"):
    """The details of every award of a portal."""

    portal: PortalIdentifier


@declare
class GetProjects(Instruction, verb="get_projects", result="Vec<ProjectMapping>"):
    """The mappings of every project of a portal."""

    portal: PortalIdentifier


@declare
class GetProjectMapping(Instruction, verb="get_project_mapping", result="ProjectMapping"):
    """The group that stands for a project."""

    project: ProjectIdentifier


@declare
class GetUsers(Instruction, verb="get_users", result="Vec<UserMapping>"):
    """The mappings of every user of a project."""

    project: ProjectIdentifier


# Projects and users on a machine.


@declare
class AddProject(Instruction, verb="add_project", result="ProjectMapping"):
    """Add a project to a machine."""

    project: ProjectIdentifier


@declare
class AddUser(Instruction, verb="add_user", result="UserMapping"):
    """Add a user to a machine."""

    user: UserIdentifier


@declare
class RemoveUser(Instruction, verb="remove_user", result="UserMapping"):
    """Remove a user from a machine."""

    user: UserIdentifier


@declare
class BlockUser(Instruction, verb="block_user", result="UserMapping"):
    """Keep a user from logging in and from running jobs."""

    user: UserIdentifier


@declare
class UnblockUser(Instruction, verb="unblock_user", result="UserMapping"):
    """Lift the block of a user."""

    user: UserIdentifier


@declare
class BlockProject(Instruction, verb="block_project", result="Vec<UserMapping>"):
    """Block every user of a project; the answer lists those that were blocked."""

    project: ProjectIdentifier


@declare
class UnblockProject(Instruction, verb="unblock_project", result="Vec<UserMapping>"):
    """Lift the blocks of a project's users; the answer lists those that were unblocked."""

    project: ProjectIdentifier


@declare
class GetUserMapping(Instruction, verb="get_user_mapping", result="UserMapping"):
    """The account and group that stand for a user."""

    user: UserIdentifier


# Questions about projects and users.


@declare
class IsExistingProject(Instruction, verb="is_existing_project", result="bool"):
    """Whether the account system knows a project."""

    project: ProjectIdentifier


@declare
class IsExistingUser(Instruction, verb="is_existing_user", result="bool"):
    """Whether the account system knows a user."""

    user: UserIdentifier


@declare
class IsProtectedUser(Instruction, verb="is_protected_user", result="bool"):
    """Whether a user is one that must never be changed."""

    user: UserIdentifier


@declare
class IsBlockedProject(Instruction, verb="is_blocked_project", result="bool"):
    """Whether a project has users and all of them are blocked."""

    project: ProjectIdentifier


@declare
class IsBlockedUser(Instruction, verb="is_blocked_user", result="bool"):
    """Whether a user is blocked."""

    user: UserIdentifier


@declare
class IsProjectAdded(Instruction, verb="is_project_added", result="bool"):
    """Whether a project is on a machine in full."""

    project: ProjectIdentifier


@declare
class IsProjectRemoved(Instruction, verb="is_project_removed", result="bool"):
    """Whether a project is gone from a machine in full."""

    project: ProjectIdentifier


@declare
class IsUserAdded(Instruction, verb="is_user_added", result="bool"):
    """Whether a user is on a machine in full."""

    user: UserIdentifier


@declare
class IsUserRemoved(Instruction, verb="is_user_removed", result="bool"):
    """Whether a user is gone from a machine in full."""

    user: UserIdentifier


# What an instance asks of its own leaves.


@declare
class AddLocalProject(Instruction, verb="add_local_project", result="None"):
    """Add a mapped project to one system."""

    mapping: ProjectMapping


@declare
class AddLocalUser(Instruction, verb="add_local_user", result="None"):
    """Add a mapped user to one system."""

    mapping: UserMapping


@declare
class RemoveLocalProject(Instruction, verb="remove_local_project", result="None"):
    """Remove a mapped project from one system."""

    mapping: ProjectMapping


@declare
class RemoveLocalUser(Instruction, verb="remove_local_user", result="None"):
    """Remove a mapped user from one system."""

    mapping: UserMapping


@declare
class IsLocalProjectAdded(Instruction, verb="is_local_project_added", result="bool"):
    """Whether a mapped project is on one system."""

    mapping: ProjectMapping


@declare
class IsLocalProjectRemoved(Instruction, verb="is_local_project_removed", result="bool"):
    """Whether a mapped project is gone from one system."""

    mapping: ProjectMapping


@declare
class IsLocalUserAdded(Instruction, verb="is_local_user_added", result="bool"):
    """Whether a mapped user is on one system."""

    mapping: UserMapping


@declare
class IsLocalUserRemoved(Instruction, verb="is_local_user_removed", result="bool"):
    """Whether a mapped user is gone from one system."""

    mapping: UserMapping


# Directories.


@declare
class GetHomeDir(Instruction, verb="get_home_dir", result="String"):
    """The home directory of a user."""

    user: UserIdentifier


@declare
class GetUserDirs(Instruction, verb="get_user_dirs", result="Vec<String>"):
    """Every directory of a user."""

    user: UserIdentifier


@declare
class GetProjectDirs(Instruction, verb="get_project_dirs", result="Vec<String>"):
    """Every directory of a project."""

    project: ProjectIdentifier


@declare
class GetLocalHomeDir(Instruction, verb="get_local_home_dir", result="String"):
    """The home directory of a mapped user."""

    mapping: UserMapping


@declare
class GetLocalUserDirs(Instruction, verb="get_local_user_dirs", result="Vec<String>"):
    """Every directory of a mapped user."""

    mapping: UserMapping


@declare
class GetLocalProjectDirs(Instruction, verb="get_local_project_dirs", result="Vec<String>"):
    """Every directory of a mapped project."""

    mapping: ProjectMapping


@declare
class UpdateHomedir(Instruction, verb="update_homedir", result="String", extra="ignored"):
    """Record the home directory of a user in the account system."""

    user: UserIdentifier
    path: Word


# Usage and storage reports; without a range, usage is of this week and storage of today.


@declare
class GetUsageReport(Instruction, verb="get_usage_report", result="ProjectUsageReport", extra="ignored"):
    """The usage of a project."""

    project: ProjectIdentifier
    range: WrittenRange | None = None


@declare
class GetUsageReports(Instruction, verb="get_usage_reports", result="UsageReport", extra="ignored"):
    """The usage of every project of a portal."""

    portal: PortalIdentifier
    range: WrittenRange | None = None


@declare
class GetLocalUsageReport(Instruction, verb="get_local_usage_report", result="ProjectUsageReport", extra="ignored"):
    """The usage of a mapped project, by its scheduler."""

    mapping: ProjectMapping
    range: WrittenRange | None = None


@declare
class GetStorageReport(Instruction, verb="get_storage_report", result="ProjectStorageReport", extra="ignored"):
    """The storage of a project."""

    project: ProjectIdentifier
    range: WrittenRange | None = None


@declare
class GetStorageReports(Instruction, verb="get_storage_reports", result="StorageReport", extra="ignored"):
    """The storage of every project of a portal."""

    portal: PortalIdentifier
    range: WrittenRange | None = None


@declare
class GetLocalStorageReport(
    Instruction, verb="get_local_storage_report", result="ProjectStorageReport", extra="ignored"
):
    """The storage of a mapped project, by its filesystem."""

    mapping: ProjectMapping
    range: WrittenRange | None = None


# Limits on usage.


@declare
class SetLimit(Instruction, verb="set_limit", result="Usage"):
    """Set how much a project may use."""

    project: ProjectIdentifier
    limit: UsageLimit


@declare
class GetLimit(Instruction, verb="get_limit", result="Usage", extra="ignored"):
    """How much a project may use."""

    project: ProjectIdentifier


@declare
class SetLocalLimit(Instruction, verb="set_local_limit", result="Usage"):
    """Set how much a mapped project may use."""

    mapping: ProjectMapping
    limit: UsageLimit


@declare
class GetLocalLimit(Instruction, verb="get_local_limit", result="Usage", extra="ignored"):
    """How much a mapped project may use."""

    mapping: ProjectMapping


# Quotas of projects.


@declare
class SetProjectQuota(Instruction, verb="set_project_quota", result="Quota"):
    """Set the quota of a project on a volume."""

    project: ProjectIdentifier
    volume: Volume
    limit: QuotaLimit


@declare
class GetProjectQuota(Instruction, verb="get_project_quota", result="Quota", extra="ignored"):
    """The quota of a project on a volume."""

    project: ProjectIdentifier
    volume: Volume


@declare
class ClearProjectQuota(Instruction, verb="clear_project_quota", result="None", extra="ignored"):
    """Lift the quota of a project on a volume."""

    project: ProjectIdentifier
    volume: Volume


@declare
class GetProjectQuotas(Instruction, verb="get_project_quotas", result="HashMap<Volume, Quota>", extra="ignored"):
    """The quotas of a project on every volume."""

    project: ProjectIdentifier


# Quotas of users.


@declare
class SetUserQuota(Instruction, verb="set_user_quota", result="Quota"):
    """Set the quota of a user on a volume."""

    user: UserIdentifier
    volume: Volume
    limit: QuotaLimit


@declare
class GetUserQuota(Instruction, verb="get_user_quota", result="Quota", extra="ignored"):
    """The quota of a user on a volume."""

    user: UserIdentifier
    volume: Volume


@declare
class ClearUserQuota(Instruction, verb="clear_user_quota", result="None", extra="ignored"):
    """Lift the quota of a user on a volume."""

    user: UserIdentifier
    volume: Volume


@declare
class GetUserQuotas(Instruction, verb="get_user_quotas", result="HashMap<Volume, Quota>", extra="ignored"):
    """The quotas of a user on every volume."""

    user: UserIdentifier


# Quotas of mapped projects.


@declare
class SetLocalProjectQuota(Instruction, verb="set_local_project_quota", result="Quota"):
    """Set the quota of a mapped project on a volume."""

    mapping: ProjectMapping
    volume: Volume
    limit: QuotaLimit


@declare
class GetLocalProjectQuota(Instruction, verb="get_local_project_quota", result="Quota", extra="ignored"):
    """The quota of a mapped project on a volume."""

    mapping: ProjectMapping
    volume: Volume


@declare
class ClearLocalProjectQuota(Instruction, verb="clear_local_project_quota", result="None", extra="ignored"):
    """Lift the quota of a mapped project on a volume."""

    mapping: ProjectMapping
    volume: Volume


@declare
class GetLocalProjectQuotas(
    Instruction, verb="get_local_project_quotas", result="HashMap<Volume, Quota>", extra="ignored"
):
    """The quotas of a mapped project on every volume."""

    mapping: ProjectMapping


# Quotas of mapped users.


@declare
class SetLocalUserQuota(Instruction, verb="set_local_user_quota", result="Quota"):
    """Set the quota of a mapped user on a volume."""

    mapping: UserMapping
    volume: Volume
    limit: QuotaLimit


@declare
class GetLocalUserQuota(Instruction, verb="get_local_user_quota", result="Quota", extra="ignored"):
    """The quota of a mapped user on a volume."""

    mapping: UserMapping
    volume: Volume


@declare
class ClearLocalUserQuota(Instruction, verb="clear_local_user_quota", result="None", extra="ignored"):
    """Lift the quota of a mapped user on a volume."""

    mapping: UserMapping
    volume: Volume


@declare
class GetLocalUserQuotas(Instruction, verb="get_local_user_quotas", result="HashMap<Volume, Quota>", extra="ignored"):
    """The quotas of a mapped user on every volume."""

    mapping: UserMapping


# Offerings: where a portal can send its jobs.


@declare
class SyncOfferings(Instruction, verb="sync_offerings", result="Destinations"):
    """Replace the offerings by these."""

    offerings: Destinations = Destinations()


@declare
class AddOfferings(Instruction, verb="add_offerings", result="Destinations"):
    """Add offerings."""

    offerings: Destinations = Destinations()


@declare
class RemoveOfferings(Instruction, verb="remove_offerings", result="Destinations"):
    """Withdraw offerings."""

    offerings: Destinations = Destinations()


@declare
class GetOfferings(Instruction, verb="get_offerings", result="Destinations", extra="ignored"):
    """The offerings there are."""


def _by_word() -> dict[str, type[Instruction]]:
    kinds = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, Instruction)]
    kinds.remove(Instruction)
    words = [(word, kind) for kind in kinds for word in (kind.verb, *kind.aliases)]
    if len(dict(words)) != len(words):
        raise TypeError("a word is declared for two verbs")
    return dict(words)


VERBS: Final[Mapping[str, type[Instruction]]] = MappingProxyType(_by_word())

UNSAID_RANGES: Final[Mapping[type[Instruction], str]] = MappingProxyType(
    dict.fromkeys((GetUsageReport, GetUsageReports, GetLocalUsageReport), "this_week")
    | dict.fromkeys((GetStorageReport, GetStorageReports, GetLocalStorageReport), "today")
)
"""The range that is meant where a report is asked for without one."""


def dated(instruction: Instruction, today: date) -> Instruction:
    """The instruction with the days that its range means on `today`, as the published client prints it."""
    if isinstance(instruction, Submit):
        return replace(instruction, instruction=dated(instruction.instruction, today))
    unsaid = UNSAID_RANGES.get(type(instruction))
    if unsaid is None:
        return instruction
    asked = cast(GetUsageReport, instruction)
    days = (asked.range or WrittenRange(unsaid)).on(today)
    return replace(asked, range=WrittenRange(str(days)))
