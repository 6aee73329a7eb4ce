"""The portal: what it takes from its bridge and from other portals, and how failures are worded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from openportal.agents.portal import OF_OFFERINGS, PortalRole, check_ownership, passed_on, submit
from openportal.errors import GrammarError, InvalidJob, JobError, Unroutable, Unsupported
from openportal.grammar.destination import Destination, Destinations
from openportal.grammar.instructions import VERBS, Submit, parse_instruction
from openportal.templemeads.job import DEFAULT_LIFETIME_SECONDS, Job, State
from openportal.templemeads.role import Here
from openportal.templemeads.saga import Ask, Done, Driver, Finished, Outcome

sys.path.insert(0, str(Path(__file__).parent.parent / "templemeads"))  # `world` is shared with the core's tests
from world import World, bridge, facility, new_job, peer_of, portal, relay, southbound

OFFERING = "cluster1.site.allocator"
AWARD = '{"name":"An award"}'


class Offered:
    """A portal's role and its offerings."""

    def __init__(self, *offerings: str) -> None:
        self.offerings = list(offerings)
        self.role = PortalRole(lambda: self.offerings, self.replace)

    def replace(self, offerings: list[str]) -> None:
        self.offerings = offerings


def here(
    text: str, destination: str = "bridge.site", sender: str = "bridge", sender_type: str | None = "Bridge"
) -> Here:
    job = Job("0b6a3a5e-5d3c-4c43-9a63-6f1c6a0c7d10", 0, 0, 120, 2, f"{destination} {text}", State.PENDING)
    return Here("site", sender, "default", sender_type, Destination.parse(destination), text, job)


# --- submit -----------------------------------------------------------------------------------------------------------

SUBMIT = "submit site.aip1.shared add_user alice.demo.site"


@pytest.mark.parametrize("sender_type", ["Provider", "Portal", "Instance", None])
@pytest.mark.parametrize("text", [SUBMIT, "get_offerings", "sync_offerings []"])
def test_only_a_bridge_submits(sender_type: str | None, text: str) -> None:
    with pytest.raises(Unsupported, match="from its bridge only"):
        Offered().role.work(here(text, sender_type=sender_type))


def test_a_submit_is_worked_on_without_a_lane_of_its_own() -> None:
    work = Offered().role.work(here(SUBMIT))
    assert (work.changes, work.held) == (False, False)
    assert work.steps is not None


@pytest.mark.parametrize("text", ["add_user alice.demo.site", "get_users demo.site", "create_project p.site {}"])
def test_a_portal_itself_answers_nothing_else(text: str) -> None:
    with pytest.raises(Unsupported, match="does not answer"):
        Offered().role.work(here(text))


def test_a_portal_speaks_for_its_own_only() -> None:
    own, foreign, elsewhere = (
        parse_instruction(text)
        for text in (
            SUBMIT,
            "submit site.aip1 add_user alice.demo.brics",
            "submit other.aip1 add_user alice.demo.site",
        )
    )
    assert isinstance(own, Submit)
    assert isinstance(foreign, Submit)
    assert isinstance(elsewhere, Submit)
    check_ownership("site", own)
    with pytest.raises(InvalidJob, match="can only be issued via the portal 'brics', not 'site'"):
        check_ownership("site", foreign)
    with pytest.raises(InvalidJob, match="does not begin at this portal"):
        check_ownership("site", elsewhere)


def test_a_submit_becomes_one_job_with_a_life_of_its_own() -> None:
    instruction = parse_instruction(SUBMIT)
    assert isinstance(instruction, Submit)
    [(name, ask)] = Driver(submit("site", instruction)).advance({})
    assert name == "aip1.add_user#1"
    assert ask == Ask("aip1", "add_user alice.demo.site", "site.aip1.shared", lifetime_seconds=DEFAULT_LIFETIME_SECONDS)
    with pytest.raises(Done) as done:
        Driver(submit("site", instruction)).advance({name: Outcome('"m"', "UserMapping")})
    assert done.value.value == Finished('"m"', "UserMapping", raw=True)


