"""The instance agent: one instruction of a portal becomes steps at the account, filesystem and scheduler agents.

Each orchestration is a saga (`templemeads/saga.py`): a generator over the recorded outcomes of its steps, so a crash in
the middle resumes at the step where it stopped. Policy of the network since 0.93: the account step comes first and a
failure there aborts; then filesystem and scheduler are both attempted, and any failure fails the whole, naming each
system. What this job created and cannot finish is taken back; what was there before is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openportal.errors import RunError, Unroutable, Unsupported
from openportal.grammar import instructions as verbs
from openportal.grammar.identifiers import ProjectMapping
from openportal.grammar.instructions import Instruction, parse_instruction
from openportal.templemeads.role import Here, Work
from openportal.templemeads.saga import Ask, AskFailed, Finished, Outcome, Steps

ACCOUNT, FILESYSTEM, SCHEDULER = "Account", "Filesystem", "Scheduler"
ADD_USER_ATTEMPTS = 6
FINAL_KINDS = frozenset({"expired", "unavailable", "unsupported", "invalid", "unroutable"})

Saga = Callable[[Any], Steps]


class InstanceRole:
    """Answers what a portal may ask of a machine."""

    agent_type = "Instance"

    def work(self, here: Here) -> Work:
        instruction = parse_instruction(here.text)
        saga = SAGAS.get(type(instruction))
        if saga is None:
            raise Unsupported(f"{here.me} is an instance: it does not answer {instruction.verb}")
        return Work(instruction, lambda: saga(instruction), False, instruction.subject, instruction.changes)

    def passing(self, here: Here) -> Work | None:
        raise Unroutable(f"{here.me} is an instance: ask it for {here.text.partition(' ')[0]} itself")


# --- projects ---------------------------------------------------------------------------------------------------------


def add_project(i: verbs.AddProject) -> Steps:
    existed = yield Ask(ACCOUNT, f"is_existing_project {i.project}")
    mapping = None
    try:
        mapping = yield Ask(ACCOUNT, f"add_project {i.project}")
        yield from everywhere(f"add_local_project {mapping}")
    except (AskFailed, RunError) as failure:
        if not existed and (mapping is not None or kind_of(failure) == "expired"):
            yield from take_back_project(i, mapping)
        raise
    return Finished(mapping, event=("ProjectAdded", str(i.project)))


def take_back_project(i: verbs.AddProject, mapping: str | None) -> Steps:
    """Without `mapping` nobody knows whether the account agent came to add it; nothing else was asked then."""
    if mapping is None:
        yield [Ask(ACCOUNT, f"remove_project {i.project}", undo=True)]
        return
    yield [
        Ask(ACCOUNT, f"remove_project {i.project}", undo=True),
        Ask(FILESYSTEM, f"remove_local_project {mapping}", undo=True),
        Ask(SCHEDULER, f"remove_local_project {mapping}", undo=True),
    ]


def remove_project(i: verbs.RemoveProject) -> Steps:
    mapping = yield Ask(ACCOUNT, f"remove_project {i.project}")
    protected = yield Ask(ACCOUNT, f"get_users {i.project}")
    if protected:  # they are not ours to remove, and so the project stays for them
        return mapping
    yield from everywhere(f"remove_local_project {mapping}")
    return Finished(mapping, event=("ProjectRemoved", str(i.project)))


def is_blocked_project(i: verbs.IsBlockedProject) -> Steps:
    users = yield Ask(ACCOUNT, f"get_users {i.project}")
    outcomes = yield [Ask(ACCOUNT, f"is_blocked_user {user_of(mapping)}") for mapping in users]
    return bool(users) and all(outcome.value for outcome in outcomes)


def each_user(verb: str, event: str) -> Saga:
    """The form for a whole project of an instruction about a user; the answer names those for whom it worked."""

    def saga(i: verbs.BlockProject | verbs.UnblockProject) -> Steps:
        users = yield Ask(ACCOUNT, f"get_users {i.project}")
        outcomes: list[Outcome] = yield [Ask(ACCOUNT, f"{verb} {user_of(mapping)}") for mapping in users]
        done = [outcome.value for outcome in outcomes if outcome.ok]
        return Finished(done, event=(event, str(i.project)))

    return saga


# --- users ------------------------------------------------------------------------------------------------------------


def add_user(i: verbs.AddUser) -> Steps:
    looks: list[Outcome] = yield [
        Ask(ACCOUNT, f"is_blocked_user {i.user}"),
        Ask(ACCOUNT, f"is_existing_user {i.user}"),
        Ask(ACCOUNT, f"is_protected_user {i.user}"),
    ]
    blocked, existed, protected = (look.value for look in looks)
    if blocked or (existed and protected):
        return (yield Ask(ACCOUNT, f"get_user_mapping {i.user}"))
    for attempt in range(1, ADD_USER_ATTEMPTS + 1):
        try:
            mapping = yield from add_user_once(i)
        except (AskFailed, RunError) as failure:
            if attempt < ADD_USER_ATTEMPTS and kind_of(failure) not in FINAL_KINDS:
                continue
            if not existed:
                yield [Ask(ACCOUNT, f"remove_user {i.user}", undo=True)]
            raise
        return Finished(mapping, event=("UserAdded", str(i.user)))
    raise AssertionError("the loop returns or raises")


def add_user_once(i: verbs.AddUser) -> Steps:
    mapping = yield Ask(ACCOUNT, f"add_user {i.user}")
    outcomes: list[Outcome] = yield [
        Ask(FILESYSTEM, f"add_local_user {mapping}"),
        Ask(FILESYSTEM, f"get_local_home_dir {mapping}"),
        Ask(SCHEDULER, f"add_local_user {mapping}"),
    ]
    raise_failures({FILESYSTEM: outcomes[0], "home directory": outcomes[1], SCHEDULER: outcomes[2]})
    yield Ask(ACCOUNT, f"update_homedir {i.user} {outcomes[1].value}")
    return mapping


def remove_user(i: verbs.RemoveUser) -> Steps:
    protected = yield Ask(ACCOUNT, f"is_protected_user {i.user}")
    if protected:
        return (yield Ask(ACCOUNT, f"get_user_mapping {i.user}"))
    mapping = yield Ask(ACCOUNT, f"remove_user {i.user}")
    yield from everywhere(f"remove_local_user {mapping}")
    return Finished(mapping, event=("UserRemoved", str(i.user)))


def of_account(event: str | None = None) -> Saga:
    """The account agent answers; a change is told to the portal as `event`."""

    def saga(i: Instruction) -> Steps:
        value = yield Ask(ACCOUNT, str(i))
        return Finished(value, event=None if event is None else (event, str(i.subject)))

    return saga


# --- directories, limits, reports, quotas -----------------------------------------------------------------------------


def of_user(agent: str, verb: str) -> Saga:
    """`verb` of the user's mapping, with the rest of the arguments, asked of `agent`."""

    def saga(i: Any) -> Steps:
        mapping = yield Ask(ACCOUNT, f"get_user_mapping {i.user}")
        return (yield from raw(agent, with_rest(verb, mapping, i)))

    return saga


