"""What must hold for jobs that have ended for their sender and not for us: abandoned sagas and jobs in quarantine."""

from __future__ import annotations

from typing import Any

from scenarios import begun, image_of
from world import START, Accounts, Leaf, Node, World, facility, peer_of, southbound

from openportal.agents.roles import LeafRole
from openportal.errors import InvalidJob, RunError
from openportal.grammar.instructions import VERBS, Instruction
from openportal.templemeads.core import RESUME_AFTER_SECONDS, Core
from openportal.templemeads.events import (
    Abandoned,
    Adopted,
    Operated,
    Quarantined,
    Received,
    Restored,
    Sent,
    Settled,
    Started,
    UndoPostponed,
)
from openportal.templemeads.job import State
from openportal.templemeads.state import RESTORED_VERSION_STEP
from openportal.templemeads.worker import ADOPTION_SECONDS, MAX_CRASHED_ATTEMPTS, UNDO_AGAIN_SECONDS, UNDO_SECONDS

ALICE = "alice.demo.brics"
LIFETIME_SECONDS = 60


def stuck(present: bool = False, instruction: str = f"add_user {ALICE}") -> tuple[World, str]:
    """A facility whose scheduler does not answer, and a job that stops there after its account step."""
    world = facility()
    if present:
        accounts(world).add(ALICE)
    world.unlink("shared", "scheduler")
    id = world.ask("bridge", "brics", southbound(instruction), LIFETIME_SECONDS)
    world.settle()
    return world, id


def accounts(world: World) -> Accounts:
    system = world["account"].leaf
    assert isinstance(system, Accounts)
    return system


def settled(node: Node) -> list[str]:
    return [event.how for event in node.events(Settled)]


def what_an_expired_saga_created_is_undone() -> None:
    world, id = stuck()
    world.advance(LIFETIME_SECONDS + 2)
    assert world.outcome("bridge", id).error_kind == "expired"
    assert accounts(world).present == {ALICE}, "somebody may still ask again"
    world.advance(ADOPTION_SECONDS + 2)
    assert accounts(world).present == set()
    assert settled(world["shared"]) == ["undone"]
    assert not world["shared"].core.abandoned


def a_project_that_nobody_knows_the_fate_of_is_taken_back() -> None:
    world = facility()
    world.unlink("shared", "account")
    core = world["shared"].core
    world.ask("bridge", "brics", southbound("add_project demo.brics"), LIFETIME_SECONDS)
    world.settle()
    assert core.active
    world.link("shared", "account")
    world.settle()
    world.unlink("shared", "account")
    world.advance(LIFETIME_SECONDS + ADOPTION_SECONDS + 2)
    world.link("shared", "account")
    world.settle()
    assert not core.abandoned
    assert accounts(world).present in (set(), {"demo.brics"})


def what_was_there_before_is_not_undone() -> None:
    world, _ = stuck(present=True)
    world.advance(LIFETIME_SECONDS + ADOPTION_SECONDS + 2)
    assert accounts(world).present == {ALICE}
    assert settled(world["shared"]) == ["nothing to undo"]


def nothing_is_abandoned_that_asked_for_no_change() -> None:
    world, _ = stuck(instruction="get_usage_report demo.brics")
    world.advance(LIFETIME_SECONDS + 2)
    assert not world["shared"].events(Abandoned)


def the_same_asked_again_goes_on_from_there() -> None:
    world, _ = stuck()
    world.advance(LIFETIME_SECONDS + 2)
    again = world.ask("bridge", "brics", southbound(f"add_user {ALICE}"))
    world.link("shared", "scheduler")
    world.settle()
    assert world.outcome("bridge", again).state is State.COMPLETE
    [adopted] = world["shared"].events(Adopted)
    assert adopted.by == world["shared"].events(Received, "clusters")[-1].id
    world.advance(ADOPTION_SECONDS + 2)
    assert accounts(world).present == {ALICE}
    assert accounts(world).removes[ALICE] == 0
    assert not settled(world["shared"])


def an_heir_knows_what_was_there_before() -> None:
    """The heir finds the user that its predecessor made; when it fails too, that user is still ours to take back."""
    world, _ = stuck()
    world.advance(LIFETIME_SECONDS + 2)
    world.ask("bridge", "brics", southbound(f"add_user {ALICE}"), LIFETIME_SECONDS)
    world.settle()
    world.advance(LIFETIME_SECONDS + ADOPTION_SECONDS + 4)
    assert settled(world["shared"]) == ["undone"]
    assert accounts(world).present == set()


