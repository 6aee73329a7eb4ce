"""What must hold in small situations, one function each: the tests run them, and mutants are tried on them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from world import START, Accounts, World, facility, leaf, new_job, peer_of, relay, southbound, unaccounted

from openportal.agents.instance import InstanceRole
from openportal.agents.roles import LeafRole, RelayRole
from openportal.errors import Expired, InvalidJob
from openportal.grammar.instructions import VERBS
from openportal.templemeads.board import MAX_STORED_RESULT_BYTES
from openportal.templemeads.core import RESUME_AFTER_SECONDS, Core
from openportal.templemeads.events import Ended, Intended, Joined, Late, Observed, Quarantined, Received, Sent, Started
from openportal.templemeads.job import MAX_VERSION, Job, State, Wire
from openportal.templemeads.outbox import MAX_SYNC_BYTES
from openportal.templemeads.saga import Ask, Driver
from openportal.templemeads.state import StateImage
from openportal.templemeads.worker import AGENT_WAIT_SECONDS

ADD = "b.c add_user alice.demo.brics"
LOOK = "a.b.c get_users demo.brics"


def chain(auto: bool = False) -> World:
    """a asks, b passes on, c works."""
    world = World(auto)
    world.add("a", relay("Portal"))
    world.add("b", relay("Provider"))
    world.add("c", leaf("Account"), Accounts())
    world.neighbours("a", "b")
    world.neighbours("b", "c")
    world.start()
    world.settle()
    return world


def deliver_all(world: World, *pairs: tuple[str, str]) -> None:
    """Deliver what is under way between these, committing at both ends, and nothing else."""
    for pair in pairs:
        world[pair[0]].commit()
        while world.queues[pair]:
            world.deliver(pair)
        world[pair[1]].commit()


def finish_all(world: World, name: str) -> None:
    world[name].commit()
    for running in list(world[name].running):
        world[name].finish(running)
    world[name].commit()


def single() -> Core:
    """A relay between a and c, with both links up."""
    core = Core("b", RelayRole("Provider"), [peer_of("a"), peer_of("c")])
    for peer in ("a", "c"):
        core.registered(peer_of(peer), "Provider", START)
    core.take()
    return core


def told(core: Core, kind: str) -> list[tuple[str, Wire]]:
    return [(peer, command[kind]["job"]) for peer, command in core.take().sends if kind in command]


# --- the way through --------------------------------------------------------------------------------------------------


def job_goes_down_and_its_outcome_comes_back() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    world.settle()
    outcome = world.outcome("a", id)
    assert (outcome.state, outcome.version) == (State.COMPLETE, 1002)
    assert outcome.result == '"alice.demo.brics:alice.demo:demo"'
    assert [len(world[name].events(Ended)) for name in "abc"] == [1, 2, 1]
    assert not unaccounted(world)


def nothing_leaves_before_its_commit() -> None:
    world = chain()
    world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    assert not world.told("a", "b", "Put")
    world["a"].crash()
    world.start()
    world.settle()
    assert not world["b"].events(Received)
    assert not unaccounted(world)


def effect_waits_for_its_intent() -> None:
    world = chain()
    world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    deliver_all(world, ("a", "b"))
    world.deliver(("b", "c"))
    [running] = world["c"].running
    world["c"].finish(running)
    system = world["c"].leaf
    assert isinstance(system, Accounts)
    assert not system.present
    finish_all(world, "c")
    assert system.present
    assert [type(event) for _, event, _ in world["c"].log[-4:]] == [Started, Intended, Observed, Ended]


def forwarding_is_one_unit() -> None:
    core = single()
    core.put(peer_of("a"), new_job("a.b.c " + "frobnicate x", START).to_wire(), START)
    ready = core.take()
    assert [type(event) for _, event in ready.events] == [Received, Sent]
    assert [peer for peer, _ in ready.sends] == [peer_of("c")]


def job_is_passed_on_as_pending() -> None:
    core = single()
    wire = new_job("a.b.c frobnicate x", START).to_wire()
    wire |= {"state": "Duplicate", "result": "other", "priority": 3}
    core.put(peer_of("a"), wire, START)
    [(_, job)] = told(core, "Put")
    assert (job["state"], job["result"], job["priority"]) == ("Pending", None, 3)


def progress_is_passed_on_and_not_stored() -> None:
    core = single()
    job = new_job("a.b.c frobnicate x", START)
    core.put(peer_of("a"), job.to_wire(), START)
    core.take()
    core.update(peer_of("c"), job.started(START + 1, "half way").to_wire(), START + 1)
    ready = core.take()
    [(peer, command)] = ready.sends
    assert not ready.events
    assert (peer, command["Update"]["job"]["result"], command["Update"]["job"]["version"]) == (
        peer_of("a"),
        "half way",
        3,
    )
    core.update(peer_of("c"), job.started(START + 1, "again").to_wire(), START + 1)
    assert not core.take().sends


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(command: str, now: float = START, expires: int = 300, linked: bool = True) -> Wire:
    core = single()
    if not linked:
        core = Core("b", RelayRole("Provider"), [peer_of("a"), peer_of("c")])
    core.put(peer_of("a"), new_job(command, START, expires).to_wire(), now)
    ready = core.take()
    assert not ready.events
    [(peer, answer)] = ready.sends
    assert peer == peer_of("a")
    job: Wire = answer["Update"]["job"]
    assert (job["state"], job["version"]) == ("Error", 1002)
    return job


def every_refusal_is_answered() -> None:
    expired = refused("a.b.c x y", START + 301)
    assert expired["error"]["kind"] == "expired"
    unroutable = refused("a.b.d x y")
    assert unroutable["error"]["kind"] == "unroutable"
    assert "b has no neighbour 'd': it knows a, c" in unroutable["result"]
    off_route = refused("x.y.z get_users demo.brics")
    assert off_route["error"]["kind"] == "unroutable"
    assert "b does not come straight after a" in off_route["result"]
    upwards = refused("b.a get_users demo.brics")
    assert upwards["error"]["kind"] == "invalid"
    assert refused("nonsense")["error"]["kind"] == "invalid"
    assert refused("a.b get_users demo.brics")["error"]["kind"] == "unsupported"


def a_refusal_does_not_wait_for_a_registration() -> None:
    assert refused("a.b.d x y", linked=False)["error"]["kind"] == "unroutable"


def a_path_that_turns_back_is_refused() -> None:
    for path in ("a.b.a", "a.b.a.b.c"):
        assert "and back" in refused(f"{path} x y")["result"]
    core = single()
    job = new_job("a.b.c.d.b.e x y", START)
    core.neighbours.append(peer_of("d"))
    core.registered(peer_of("d"), "Provider", START)
    core.put(peer_of("a"), job.to_wire(), START)
    core.take()
    core.put(peer_of("d"), job.to_wire(), START)
    [(peer, answer)] = told(core, "Update")
    assert (peer, answer["error"]["kind"]) == (peer_of("d"), "unroutable")
    assert not core.board(peer_of("c")).open[job.id].inbound


def full_or_stopping_means_no_new_jobs() -> None:
    core = single()
    core.draining = "b is stopping"
    core.put(peer_of("a"), new_job("a.b.c x y", START).to_wire(), START)
    [(_, job)] = told(core, "Update")
    assert (job["error"]["kind"], job["result"]) == ("unavailable", "b is stopping")


def what_is_no_job_is_counted() -> None:
    core = single()
    for wire in (None, 5, {}, {"id": 3}, new_job("a.b x", START).to_wire() | {"version": MAX_VERSION + 1}):
        core.put(peer_of("a"), wire, START)
        core.update(peer_of("a"), wire, START)
        core.sync(peer_of("a"), [wire], START)
    assert core.rejected == 15
    ready = core.take()
    assert (ready.events, ready.sends) == ([], [])


# --- repeats and terminal states --------------------------------------------------------------------------------------


def a_repeat_is_answered_with_what_we_hold() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    world.settle()
    old = new_job("a.b.c add_user alice.demo.brics", START, id=id)
    before = len(world["b"].log)
    for version in (2, 1002, 5000):
        world["b"].core.put(peer_of("a"), msgspec.structs.replace(old, version=version).to_wire(), START)
        [(_, job)] = told(world["b"].core, "Update")
        assert job["state"] == "Complete"
        assert job["version"] > version or job["version"] == 1002 == version
    assert len(world["b"].log) == before


def a_repeat_of_an_open_job_shows_its_progress() -> None:
    core = single()
    job = new_job("a.b.c x y", START)
    core.put(peer_of("a"), job.to_wire(), START)
    core.update(peer_of("c"), job.started(START, "half way").to_wire(), START)
    core.take()
    core.put(peer_of("a"), job.to_wire(), START)
    [(_, answer)] = told(core, "Update")
    assert (answer["result"], answer["version"]) == ("half way", 3)


def versions_never_fall_behind_what_the_sender_has_seen() -> None:
    core = Core("c", leaf("Account")(chain()["c"]), [peer_of("b")])
    core.registered(peer_of("b"), "Provider", START)
    job = new_job("b.c add_user alice.demo.brics", START)
    core.put(peer_of("b"), job.to_wire(), START)
    core.put(peer_of("b"), msgspec.structs.replace(job, version=9, state=State.RUNNING).to_wire(), START)
    core.take()
    core.progress(peer_of("b"), job.id, "on it", START)
    [(_, answer)] = told(core, "Update")
    assert answer["version"] == 10


def progress_passed_on_does_not_go_back() -> None:
    core = single()
    job = new_job("a.b.c x y", START)
    core.put(peer_of("a"), job.to_wire(), START)
    core.put(peer_of("a"), msgspec.structs.replace(job, version=9, state=State.RUNNING).to_wire(), START)
    core.take()
    core.update(peer_of("c"), job.started(START, "on it").to_wire(), START)
    [(_, answer)] = told(core, "Update")
    assert answer["version"] == 10


def the_first_terminal_state_wins() -> None:
    core = single()
    job = new_job("a.b.c x y", START, 60)
    core.put(peer_of("a"), job.to_wire(), START)
    core.tick(START + 61)
    core.take()
    core.update(peer_of("c"), job.completed(START + 62, "1", "T").to_wire(), START + 62)
    ready = core.take()
    assert not ready.sends
    [(stream, event)] = ready.events
    assert (stream, event) == (f"board:{peer_of('c')}", Late(job.id, 1002, True))
    core.put(peer_of("a"), job.to_wire(), START + 63)
    [(_, answer)] = told(core, "Update")
    assert answer["error"]["kind"] == "expired"


def terminal_versions_grow_by_a_thousand_once() -> None:
    core = single()
    job = new_job("a.b.c x y", START)
    core.put(peer_of("a"), job.to_wire(), START)
    core.update(peer_of("c"), job.started(START, "1").started(START, "2").to_wire(), START)
    core.take()
    core.update(peer_of("c"), job.failed(START, "no", "run").to_wire(), START)
    [(_, answer)] = told(core, "Update")
    assert answer["version"] == 1004


def an_expired_job_ends_once_at_each_hop() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics", 60)
    deliver_all(world, ("a", "b"))
    world.now += 61
    for node in world.nodes.values():
        node.tick()
    world.settle()
    assert [len(world[name].events(Ended)) for name in "ab"] == [1, 2]
    assert world.outcome("a", id).error_kind == "expired"
    assert not [entry for node in world.nodes.values() for _, entry in node.core.open_jobs()]


def an_expired_job_is_not_begun() -> None:
    world = chain()
    first = world.ask("a", "b", "a.b.c add_user alice.demo.brics", 300)
    world.ask("a", "b", "a.b.c remove_user alice.demo.brics", 60)
    deliver_all(world, ("a", "b"), ("b", "c"))
    world.now += 60
    finish_all(world, "c")
    assert [event.id for event in world["c"].events(Started)] == [first]


# --- repeats of the words ---------------------------------------------------------------------------------------------


def the_same_words_are_asked_once() -> None:
    world = chain()
    ids = [world.ask("a", "b", LOOK) for _ in range(3)]
    world.settle()
    assert [job["job"]["id"] for job in world.told("a", "b", "Put")] == ids[:1]
    assert len(world["a"].events(Joined)) == 2
    assert {world.outcome("a", id).result for id in ids} == {"[]"}


def who_joined_asks_when_the_leader_expires() -> None:
    world = chain()
    lead = world.ask("a", "b", "a.b.c get_users demo.brics", 60)
    later = [world.ask("a", "b", "a.b.c get_users demo.brics", 200) for _ in range(2)]
    deliver_all(world, ("a", "b"))
    world.unlink("b", "c")
    world.now += 61
    world["a"].tick()
    deliver_all(world, ("a", "b"))
    assert [body["job"]["id"] for body in world.told("a", "b", "Put")] == [lead, later[0]]
    world["a"].crash()
    world.start()
    assert {e.job.id: e.leader for _, e in world["a"].core.open_jobs()} == {later[0]: None, later[1]: later[0]}
    world.settle()
    assert [world.outcome("a", id).state for id in (lead, *later)] == [State.ERROR, State.COMPLETE, State.COMPLETE]


def a_change_in_between_is_not_jumped() -> None:
    core = Core("a", RelayRole("Portal"), [peer_of("b")])
    words = ["add_user alice.demo.brics", "remove_user alice.demo.brics", "add_user alice.demo.brics"]
    ready = [submit(core, f"a.b {text}") for text in words]
    assert not [event for events in ready for event in events if isinstance(event, Joined)]
    board = core.board(peer_of("b"))
    for entry in list(board.open.values())[1:]:
        core.update(peer_of("b"), entry.job.completed(START, None, "None").to_wire(), START)
    assert not isinstance(submit(core, f"a.b {words[0]}")[-1], Joined)


def submit(core: Core, command: str, forwarded_for: str | None = None) -> list[object]:
    job = msgspec.structs.replace(new_job(command, START), forwarded_for=forwarded_for)
    core.submit(peer_of("b"), job, "key", START)
    return [event for _, event in core.take().events]


def a_look_in_between_does_no_harm() -> None:
    core = Core("a", RelayRole("Portal"), [peer_of("b")])
    submit(core, "a.b get_users demo.brics")
    submit(core, "a.b is_user_added alice.demo.brics")
    assert isinstance(submit(core, "a.b get_users demo.brics")[-1], Joined)
    look = list(core.board(peer_of("b")).open.values())[1]
    core.update(peer_of("b"), look.job.completed(START, "true", "bool").to_wire(), START)
    assert isinstance(submit(core, "a.b get_users demo.brics")[-1], Joined)


def changes_of_no_subject_are_not_jumped() -> None:
    core = Core("a", RelayRole("Bridge"), [peer_of("b")])
    for text in ("add_offerings x.a.y", "remove_offerings x.a.y", "add_offerings x.a.y"):
        assert not isinstance(submit(core, f"a.b {text}")[-1], Joined)


def the_same_words_of_two_askers_are_two_questions() -> None:
    core = Core("a", RelayRole("Portal"), [peer_of("b")])
    submit(core, "a.b.x get_awards one", "one.a.x")
    assert not isinstance(submit(core, "a.b.x get_awards one", "two.a.x")[-1], Joined)
    assert isinstance(submit(core, "a.b.x get_awards one", "one.a.x")[-1], Joined)


def what_was_changed_is_known_after_a_restart() -> None:
    core = Core("a", RelayRole("Portal"), [peer_of("b")])
    submit(core, "a.b get_users demo.brics")
    submit(core, "a.b add_user alice.demo.brics")
    change = list(core.board(peer_of("b")).open.values())[1]
    core.update(peer_of("b"), change.job.completed(START, None, "None").to_wire(), START)
    other = Core("a", RelayRole("Portal"), [peer_of("b")])
    other.restore(msgspec.json.decode(msgspec.json.encode(core.image()), type=StateImage))
    assert not isinstance(submit(other, "a.b get_users demo.brics")[-1], Joined)


# --- Sync -------------------------------------------------------------------------------------------------------------


def a_lost_put_is_made_good() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    world["a"].commit()
    world.unlink("a", "b")
    world.start()
    world.settle()
    assert world.outcome("a", id).state is State.COMPLETE


def a_lost_update_is_made_good() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    deliver_all(world, ("a", "b"), ("b", "c"))
    finish_all(world, "c")
    world.unlink("b", "c")
    world.start()
    world.settle()
    assert world.outcome("a", id).state is State.COMPLETE


def what_ended_while_the_sender_was_away_is_in_our_sync() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    deliver_all(world, ("a", "b"), ("b", "c"))
    world.unlink("b", "c")
    finish_all(world, "c")
    world.sent.clear()
    world.start()
    deliver_all(world, ("b", "c"))  # registers, and nothing else is said
    jobs = [job for body in world.told("c", "b", "Sync") for job in body["state"]["jobs"]]
    assert [(job["id"], job["state"]) for job in jobs] == [(id, "Complete")]
    world.settle()
    assert world.outcome("a", id).state is State.COMPLETE


def a_sync_comes_in_pieces() -> None:
    core = Core("a", RelayRole("Portal"), [peer_of("b")])
    text = "é" * 4_000
    for number in range(200):
        core.submit(peer_of("b"), new_job(f"a.b set_limit p{number}.brics {text}", START), "key", START)
    core.registered(peer_of("b"), "Provider", START)
    syncs = [command for _, command in core.take().sends if "Sync" in command]
    assert len(syncs) > 5
    assert all(len(msgspec.json.encode(command)) <= MAX_SYNC_BYTES for command in syncs)
    assert sum(len(command["Sync"]["state"]["jobs"]) for command in syncs) == 200


# --- recovery ---------------------------------------------------------------------------------------------------------


def interrupted() -> tuple[World, str]:
    """c has begun a change, and crashed; its link stays down."""
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    deliver_all(world, ("a", "b"), ("b", "c"))
    world["c"].crash()
    world["c"].start()
    world["c"].commit()
    return world, id


def a_change_resumes_when_its_sender_lists_it() -> None:
    world, id = interrupted()
    assert not world["c"].running
    world.start()
    world.settle()
    assert world.outcome("a", id).state is State.COMPLETE
    assert [event.attempt for event in world["c"].events(Started)] == [1, 2]


def a_change_resumes_when_its_sender_stays_away() -> None:
    world, _ = interrupted()
    world.now += RESUME_AFTER_SECONDS - 1
    world["c"].tick()
    assert not world["c"].running
    world.now += 2
    world["c"].tick()
    assert world["c"].running


def a_change_that_its_sender_came_back_without_ends() -> None:
    world, id = interrupted()
    core = world["c"].core
    core.registered(peer_of("b"), "Provider", world.now)
    core.sync(peer_of("b"), [], world.now)
    core.tick(world.now + RESUME_AFTER_SECONDS + 1)
    ready = core.take()
    assert not ready.runs
    assert [(event.id, event.kind) for _, event in ready.events if isinstance(event, Ended)] == [(id, "expired")]
    assert not [command for _, command in ready.sends if "Update" in command]


def a_sender_that_was_cut_off_while_it_told_is_waited_for() -> None:
    world, _ = interrupted()
    core = world["c"].core
    core.registered(peer_of("b"), "Provider", world.now)
    core.sync(peer_of("b"), [], world.now)  # the first piece, and the link is gone
    core.disconnected(peer_of("b"), world.now)
    core.tick(world.now + RESUME_AFTER_SECONDS + 1)
    assert not [event for _, event in core.take().events if isinstance(event, Ended)]


def a_job_that_took_the_agent_down_too_often_is_quarantined() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    deliver_all(world, ("a", "b"), ("b", "c"))
    for _ in range(3):
        assert world["c"].running
        world["c"].crash()
        world.start()
        deliver_all(world, ("b", "c"), ("c", "b"), ("b", "c"))
    assert not world["c"].running
    assert [event.attempt for event in world["c"].events(Quarantined)] == [4]
    world.settle()
    assert "an operator has to look at it" in (world.outcome("a", id).result or "")


def changes_go_in_order_after_a_restart() -> None:
    world = chain()
    verbs = ["add_user alice.demo.brics", "remove_user alice.demo.brics", "add_project demo.brics"]
    ids = [world.ask("a", "b", f"a.b.c {verb}") for verb in verbs]
    deliver_all(world, ("a", "b"), ("b", "c"))
    assert len(world["c"].running) == 1
    world["c"].crash()
    world.start()
    world.settle()
    started = [event.id for event in world["c"].events(Started)]
    assert started == [ids[0], *ids]
    system = world["c"].leaf
    assert isinstance(system, Accounts)
    assert system.present == {"demo.brics"}


def a_leaf_that_is_still_busy_with_an_expired_job_holds_its_lane() -> None:
    world = chain()
    world.ask("a", "b", "a.b.c remove_user alice.demo.brics", 60)
    later = world.ask("a", "b", "a.b.c add_user alice.demo.brics", 200)
    deliver_all(world, ("a", "b"), ("b", "c"))
    [busy] = world["c"].running
    world.now += 61
    world["c"].tick()
    world["c"].commit()
    assert world["c"].running == [busy]
    world["c"].finish(busy)
    assert len(world["c"].events(Late)) + len(world["c"].staged) > 0
    world.settle()
    assert world.outcome("a", later).state is State.COMPLETE
    system = world["c"].leaf
    assert isinstance(system, Accounts)
    assert system.present == {"alice.demo.brics"}


def an_image_is_as_good_as_the_whole_log() -> None:
    world = facility()
    for text in ("add_user alice.demo.brics", "is_user_added alice.demo.brics", "remove_user alice.demo.brics"):
        world.ask("bridge", "brics", southbound(text))
    world.settle()
    for node in world.nodes.values():
        assert image_of(node.core) == image_of(node.replayed())


def image_of(core: Core) -> object:
    """What counts of a core's state: boards without anything on them come and go."""
    image = core.image()
    boards = {board.peer: board for board in image.boards if board.open or board.recent or board.aside}
    return msgspec.to_builtins((boards, image.types, image.offerings, image.order))