def of_project(agent: str, verb: str) -> Saga:
    """`verb` of the project's mapping, with the rest of the arguments, asked of `agent`."""

    def saga(i: Any) -> Steps:
        mapping = yield Ask(ACCOUNT, f"get_project_mapping {i.project}")
        return (yield from raw(agent, with_rest(verb, mapping, i)))

    return saga


def of_portal(agent: str, verb: str) -> Saga:
    """One report over every project of a portal."""

    def saga(i: Any) -> Steps:
        mappings = yield Ask(ACCOUNT, f"get_projects {i.portal}")
        outcomes: list[Outcome] = yield [Ask(agent, with_rest(verb, mapping, i)) for mapping in mappings]
        reports = {str(ProjectMapping.parse(m).project): o.value for m, o in zip(mappings, outcomes, strict=True)}
        return {"portal": str(i.portal), "reports": reports}

    return saga


def of_filesystem(i: Instruction) -> Steps:
    """A question of the account agent that the filesystem answers."""
    return (yield from raw(FILESYSTEM, str(i)))


def raw(agent: str, instruction: str) -> Steps:
    """An answer passed on as it came. Raises AskFailed."""
    outcomes: list[Outcome] = yield [Ask(agent, instruction)]
    if not outcomes[0].ok:
        raise AskFailed(outcomes[0].result or "no reason was given", outcomes[0].kind or "unknown")
    return Finished(outcomes[0].result, outcomes[0].result_type, raw=True)


def with_rest(verb: str, mapping: str, i: Instruction) -> str:
    """`verb mapping` and whatever followed the first argument of `i`."""
    rest = str(i).split(" ", 2)[2:]
    return " ".join([verb, mapping, *rest])


# --- verification -----------------------------------------------------------------------------------------------------


def check_user(state: str, if_absent: bool) -> Saga:
    """Whether every system has a user (`added`), or has none of it (`removed`)."""

    def saga(i: Any) -> Steps:
        if (yield Ask(ACCOUNT, f"is_protected_user {i.user}")):
            return True
        try:
            mapping = yield Ask(ACCOUNT, f"get_user_mapping {i.user}")
        except AskFailed:
            if (yield Ask(ACCOUNT, f"is_existing_user {i.user}")):
                raise
            return if_absent
        return (yield from all_agree(f"is_local_user_{state} {mapping}"))

    return saga