def another_change_hurries_the_undoing() -> None:
    world, _ = stuck()
    world.advance(LIFETIME_SECONDS + 2)
    later = world.ask("bridge", "brics", southbound(f"block_user {ALICE}"))
    world.settle()
    assert settled(world["shared"]) == ["undone"]
    assert accounts(world).present == set()
    assert world.outcome("bridge", later).finished


def a_crash_does_not_forget_what_is_to_be_undone() -> None:
    world, _ = stuck()
    world.advance(LIFETIME_SECONDS + 2)
    for _ in range(2):
        world["shared"].crash()
        world.start()
        world.unlink("shared", "scheduler")
        world.settle()
    assert accounts(world).present == {ALICE}
    assert image_of(world["shared"].core) == image_of(world["shared"].replayed())
    world.advance(ADOPTION_SECONDS + 2)
    assert accounts(world).present == set()
    assert settled(world["shared"]) == ["undone"]


def what_expired_while_we_were_down_is_undone() -> None:
    world, id = stuck()
    world["shared"].crash()
    world.advance(LIFETIME_SECONDS + 2)
    world.start()
    world.settle()
    world.advance(ADOPTION_SECONDS + 2)
    assert world.outcome("bridge", id).error_kind == "expired"
    assert accounts(world).present == set()
    assert settled(world["shared"]) == ["undone"]


def an_undoing_that_nobody_takes_is_asked_again() -> None:
    world, _ = stuck()
    world.unlink("shared", "account")
    world.advance(1_200, step=10.0)
    assert len(world["shared"].events(UndoPostponed)) > 1
    world["shared"].crash()
    world.start()
    world.unlink("shared", "account")
    world.advance(600, step=10.0)
    assert not settled(world["shared"])
    world.link("shared", "account")
    world.settle()
    world.advance(UNDO_AGAIN_SECONDS + 2)
    assert settled(world["shared"]) == ["undone"]
    assert accounts(world).present == set()
    assert accounts(world).removes[ALICE] == 1


def the_same_asked_again_takes_the_place_of_an_undoing_that_waits() -> None:
    world, _ = stuck()
    world.unlink("shared", "account")
    world.advance(LIFETIME_SECONDS + ADOPTION_SECONDS + UNDO_SECONDS + 5)
    [waiting] = world["shared"].core.abandoned.values()
    assert not waiting.undoing
    again = world.ask("bridge", "brics", southbound(f"add_user {ALICE}"))
    world.link("shared", "account")
    world.link("shared", "scheduler")
    world.settle()
    assert world.outcome("bridge", again).state is State.COMPLETE
    assert len(world["shared"].events(Adopted)) == 1
    assert accounts(world).removes[ALICE] == 0


def an_undoing_that_fails_says_so() -> None:
    world, _ = stuck()
    world["account"].leaf = refusing(accounts(world))
    world.advance(LIFETIME_SECONDS + ADOPTION_SECONDS + 2)
    [event] = world["shared"].events(Settled)
    assert event.how == "undo failed"
    assert "account.remove_user#1" in event.detail


def refusing(system: Accounts) -> Leaf:
    def leaf(instruction: Instruction) -> object:
        if instruction.verb == "remove_user":
            raise RunError("no")
        return system(instruction)

    return leaf


def no_further_step_is_begun() -> None:
    world, _ = stuck()
    world.advance(LIFETIME_SECONDS + 1)
    before = len(world["shared"].events(Sent))
    world.link("shared", "scheduler")
    world.settle()
    assert len(world["shared"].events(Sent)) == before


# --- quarantine -------------------------------------------------------------------------------------------------------


def leaf_core() -> Core:
    return Core("c", LeafRole("Account", dict.fromkeys(VERBS.values(), print)), [peer_of("b")])


def after_starts(command: str, starts: int, in_good_order: bool) -> tuple[Core, list[tuple[str, Any]]]:
    """A leaf with one job in hand that went down so many times with it."""
    core = leaf_core()
    core.came_up("1", 1, START)
    core.registered(peer_of("b"), "Instance", START)
    begun(core, command)
    log = core.take().events
    for _ in range(starts):
        if in_good_order:
            core.went_down("stopped", START)
            log += core.take().events
        core = leaf_core()
        for stream, event in log:
            core.apply(stream, event, START)
        core.recover(START)
        core.came_up("1", 1, START)
        core.tick(START + RESUME_AFTER_SECONDS + 1)
        log += core.take().events
    return core, log


def of_kind(log: list[tuple[str, Any]], kind: type) -> list[Any]:
    return [event for _, event in log if isinstance(event, kind)]


