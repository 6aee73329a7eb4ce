"""The portal agent: takes jobs from its bridge and puts them on their way; hands awards of other portals to its bridge.

bridge.<me> submit <me>.provider… instruction     a new job goes down the destination; its outcome comes back
bridge.<me> sync|add|remove|get_offerings         what this portal's software offers to other portals
<other>.<me>.<offering> instruction               re-issued to our bridge as `<me>.<bridge>.<offering>`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from openportal.errors import InvalidJob, JobError, Unroutable, Unsupported
from openportal.grammar.destination import Destination, Destinations
from openportal.grammar.instructions import (
    AddOfferings,
    CreateProject,
    GetAward,
    GetAwards,
    GetOfferings,
    GetProject,
    GetProjectMapping,
    GetProjects,
    GetStorageReport,
    GetStorageReports,
    GetUsageReport,
    GetUsageReports,
    GetUsers,
    Instruction,
    RemoveOfferings,
    RemoveProject,
    Submit,
    SyncOfferings,
    UpdateProject,
    parse_instruction,
)
from openportal.templemeads.handlers import Handler, Run
from openportal.templemeads.job import DEFAULT_LIFETIME_SECONDS
from openportal.templemeads.role import Here, Work
from openportal.templemeads.saga import Ask, Finished, Outcome, Steps

OF_OFFERINGS = frozenset({
    CreateProject, UpdateProject, RemoveProject, GetProject, GetAward, GetAwards, GetProjects, GetProjectMapping,
    GetUsers, GetUsageReport, GetUsageReports, GetStorageReport, GetStorageReports,
})  # fmt: skip
Changing: TypeAlias = SyncOfferings | AddOfferings | RemoveOfferings
VIRTUAL_EVENTS: dict[type[Instruction], str] = {
    CreateProject: "AwardAdded",
    UpdateProject: "AwardChanged",
    RemoveProject: "AwardRemoved",
}


class PortalRole:
    """`offerings` and `offer` read and replace the offerings that the core holds."""

    agent_type = "Portal"

    def __init__(self, offerings: Callable[[], list[str]], offer: Callable[[list[str]], None]) -> None:
        self._offerings = offerings
        self._offer = offer

    def handlers(self) -> dict[type[Instruction], Handler]:
        return {GetOfferings: self._get}

    def work(self, here: Here) -> Work:
        instruction = parse_instruction(here.text)
        if here.sender_type != "Bridge":
            raise Unsupported(f"{here.me} is a portal: it takes instructions from its bridge only")
        if isinstance(instruction, Submit):
            check_ownership(here.me, instruction)
            return Work(instruction, lambda: submit(here.me, instruction), False, instruction.subject, False)
        if isinstance(instruction, Changing):
            return Work(instruction, lambda: self._change(instruction), changes=False)
        if type(instruction) in self.handlers():
            return Work(instruction, changes=False)
        raise Unsupported(f"{here.me} is a portal: it does not answer {instruction.verb}")

    def passing(self, here: Here) -> Work | None:
        """Only what another portal asks of an offering passes through; everything else has to come by `submit`."""
        resource = here.destination.next_after(here.me) or ""
        offering = f"{resource}.{here.me}.{here.sender}"
        if offering not in self._offerings():
            raise Unroutable(
                f"{here.me} has no offering {offering}: its portal software has to register it (sync_offerings)"
            )
        instruction = parse_instruction(here.text)
        if type(instruction) not in OF_OFFERINGS:
            raise Unsupported(f"{offering} is an offering: it does not answer {instruction.verb}")
        owner = instruction.owning_portal
        if owner is not None and owner != here.sender:
            raise InvalidJob(f"{here.sender} may ask {offering} for its own projects only, not for those of {owner}")
        return Work(
            instruction,
            lambda: to_software(here, resource, instruction),
            False,
            instruction.subject,
            instruction.changes,
        )

    def _change(self, instruction: Changing) -> Steps:
        """Offered at once; a bridge of 0.32.2 takes jobs for an offering only after its portal has told it of it."""
        self._offer(self._changed(instruction))
        told = Destinations(tuple(Destination.parse(offering) for offering in self._offerings()))
        yield Ask("Bridge", f"sync_offerings {told}")
        return self._offerings()

    def _changed(self, instruction: Changing) -> list[str]:
        named = [str(destination) for destination in instruction.offerings.destinations]
        match instruction:
            case AddOfferings():
                return list(dict.fromkeys([*self._offerings(), *named]))
            case RemoveOfferings():
                return [offering for offering in self._offerings() if offering not in named]
            case _:
                return named

    def _get(self, run: Run, instruction: GetOfferings) -> list[str]:
        return self._offerings()


def check_ownership(me: str, submitted: Submit) -> None:
    """A portal speaks for its own projects and users only, and starts every path itself."""
    if submitted.destination.first != me:
        raise InvalidJob(f"{submitted.destination} does not begin at this portal, {me}")
    owner = submitted.owning_portal
    if owner is not None and owner != me:
        raise InvalidJob(
            f"Commands involving '{submitted.instruction}' can only be issued via the portal '{owner}', not '{me}'."
        )


def submit(me: str, submitted: Submit) -> Steps:
    """The southbound job of a bridge's submit: a new job, whose outcome is ours."""
    first = submitted.destination.next_after(me) or ""
    ask = Ask(first, str(submitted.instruction), str(submitted.destination), lifetime_seconds=DEFAULT_LIFETIME_SECONDS)
    outcomes: list[Outcome] = yield [ask]
    return passed_on(outcomes[0], wrapped=True)


def to_software(here: Here, resource: str, instruction: Instruction) -> Steps:
    """What another portal asks of an offering, asked of our own software through the bridge."""
    ask = Ask("Bridge", here.text, None, str(here.destination), DEFAULT_LIFETIME_SECONDS, onward=resource)
    outcomes: list[Outcome] = yield [ask]
    finished = passed_on(outcomes[0], wrapped=False)
    event = VIRTUAL_EVENTS.get(type(instruction))
    subject = instruction.subject
    if event is None or subject is None:
        return finished
    return finished._replace(event=(event, subject))


def passed_on(outcome: Outcome, *, wrapped: bool) -> Finished:
    """The outcome as it is; a failure in the words that clients of this network know. Raises JobError."""
    if outcome.kind is None:
        return Finished(outcome.result, outcome.result_type, raw=True)
    text = outcome.result or ""
    if wrapped:
        text = "ExpirationError{}" if outcome.kind == "expired" else f"RuntimeError{{{text}}}"
    raise JobError(text, outcome.kind)