def a_relay_that_restarts_in_the_middle_still_passes_the_outcome_on() -> None:
    world = chain()
    id = world.ask("a", "b", "a.b.c add_user alice.demo.brics")
    deliver_all(world, ("a", "b"), ("b", "c"))
    world["b"].crash()
    world.start()
    world.settle()
    assert world.outcome("a", id).state is State.COMPLETE


# --- sagas ------------------------------------------------------------------------------------------------------------


def at_an_instance(types: tuple[str, ...] = ("Account", "Filesystem", "Scheduler")) -> Core:
    core = Core("c", InstanceRole(), [peer_of("b"), *map(peer_of, types)])
    for agent_type in types:
        core.registered(peer_of(agent_type), agent_type, START)
    core.registered(peer_of("b"), "Platform", START)
    core.take()
    return core


def begun(core: Core, command: str, id: str = "9d0a6a0e-58a5-4a8f-9c3c-0f4f8e4a6f11") -> Job:
    job = new_job(command, START, 120, id)
    core.put(peer_of("b"), job.to_wire(), START)
    return job


def several_steps_are_asked_at_once_and_always_under_the_same_ids() -> None:
    runs = []
    for _ in range(2):
        core = at_an_instance()
        begun(core, ADD)
        asked = told(core, "Put")
        assert [job["command"].split(" ")[1] for _, job in asked] == [
            "is_blocked_user",
            "is_existing_user",
            "is_protected_user",
        ]
        runs.append([job["id"] for _, job in asked])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def a_step_that_expired_is_asked_again_under_another_id() -> None:
    core = at_an_instance()
    begun(core, ADD)
    [(peer, first), *_] = told(core, "Put")
    entry = next(entry for _, entry in core.open_jobs() if entry.inbound)
    ended = Job(**first).completed(START, "x" * MAX_STORED_RESULT_BYTES * 2, "T")
    core.update(peer, ended.to_wire(), START)
    entry.outcomes.clear()  # as after a restart: the body was too big to keep
    active = core.active[peer_of("b"), entry.job.id]
    active.driver = Driver(active.work.steps())  # type: ignore[misc]
    core._advance(active, START)
    asked = told(core, "Put")
    assert [job["command"] for _, job in asked] == [first["command"]]
    assert asked[0][1]["id"] != first["id"]