@pytest.mark.parametrize(
    ("kind", "text", "wrapped"),
    [
        ("run", 'no such thing: é "q"', 'RuntimeError{no such thing: é "q"}'),
        ("expired", "the job expired after 120 s", "ExpirationError{}"),
        (
            "award_pending",
            "ManagedProjectPendingError: wait",
            "RuntimeError{ManagedProjectPendingError: wait}",
        ),
        ("unroutable", "nowhere", "RuntimeError{nowhere}"),
    ],
)
def test_failures_are_worded_as_the_network_does(kind: str, text: str, wrapped: str) -> None:
    with pytest.raises(JobError) as error:
        passed_on(Outcome(text, None, kind), wrapped=True)
    assert (str(error.value), error.value.wire_kind) == (wrapped, kind)
    with pytest.raises(JobError) as error:
        passed_on(Outcome(text, None, kind), wrapped=False)
    assert (str(error.value), error.value.wire_kind) == (text, kind)


# --- offerings --------------------------------------------------------------------------------------------------------


def test_offerings_are_replaced_added_and_withdrawn() -> None:
    """0.32.2: a bridge takes jobs for an offering only after its portal has told it of all that are offered."""
    world = two_portals()
    for text, then in (
        ("sync_offerings [a.site.x, b.site.x]", ["a.site.x", "b.site.x"]),
        ("add_offerings [b.site.x, c.site.y]", ["a.site.x", "b.site.x", "c.site.y"]),
        ("remove_offerings b.site.x", ["a.site.x", "c.site.y"]),
        ("sync_offerings []", []),
    ):
        id = world.ask("bridge", "site", f"bridge.site {text}")
        world.settle()
        assert json.loads(world.outcome("bridge", id).result or "") == then
        told = world.told("site", "bridge", "Put")[-1]["job"]["command"]
        assert told == f"site.bridge sync_offerings {Destinations.parse(','.join(then))}"
    assert world["site"].core.offerings == []


def test_what_is_not_offered_is_refused() -> None:
    for offerings in ((), ("cluster1.site.other",), ("allocator.site.cluster1",)):
        with pytest.raises(Unroutable, match=r"no offering cluster1\.site\.allocator"):
            Offered(*offerings).role.passing(
                here("get_awards allocator", "allocator.site.cluster1", "allocator", "Portal")
            )


def test_an_offering_answers_a_portal_for_its_own_projects_only() -> None:
    role = Offered(OFFERING).role
    asked = "allocator.site.cluster1", "allocator", "Portal"
    assert role.passing(here("get_project p.allocator", *asked)) is not None
    with pytest.raises(InvalidJob, match="not for those of other"):
        role.passing(here("get_project p.other", *asked))


def test_an_offering_answers_for_awards_only() -> None:
    role = Offered(OFFERING).role
    for verb in VERBS.values():
        assert (verb in OF_OFFERINGS) is (verb.verb in ANSWERED)
    with pytest.raises(Unsupported, match="does not answer add_user"):
        role.passing(here("add_user a.p.allocator", "allocator.site.cluster1", "allocator", "Portal"))
    with pytest.raises(GrammarError):
        role.passing(here("frobnicate x", "allocator.site.cluster1", "allocator", "Portal"))


ANSWERED = {
    "create_project", "update_project", "remove_project", "get_project", "get_award", "get_awards", "get_projects",
    "get_project_mapping", "get_users", "get_usage_report", "get_usage_reports", "get_storage_report",
    "get_storage_reports",
}  # fmt: skip


# --- whole flows ------------------------------------------------------------------------------------------------------


def two_portals() -> World:
    """allocator asks site, whose bridge has the software behind it."""
    world = World()
    world.add("allocator", relay("Portal"))
    world.add("site", portal)
    world.add("bridge", bridge)
    world.neighbours("allocator", "site")
    world.neighbours("site", "bridge")
    world.start()
    world.settle()
    world.ask("bridge", "site", f"bridge.site sync_offerings [{OFFERING}]")
    world.settle()
    return world


def asked_of_software(world: World, text: str) -> tuple[str, Job]:
    id = world.ask("allocator", "site", f"allocator.site.cluster1 {text}")
    world.settle()
    return id, world["bridge"].held[-1]