def check_project(state: str, if_absent: bool) -> Saga:
    """Whether every system has a project (`added`), or has none of it (`removed`)."""

    def saga(i: Any) -> Steps:
        try:
            mapping = yield Ask(ACCOUNT, f"get_project_mapping {i.project}")
        except AskFailed:
            if (yield Ask(ACCOUNT, f"is_existing_project {i.project}")):
                raise
            return if_absent
        return (yield from all_agree(f"is_local_project_{state} {mapping}"))

    return saga


def all_agree(instruction: str) -> Steps:
    for agent in (ACCOUNT, FILESYSTEM, SCHEDULER):
        if not (yield Ask(agent, instruction)):
            return False
    return True


# --- shared -----------------------------------------------------------------------------------------------------------


def everywhere(instruction: str) -> Steps:
    """Filesystem and scheduler are both attempted. Raises RunError naming each that failed."""
    outcomes: list[Outcome] = yield [Ask(FILESYSTEM, instruction), Ask(SCHEDULER, instruction)]
    raise_failures({FILESYSTEM: outcomes[0], SCHEDULER: outcomes[1]})


def raise_failures(outcomes: dict[str, Outcome]) -> None:
    failed = {system: outcome for system, outcome in outcomes.items() if not outcome.ok}
    if failed:
        kinds = {outcome.kind for outcome in failed.values()}
        text = "; ".join(f"{system.lower()}: {outcome.result}" for system, outcome in failed.items())
        raise RunError(text, kinds.pop() if len(kinds) == 1 else None)


def kind_of(failure: AskFailed | RunError) -> str:
    return failure.wire_kind if isinstance(failure, RunError) else failure.kind


def user_of(mapping: str) -> str:
    return mapping.partition(":")[0]


SAGAS: dict[type[Instruction], Saga] = {
    verbs.AddProject: add_project,
    verbs.RemoveProject: remove_project,
    verbs.BlockProject: each_user("block_user", "ProjectBlocked"),
    verbs.UnblockProject: each_user("unblock_user", "ProjectUnblocked"),
    verbs.IsBlockedProject: is_blocked_project,
    verbs.AddUser: add_user,
    verbs.RemoveUser: remove_user,
    verbs.BlockUser: of_account("UserBlocked"),
    verbs.UnblockUser: of_account("UserUnblocked"),
    verbs.IsBlockedUser: of_account(),
    verbs.IsProtectedUser: of_account(),
    verbs.GetUserMapping: of_account(),
    verbs.GetProjectMapping: of_account(),
    verbs.GetProjects: of_account(),
    verbs.GetUsers: of_account(),
    verbs.IsUserAdded: check_user("added", False),
    verbs.IsUserRemoved: check_user("removed", True),
    verbs.IsProjectAdded: check_project("added", False),
    verbs.IsProjectRemoved: check_project("removed", True),
    verbs.GetHomeDir: of_user(FILESYSTEM, "get_local_home_dir"),
    verbs.GetUserDirs: of_user(FILESYSTEM, "get_local_user_dirs"),
    verbs.GetProjectDirs: of_project(FILESYSTEM, "get_local_project_dirs"),
    verbs.GetLocalHomeDir: of_filesystem,
    verbs.GetLocalUserDirs: of_filesystem,
    verbs.GetLocalProjectDirs: of_filesystem,
    verbs.GetUsageReport: of_project(SCHEDULER, "get_local_usage_report"),
    verbs.GetUsageReports: of_portal(SCHEDULER, "get_local_usage_report"),
    verbs.GetStorageReport: of_project(FILESYSTEM, "get_local_storage_report"),
    verbs.GetStorageReports: of_portal(FILESYSTEM, "get_local_storage_report"),
    verbs.SetLimit: of_project(SCHEDULER, "set_local_limit"),
    verbs.GetLimit: of_project(SCHEDULER, "get_local_limit"),
    verbs.SetProjectQuota: of_project(FILESYSTEM, "set_local_project_quota"),
    verbs.GetProjectQuota: of_project(FILESYSTEM, "get_local_project_quota"),
    verbs.ClearProjectQuota: of_project(FILESYSTEM, "clear_local_project_quota"),
    verbs.GetProjectQuotas: of_project(FILESYSTEM, "get_local_project_quotas"),
    verbs.SetUserQuota: of_user(FILESYSTEM, "set_local_user_quota"),
    verbs.GetUserQuota: of_user(FILESYSTEM, "get_local_user_quota"),
    verbs.ClearUserQuota: of_user(FILESYSTEM, "clear_local_user_quota"),
    verbs.GetUserQuotas: of_user(FILESYSTEM, "get_local_user_quotas"),
}