def a_saga_that_stumbles_over_an_answer_ends_its_job() -> None:
    for answer in ("null", "7", '[{"no": "mapping"}]'):
        core = at_an_instance()
        job = begun(core, "b.c is_blocked_project demo.brics")
        [(peer, asked)] = told(core, "Put")
        core.update(peer, Job(**asked).completed(START, answer, "T").to_wire(), START)
        [(back, outcome)] = told(core, "Update")
        assert (back, outcome["id"], outcome["error"]["kind"]) == (peer_of("b"), job.id, "run")
        assert "is_blocked_project failed at c" in outcome["result"]


def a_kind_of_agent_is_waited_for_and_then_given_up() -> None:
    core = at_an_instance(())
    begun(core, ADD)
    core.tick(START + AGENT_WAIT_SECONDS - 1)
    assert not told(core, "Update")
    core.tick(START + AGENT_WAIT_SECONDS + 1)
    [(_, outcome)] = told(core, "Update")
    assert outcome["error"]["kind"] == "unavailable"
    assert "c has no Account agent" in outcome["result"]
    core = at_an_instance(())
    begun(core, ADD)
    core.neighbours.append(peer_of("x"))
    core.registered(peer_of("x"), "Account", START + 2)
    assert [peer for peer, _ in told(core, "Put")] == [peer_of("x")] * 3