def a_look_that_took_the_agent_down_too_often_is_quarantined() -> None:
    core, log = after_starts("b.c get_users demo.brics", MAX_CRASHED_ATTEMPTS + 1, False)
    assert [event.attempt for event in of_kind(log, Started)] == [1, 2, 3, 4]
    assert len(of_kind(log, Quarantined)) == 1
    assert list(core.board(peer_of("b")).aside)


def stops_in_good_order_are_not_held_against_a_job() -> None:
    for command in ("b.c get_users demo.brics", "b.c add_user alice.demo.brics"):
        core, log = after_starts(command, 2 * MAX_CRASHED_ATTEMPTS, True)
        assert not of_kind(log, Quarantined)
        assert core.active


# --- operators --------------------------------------------------------------------------------------------------------


def quarantined(command: str = "b.c add_user alice.demo.brics") -> tuple[Core, str]:
    core, _ = after_starts(command, MAX_CRASHED_ATTEMPTS + 1, False)
    [id] = core.board(peer_of("b")).aside
    core.take()
    return core, id


def an_operator_has_a_job_in_quarantine_run_again() -> None:
    for failure, how in ((None, "done after all"), (RunError("no"), "failed again")):
        core, id = quarantined()
        core.operate("retry", peer_of("b"), id, "op", "mended", START + 900)
        assert core.take_runs() == [(peer_of("b"), id)]
        core.ran(peer_of("b"), id, "alice.demo.brics:alice.demo:brics.demo", START + 901, failure)
        events = core.take().events
        assert [event.how for event in of_kind(events, Settled)] == [how]
        assert not core.board(peer_of("b")).aside
        assert not core.active


def an_operator_puts_a_job_in_quarantine_aside_for_good() -> None:
    core, id = quarantined()
    core.operate("resolve", peer_of("b"), id, "op", "done by hand", START)
    assert [event.by for event in of_kind(core.take().events, Operated)] == ["op"]
    assert not core.board(peer_of("b")).aside


def an_operator_cancels_a_job_and_what_it_made_is_undone() -> None:
    world, id = stuck()
    core = world["shared"].core
    [(board, entry)] = [(b, e) for b, e in core.open_jobs() if e.inbound]
    core.operate("cancel", board.peer, entry.job.id, "op", "wrong user", world.now)
    world["shared"].flush()
    world.settle()
    assert "cancelled at shared by op: wrong user" in (world.outcome("bridge", id).result or "")
    world.advance(LIFETIME_SECONDS + ADOPTION_SECONDS + 2)
    assert accounts(world).present == set()


def what_an_operator_cannot_do_is_told() -> None:
    core, id = quarantined()
    for action, which in (("retry", "other"), ("cancel", id), ("frobnicate", id)):
        try:
            core.operate(action, peer_of("b"), which, "op", "", START)
        except InvalidJob as error:
            assert which in str(error) or action in str(error)
        else:
            raise AssertionError(f"{action} {which} was taken")
    assert not core.take().events


def a_restored_log_shows_versions_that_nobody_has_seen() -> None:
    core = leaf_core()
    core.registered(peer_of("b"), "Instance", START)
    job = begun(core, "b.c get_users demo.brics")
    core.came_up("1", 1, START, generation=3)
    [(_, entry)] = core.open_jobs()
    assert entry.job.version == job.version + 2 * RESTORED_VERSION_STEP
    core.take()
    core.came_up("1", 1, START, generation=3)
    assert not of_kind(core.take().events, Restored)


ASIDE = [
    what_an_expired_saga_created_is_undone,
    a_project_that_nobody_knows_the_fate_of_is_taken_back,
    what_was_there_before_is_not_undone,
    nothing_is_abandoned_that_asked_for_no_change,
    the_same_asked_again_goes_on_from_there,
    an_heir_knows_what_was_there_before,
    another_change_hurries_the_undoing,
    a_crash_does_not_forget_what_is_to_be_undone,
    what_expired_while_we_were_down_is_undone,
    an_undoing_that_nobody_takes_is_asked_again,
    the_same_asked_again_takes_the_place_of_an_undoing_that_waits,
    an_undoing_that_fails_says_so,
    no_further_step_is_begun,
    a_look_that_took_the_agent_down_too_often_is_quarantined,
    stops_in_good_order_are_not_held_against_a_job,
    an_operator_has_a_job_in_quarantine_run_again,
    an_operator_puts_a_job_in_quarantine_aside_for_good,
    an_operator_cancels_a_job_and_what_it_made_is_undone,
    what_an_operator_cannot_do_is_told,
    a_restored_log_shows_versions_that_nobody_has_seen,
]
