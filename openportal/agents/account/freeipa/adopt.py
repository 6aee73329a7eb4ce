"""Users and groups that a site has already, taken under management. Pure: what to do, from what was found.

    alice.demo.brics:alice.demo:brics.demo     a user, in the words of a mapping of the network
    demo.brics:brics.demo                      a project
    # a remark

Only a name that the agent would give is adopted, as it finds accounts by their names: rename the account first, with
`ipa user-mod --rename`. A user keeps its ids, its names, its home and its other groups; it gets the identifier, the
class and the groups of a user that was made here, and last of all the managed group, so that what was cut short is
still somebody else's. Nothing is adopted that is disabled, or that says that it belongs to another user or project.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openportal.agents import naming
from openportal.agents.account.freeipa.calls import EMPTY_MODLIST, Call
from openportal.agents.account.freeipa.entries import OURS, Account, Group
from openportal.agents.account.freeipa.plan import Step, join
from openportal.agents.account.policy import Policy, Standing
from openportal.errors import ConfigError, GrammarError
from openportal.grammar.identifiers import ProjectMapping, UserMapping

LINES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Adoption:
    """What becomes of one line: the calls, or why there are none."""

    mapping: UserMapping | ProjectMapping
    steps: tuple[Step, ...] = ()
    refused: str = ""

    @property
    def subject(self) -> str:
        """Whom it is about, in the network's words."""
        return str(self.mapping.user if isinstance(self.mapping, UserMapping) else self.mapping.project)


def parse_mappings(text: str) -> list[UserMapping | ProjectMapping]:
    """The lines of a mapping file, projects first. Raises ConfigError, naming the line."""
    found: list[UserMapping | ProjectMapping] = []
    for number, line in enumerate(text.splitlines()[:LINES_MAX], 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        try:
            found.append(UserMapping.parse(words) if words.count(":") == 2 else ProjectMapping.parse(words))
        except GrammarError as error:
            raise ConfigError(f"Line {number} is not a mapping: {error}") from error
    return sorted(found, key=lambda mapping: isinstance(mapping, UserMapping))


def adopt_project(mapping: ProjectMapping, group: Group | None, policy: Policy) -> Adoption:
    """Write the project into the description of its group."""
    project = mapping.project
    if mapping.local_group not in naming.project_groups(project) or mapping.local_group in policy.reserved:
        return Adoption(mapping, refused=f"its group would be called {naming.project_group(project)}")
    if group is None:
        return Adoption(mapping, refused="there is no such group")
    if group.project == project:
        return Adoption(mapping)
    if group.project is not None:
        return Adoption(mapping, refused=f"the group says that it belongs to {group.project}")
    words = f"{project} | {group.description}"
    call = Call("group_mod", group.name, {"description": words}, "adopt group", frozenset({EMPTY_MODLIST}))
    return Adoption(mapping, ((call,),))


def adopt_user(mapping: UserMapping, account: Account | None, is_now: Standing, groups: Sequence[str]) -> Adoption:
    """Write the user into its account and put it into `groups`: its project's, the managed one, the others."""
    user = mapping.user
    refused = _why_not(mapping, account, is_now)
    if refused or account is None:
        return Adoption(mapping, refused=refused)
    mark = account.identifier != str(user) or OURS not in account.classes
    classes = sorted(account.classes | {OURS})
    options = {"cn": str(user), "userclass": classes}
    first = [Call("user_mod", account.name, options, "adopt user", frozenset({EMPTY_MODLIST}))] if mark else []
    project, managed, *others = groups
    joins = [join(account.name, group) for group in (project, *others) if group not in account.groups]
    last = [join(account.name, managed)] if managed not in account.groups else []
    return Adoption(mapping, tuple(tuple(step) for step in ([*first, *joins], last) if step))


def _why_not(mapping: UserMapping, account: Account | None, is_now: Standing) -> str:
    expected = naming.local_user(mapping.user)
    if mapping.local_user != expected or mapping.local_group not in naming.project_groups(
        mapping.user.project_identifier
    ):
        return f"it would be called {naming.user_mapping(mapping.user)}; `ipa user-mod --rename {expected}` first"
    if account is None:
        return "there is no such user"
    if is_now is Standing.FOREIGN:
        return f"the account says that it belongs to {account.user}"
    if is_now not in (Standing.PROTECTED, Standing.ACTIVE):
        return f"the account is {is_now.name.lower()} already"
    return "the account is disabled" if account.disabled else ""