def busy_leaf(command: str = ADD) -> tuple[Core, Job]:
    core = Core("c", LeafRole("Account", dict.fromkeys(VERBS.values(), print)), [peer_of("b")])
    core.registered(peer_of("b"), "Instance", START)
    job = begun(core, command)
    assert core.take_runs() == [(peer_of("b"), job.id)]
    core.take()
    return core, job


def a_leaf_asks_back_and_is_answered() -> None:
    core, job = busy_leaf()
    ask = Ask("Instance", "get_local_home_dir alice.demo.brics:alice:demo")
    assert core.ask_back(peer_of("b"), job.id, "home", ask, START) is None
    [(peer, asked)] = told(core, "Put")
    assert (peer, asked["command"]) == (peer_of("b"), f"c.b {ask.instruction}")
    core.update(peer, Job(**asked).completed(START, '"/home/alice"', "String").to_wire(), START)
    [(_, id, step, outcome)] = core.take().steps
    assert (id, step, outcome.value) == (job.id, "home", "/home/alice")
    assert core.ask_back(peer_of("b"), job.id, "home", ask, START) == outcome


def a_leaf_is_told_when_nobody_can_be_asked() -> None:
    core, job = busy_leaf()
    refused = core.ask_back(peer_of("b"), job.id, "x", Ask("nobody", "get_users demo.brics"), START)
    assert refused is not None
    assert refused.kind == "unroutable"
    assert core.ask_back(peer_of("b"), job.id, "y", Ask("Scheduler", "get_users demo.brics"), START) is None
    core.tick(START + AGENT_WAIT_SECONDS + 1)
    [(_, _, step, outcome)] = core.take().steps
    assert (step, outcome.kind) == ("y", "unavailable")