def answer(world: World, job: Job) -> None:
    world["bridge"].core.answered(peer_of("site"), job, world.now)
    world["bridge"].flush()
    world.settle()


@pytest.mark.parametrize(
    ("verb", "event"),
    [("create_project", "AwardAdded"), ("update_project", "AwardChanged"), ("remove_project", "AwardRemoved")],
)
def test_an_award_goes_to_the_software_and_its_news_come_back(verb: str, event: str) -> None:
    world = two_portals()
    text = f"{verb} p.allocator" + ("" if verb == "remove_project" else f" {AWARD}")
    id, held = asked_of_software(world, text)
    assert held.command == f"site.bridge.cluster1 {text}"
    assert held.forwarded_for == "allocator.site.cluster1"
    assert held.id != id
    answer(world, held.completed(world.now, '"p.allocator:p.site"', "ProjectMapping"))
    outcome = world.outcome("allocator", id)
    assert (outcome.result, outcome.result_type) == ('"p.allocator:p.site"', "ProjectMapping")
    to_allocator = [command for sender, receiver, command in world.sent if (sender, receiver) == ("site", "allocator")]
    [notify, update] = to_allocator[-2:]
    assert notify["Notify"]["notification"]["destination"] == "cluster1.site.allocator"
    assert notify["Notify"]["notification"]["event"] == {event: "p.allocator"}
    assert update["Update"]["job"]["forwarded_for"] is None


def test_a_question_about_an_award_has_no_news() -> None:
    world = two_portals()
    id, held = asked_of_software(world, "get_awards allocator")
    answer(world, held.completed(world.now, "[]", "Vec<ProjectDetails>"))
    assert world.outcome("allocator", id).result == "[]"
    assert not world.told("site", "allocator", "Notify")


def test_the_words_of_the_software_are_not_wrapped() -> None:
    world = two_portals()
    id, held = asked_of_software(world, f"create_project p.allocator {AWARD}")
    answer(world, held.failed(world.now, "ManagedProjectPendingError: wait", "award_pending"))
    outcome = world.outcome("allocator", id)
    assert (outcome.result, outcome.error_kind) == ("ManagedProjectPendingError: wait", "award_pending")
    assert not world.told("site", "allocator", "Notify")


def test_a_held_job_is_held_again_after_a_restart() -> None:
    world = two_portals()
    id, held = asked_of_software(world, f"create_project p.allocator {AWARD}")
    world["bridge"].crash()
    world["bridge"].held.clear()
    world.start()
    world.settle()
    [again] = world["bridge"].held
    assert again.id == held.id
    answer(world, again.completed(world.now, '"m"', "ProjectMapping"))
    assert world.outcome("allocator", id).state is State.COMPLETE


def test_offerings_survive_a_restart() -> None:
    world = two_portals()
    world["site"].crash()
    world.start()
    world.settle()
    assert world["site"].core.offerings == [OFFERING]


def test_a_submit_that_nobody_answers_ends_in_the_words_of_the_network() -> None:
    world = facility()
    world["aip1"].crash()
    id = world.ask("bridge", "brics", southbound("is_user_added alice.demo.brics"))
    world.settle()
    world.advance(DEFAULT_LIFETIME_SECONDS + 2)
    outcome = world.outcome("bridge", id)
    assert (outcome.result, outcome.error_kind) == ("ExpirationError{}", "expired")


def test_a_submit_to_nowhere_is_refused_at_once() -> None:
    world = facility()
    id = world.ask("bridge", "brics", "bridge.brics submit brics.nobody.x get_users demo.brics")
    world.settle()
    outcome = world.outcome("bridge", id)
    assert outcome.error_kind == "unroutable"
    assert outcome.result == "RuntimeError{brics has no neighbour 'nobody': it knows aip1, bridge}"


def test_what_another_portal_puts_on_us_is_refused_with_a_reason() -> None:
    world = two_portals()
    job = new_job("allocator.site get_offerings", world.now)
    world["site"].received("allocator", {"Put": {"job": job.to_wire()}})
    [body] = world.told("site", "allocator", "Update")[-1:]
    assert body["job"]["error"]["kind"] == "unsupported"