def a_leaf_that_waits_for_an_agent_is_served_when_it_comes() -> None:
    core, job = busy_leaf()
    core.ask_back(peer_of("b"), job.id, "y", Ask("Scheduler", "get_users demo.brics"), START)
    core.neighbours.append(peer_of("x"))
    core.registered(peer_of("x"), "Scheduler", START)
    assert [peer for peer, _ in told(core, "Put")] == [peer_of("x")]


def a_leaf_does_not_wait_for_ever_once_its_job_has_ended() -> None:
    core, job = busy_leaf()
    core.ask_back(peer_of("b"), job.id, "x", Ask("Instance", "get_users demo.brics"), START)
    core.ask_back(peer_of("b"), job.id, "y", Ask("Scheduler", "get_users demo.brics"), START)
    core.tick(job.expires + 1)
    told = core.take().steps
    assert {(step, outcome.kind) for _, _, step, outcome in told} == {("x", "expired"), ("y", "expired")}


def what_was_observed_after_the_end_is_sealed_like_the_rest() -> None:
    core, job = busy_leaf()
    number = core.intend(peer_of("b"), job.id, "useradd", "alice", START)
    core.tick(job.expires + 1)
    core.take()
    core.observe(peer_of("b"), job.id, number, "alice has mail", job.expires + 2)
    [(_, event)] = core.take().events
    assert event == Observed(job.id, 1, False, "alice.demo.brics", "alice has mail")


def an_effect_after_the_end_is_refused() -> None:
    core, job = busy_leaf()
    core.tick(job.expires + 1)
    try:
        core.intend(peer_of("b"), job.id, "useradd", "alice", job.expires + 1)
    except Expired:
        return
    raise AssertionError("taken")


# --- what is too big --------------------------------------------------------------------------------------------------


def a_big_result_is_not_stored_and_still_delivered() -> None:
    core = single()
    body = '"' + "x" * MAX_STORED_RESULT_BYTES + '"'
    jobs = [new_job("a.b.c get_usage_report demo.brics", START), new_job("a.b.c get_usage_report other.brics", START)]
    for job in jobs:
        core.put(peer_of("a"), job.to_wire(), START)
    core.take()
    core.update(peer_of("c"), jobs[0].completed(START, body, "T").to_wire(), START)
    core.update(peer_of("c"), jobs[1].failed(START, body, "run").to_wire(), START)
    ready = core.take()
    ended = [event for _, event in ready.events if isinstance(event, Ended)]
    assert all(event.result is None and event.size == len(body) and event.sha256 for event in ended)
    sent = [command["Update"]["job"] for _, command in ready.sends]
    assert [job["result"] for job in sent] == [body, body]
    assert sent[1]["error"] == {"kind": "run", "message": body}
    core.put(peer_of("a"), jobs[0].to_wire(), START)
    [(_, again)] = told(core, "Update")
    assert again["result"] == body


def a_body_that_is_lost_is_asked_for_again() -> None:
    core = single()
    job = new_job("a.b.c get_usage_report demo.brics", START)
    core.put(peer_of("a"), job.to_wire(), START)
    body = '"' + "x" * MAX_STORED_RESULT_BYTES + '"'
    core.update(peer_of("c"), job.completed(START, body, "T").to_wire(), START)
    other = single()
    other.restore(msgspec.json.decode(msgspec.json.encode(core.image()), type=StateImage))
    other.board(peer_of("c")).linked = True
    other.put(peer_of("a"), job.to_wire(), START)
    assert [peer for peer, _ in told(other, "Put")] == [peer_of("c")]


def answers_of_the_software_end_held_jobs_only() -> None:
    world = facility(auto=True)
    job = new_job("brics.bridge.x get_awards site", START)
    world["bridge"].received("brics", {"Put": {"job": job.to_wire()}})
    asked = world.ask("bridge", "brics", "bridge.brics get_offerings")
    core = world["bridge"].core
    [entry] = [entry for _, entry in core.open_jobs() if entry.job.id == asked]
    for answer in (entry.job.completed(START, "[]", "T"), job):
        try:
            core.answered(peer_of("brics"), answer, START)
        except InvalidJob:
            continue
        raise AssertionError("taken")
    core.answered(peer_of("brics"), job.completed(START, "[]", "T"), START)
    assert core.board(peer_of("brics")).find(job.id).finished  # type: ignore[union-attr]


SCENARIOS: list[Callable[[], None]] = [
    job_goes_down_and_its_outcome_comes_back,
    nothing_leaves_before_its_commit,
    effect_waits_for_its_intent,
    forwarding_is_one_unit,
    job_is_passed_on_as_pending,
    progress_is_passed_on_and_not_stored,
    every_refusal_is_answered,
    a_refusal_does_not_wait_for_a_registration,
    a_path_that_turns_back_is_refused,
    full_or_stopping_means_no_new_jobs,
    what_is_no_job_is_counted,
    a_repeat_is_answered_with_what_we_hold,
    a_repeat_of_an_open_job_shows_its_progress,
    versions_never_fall_behind_what_the_sender_has_seen,
    progress_passed_on_does_not_go_back,
    the_first_terminal_state_wins,
    terminal_versions_grow_by_a_thousand_once,
    an_expired_job_ends_once_at_each_hop,
    an_expired_job_is_not_begun,
    the_same_words_are_asked_once,
    who_joined_asks_when_the_leader_expires,
    a_change_in_between_is_not_jumped,
    a_look_in_between_does_no_harm,
    changes_of_no_subject_are_not_jumped,
    the_same_words_of_two_askers_are_two_questions,
    what_was_changed_is_known_after_a_restart,
    a_lost_put_is_made_good,
    a_lost_update_is_made_good,
    what_ended_while_the_sender_was_away_is_in_our_sync,
    a_sync_comes_in_pieces,
    a_change_resumes_when_its_sender_lists_it,
    a_change_resumes_when_its_sender_stays_away,
    a_change_that_its_sender_came_back_without_ends,
    a_sender_that_was_cut_off_while_it_told_is_waited_for,
    a_job_that_took_the_agent_down_too_often_is_quarantined,
    changes_go_in_order_after_a_restart,
    a_leaf_that_is_still_busy_with_an_expired_job_holds_its_lane,
    an_image_is_as_good_as_the_whole_log,
    a_relay_that_restarts_in_the_middle_still_passes_the_outcome_on,
    several_steps_are_asked_at_once_and_always_under_the_same_ids,
    a_step_that_expired_is_asked_again_under_another_id,
    a_saga_that_stumbles_over_an_answer_ends_its_job,
    a_kind_of_agent_is_waited_for_and_then_given_up,
    a_leaf_asks_back_and_is_answered,
    a_leaf_is_told_when_nobody_can_be_asked,
    a_leaf_that_waits_for_an_agent_is_served_when_it_comes,
    a_leaf_does_not_wait_for_ever_once_its_job_has_ended,
    what_was_observed_after_the_end_is_sealed_like_the_rest,
    an_effect_after_the_end_is_refused,
    a_big_result_is_not_stored_and_still_delivered,
    a_body_that_is_lost_is_asked_for_again,
    answers_of_the_software_end_held_jobs_only,
]
