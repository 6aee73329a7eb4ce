"""The control plane between real agents over memory links, and with a neighbour that says what the test wants."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from openportal.agents.instance import InstanceRole
from openportal.agents.portal import PortalRole
from openportal.agents.roles import LeafRole, RelayRole
from openportal.bridge.agent import BridgeBackend, BridgeRole
from openportal.cli.published import VERSIONS, client_python
from openportal.errors import CommitFailed, GrammarError, InvalidJob, RunError, Unavailable, Unroutable
from openportal.grammar.health import DiagnosticsReport, HealthInfo
from openportal.grammar.instructions import GetUsers, IsProtectedUser
from openportal.paddington.memory import MemoryExchange, MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads import control as control_module
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import HOLD_SECONDS, MAX_HELD, MAX_HELD_BYTES, AgentControl, remainder
from openportal.templemeads.health import moment
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger import Settings
from openportal.templemeads.role import Role
from tests.bridge.support import KEY, serving

Json = dict[str, Any]
CHAIN = ("bridge", "brics", "aip1", "clusters", "shared", "accounts")
WAIT_SECONDS = 5.0
CHILD_MAX_SECONDS = 60
ID = "6f2c1c8e-52a4-4c3e-9a57-0c4b7f1c2d3e"


async def until(what: Callable[[], Any]) -> Any:
    """The first true value of `what`."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not (value := what()):  # noqa: ASYNC110  # what is waited for is anything
            await asyncio.sleep(0.005)
    return value


class Stranger:
    """A neighbour that is no agent: it registers as one, keeps what it hears, and says what it is told to."""

    def __init__(self, network: MemoryNetwork, name: str, agent_type: str, peer: str) -> None:
        self.type, self.peer = agent_type, Peer(peer, "default")
        self.heard: list[tuple[str, Json]] = []
        self.links: MemoryExchange = network.exchange(name, [self.peer], self)

    def connected(self, peer: Peer) -> None:
        self.say("Register", {"agent": self.type, "engine": "templemeads", "version": "0.32.2"})

    def received(self, peer: Peer, text: str) -> None:
        [(kind, body)] = json.loads(text).items()
        self.heard.append((kind, body))

    def disconnected(self, peer: Peer, reason: str) -> None:
        self.heard.append(("disconnected", {}))

    def say(self, kind: str, body: Any) -> None:
        self.links.send(self.peer, json.dumps({kind: body}))

    def of(self, kind: str) -> list[Json]:
        return [body for each, body in self.heard if each == kind]

    async def hears(self, kind: str) -> Json:
        """The last command of that kind, once there is one that was not taken yet."""
        body: Json = (await until(lambda: self.of(kind)))[-1]
        self.heard = [said for said in self.heard if said[0] != kind]
        return body


class Facility:
    """Agents in one process, each with its control plane and a ledger in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = MemoryNetwork()
        self.agents: dict[str, Agent] = {}
        self.controls: dict[str, AgentControl] = {}
        self.strangers: list[Stranger] = []

    def add(self, name: str, agent_type: str, *neighbours: str, handlers: Any = None) -> AgentControl:
        role, mine = self.role(name, agent_type, handlers or {})
        peers = [Peer(neighbour, "default") for neighbour in neighbours]
        settings = Settings(path=self.folder / name)
        agent = Agent(name, role, mine, settings, peers, lambda agent: self.network.exchange(name, peers, agent))
        agent.control = self.controls[name] = AgentControl(agent)
        self.agents[name] = agent
        return self.controls[name]

    def role(self, name: str, agent_type: str, handlers: Any) -> tuple[Role, Any]:
        core = lambda: self.agents[name].core  # noqa: E731
        match agent_type:
            case "Portal":
                portal = PortalRole(lambda: core().offerings, lambda offerings: core().offer(offerings, 0.0))
                return portal, portal.handlers()
            case "Bridge":
                bridge = BridgeRole(lambda: core().offerings)
                return bridge, bridge.handlers()
            case "Instance":
                return InstanceRole(), handlers
            case "Provider" | "Platform":
                return RelayRole(agent_type), handlers
        return LeafRole(agent_type, handlers), handlers

    def stranger(self, name: str, agent_type: str, peer: str) -> Stranger:
        stranger = Stranger(self.network, name, agent_type, peer)
        self.strangers.append(stranger)
        return stranger

    def linked(self) -> bool:
        return all(board.linked for agent in self.agents.values() for board in agent.core.boards.values())

    async def start(self) -> None:
        for agent in self.agents.values():
            await agent.start()
        for stranger in self.strangers:
            await stranger.links.start()
        await until(lambda: all(len(a.core.types) == len(a.core.neighbours) for a in self.agents.values()))
        await until(self.linked)

    async def stop(self) -> None:
        for stranger in self.strangers:
            await stranger.links.stop()
        for agent in self.agents.values():
            await agent.stop()

    async def run(self, command: str) -> Any:
        """A command of a client of the bridge; its job, finished."""
        backend = BridgeBackend(self.agents["bridge"], self.controls["bridge"])
        return await backend.job(await backend.run(command, "key"), WAIT_SECONDS)


def whole_chain(facility: Facility) -> None:
    """bridge, portal, provider, platform, instance and account agent."""

    def fail(run: Any, instruction: Any) -> bool:
        raise RunError("the directory is down")

    handlers = {GetUsers: lambda run, instruction: [], IsProtectedUser: fail}
    facility.add("bridge", "Bridge", "brics")
    facility.add("brics", "Portal", "bridge", "aip1")
    facility.add("aip1", "Provider", "brics", "clusters")
    facility.add("clusters", "Platform", "aip1", "shared")
    facility.add("shared", "Instance", "clusters", "accounts")
    facility.add("accounts", "Account", "shared", handlers=handlers)


@pytest.fixture
async def facility(tmp_path: Path) -> AsyncIterator[Facility]:
    facility = Facility(tmp_path)
    yield facility
    await facility.stop()


@pytest.fixture
async def chain(facility: Facility) -> Facility:
    whole_chain(facility)
    await facility.start()
    return facility


def names_below(health: Json) -> list[str]:
    """Everyone in a health report, from the top."""
    return [health["name"], *(name for peer in health["peers"].values() for name in names_below(peer))]


# --- health -----------------------------------------------------------------------------------------------------------


async def test_health_shows_the_whole_deployment(chain: Facility) -> None:
    assert (await chain.run("brics.aip1.clusters.shared get_users demo.brics"))["state"] == "Complete"
    health = await chain.controls["bridge"].health()
    assert names_below(health) == list(CHAIN)
    instance = health["peers"]["brics"]["peers"]["aip1"]["peers"]["clusters"]["peers"]["shared"]
    assert (instance["agent_type"], instance["links"]) == (
        "Instance",
        {"clusters@default": "up", "accounts@default": "up"},
    )
    leaf = instance["peers"]["accounts"]
    assert (leaf["successful_jobs"], leaf["total_completed"], leaf["active_jobs"]) == (1, 1, 0)
    assert 0 < leaf["job_time_max_ms"] < 1000
    agent = chain.agents["accounts"]
    assert (leaf["ledger"]["id"], leaf["ledger"]["position"]) == (agent.ledger.ledger_id, agent.ledger.position)
    relay = health["peers"]["brics"]["peers"]["aip1"]
    assert relay["total_completed"] == 1  # though it was on two boards


async def test_a_job_under_way_is_seen(facility: Facility) -> None:
    gate = asyncio.Event()

    async def wait(run: Any, instruction: Any) -> list[str]:
        await gate.wait()
        return []

    facility.add("accounts", "Account", "shared", handlers={GetUsers: wait})
    stranger = facility.stranger("shared", "Instance", "accounts")
    await facility.start()
    now = int(facility.agents["accounts"].clock())
    job = {"id": "0b6a3a5e-5d3c-4c43-9a63-6f1c6a0c7d10", "created": now, "changed": now, "expires": now + 60}
    command = {"version": 2, "command": "shared.accounts get_users demo.brics", "state": "Pending"}
    stranger.say("Put", {"job": job | command})
    health = facility.controls["accounts"].own_health
    await until(lambda: health()["active_jobs"])
    assert (health()["running_jobs"], health()["pending_jobs"], health()["inflight_jobs"]) == (1, 0, 0)
    [row] = (await facility.controls["accounts"].diagnostics("") or {})["running_jobs"]
    assert (row["destination"], row["instruction"], row["count"]) == ("shared.accounts", "get_users demo.brics", 1)
    gate.set()
    await until(lambda: health()["total_completed"])
    assert health()["active_jobs"] == 0


async def test_wire_of_a_health_check(facility: Facility) -> None:
    facility.add("brics", "Portal", "bridge", "aip1")
    bridge, provider = facility.stranger("bridge", "Bridge", "brics"), facility.stranger("aip1", "Provider", "brics")
    await facility.start()
    bridge.say("HealthCheck", {"visited": ["bridge"]})
    assert await provider.hears("HealthCheck") == {"visited": ["bridge", "brics"]}
    told = facility.controls["brics"].own_health() | {"name": "aip1", "agent_type": "Provider", "note": 1}
    provider.say("HealthResponse", {"health": told})
    health = (await bridge.hears("HealthResponse"))["health"]
    assert health["peers"] == {"aip1": told}
    assert not bridge.of("HealthCheck")


async def test_a_check_without_visited_is_not_sent_back(facility: Facility) -> None:
    facility.add("aip1", "Provider", "brics")
    portal = facility.stranger("brics", "Portal", "aip1")
    await facility.start()
    for body in ({}, {"visited": None}, {"visited": [1, {}]}, {"visited": ["x"] * 1000}):
        portal.say("HealthCheck", body)
        assert (await portal.hears("HealthResponse"))["health"]["name"] == "aip1"
    assert not portal.of("HealthCheck")


async def test_nobody_waits_for_a_silent_neighbour(facility: Facility) -> None:
    for name in ("silent1", "silent2", "silent3"):
        facility.stranger(name, "Platform", "aip1")
    facility.add("aip1", "Provider", "silent1", "silent2", "silent3")
    await facility.start()
    clock = asyncio.get_running_loop().time
    began = clock()
    assert (await facility.controls["aip1"].health())["peers"] == {}
    assert 0.45 < clock() - began < 0.8
    began = clock()
    asking = asyncio.create_task(facility.controls["aip1"].health(["a", "b", "c", "d"]))
    await asking
    assert clock() - began < 0.4  # deeper down there is less time
    asking = asyncio.create_task(facility.controls["aip1"].health())
    await asyncio.sleep(0.02)
    began = clock()
    for stranger in facility.strangers:
        await stranger.links.stop()
    await asking
    assert clock() - began < 0.2  # a link that is gone will not answer


async def test_what_a_neighbour_tells_is_looked_through(facility: Facility) -> None:
    control = facility.add("aip1", "Provider", "one")
    stranger = facility.stranger("one", "Platform", "aip1")
    await facility.start()
    good = control.own_health() | {"name": "one"}
    for wrong in (good | {"name": "two"}, {k: v for k, v in good.items() if k != "uptime_seconds"}, {}, "x"):
        asking = asyncio.create_task(control.health())
        await stranger.hears("HealthCheck")
        stranger.say("HealthResponse", {"health": wrong})
        assert (await asking)["peers"] == {}
    below = {"good": good | {"name": "good"}, "bad": {"name": "bad"}}
    asking = asyncio.create_task(control.health())
    await stranger.hears("HealthCheck")
    stranger.say("HealthResponse", {"health": good | {"peers": below}})
    assert list((await asking)["peers"]["one"]["peers"]) == ["good"]


async def test_leaves_ask_nobody_and_portals_leave_portals_alone(facility: Facility) -> None:
    facility.add("accounts", "Account", "shared")
    facility.add("brics", "Portal", "allocator")
    instance = facility.stranger("shared", "Instance", "accounts")
    portal = facility.stranger("allocator", "Portal", "brics")
    await facility.start()
    await facility.controls["accounts"].health()
    await facility.controls["brics"].health()
    assert not instance.of("HealthCheck") and not portal.of("HealthCheck")
    portal.say("HealthCheck", {"visited": []})
    portal.say("DiagnosticsRequest", {"destination": ""})
    portal.say("Restart", {"restart_type": "hard", "destination": ""})
    await asyncio.sleep(0.05)
    assert {kind for kind, _ in portal.heard} == {"Register", "Sync"}
    assert not facility.controls["brics"].restart_requested.is_set()
    with pytest.raises(Unroutable):
        await facility.controls["brics"].diagnostics("allocator")


async def test_many_checks_at_once_are_answered_without_asking_on(facility: Facility) -> None:
    facility.add("aip1", "Provider", "brics", "silent")
    portal, silent = facility.stranger("brics", "Portal", "aip1"), facility.stranger("silent", "Platform", "aip1")
    await facility.start()
    for _ in range(200):
        portal.say("HealthCheck", {"visited": []})
    await until(lambda: len(portal.of("HealthResponse")) >= 136)
    await until(lambda: len(portal.of("HealthResponse")) == 200)
    assert len(silent.of("HealthCheck")) == 64


# --- diagnostics ------------------------------------------------------------------------------------------------------


async def test_diagnostics_along_a_path(chain: Facility) -> None:
    job = await chain.run("brics.aip1.clusters.shared is_protected_user alice.demo.brics")
    assert job["state"] == "Error"
    control = chain.controls["bridge"]
    for path in ("", "bridge"):
        assert (await control.diagnostics(path) or {})["agent_name"] == "bridge"
    for path in ("brics.aip1.clusters.shared.accounts", "bridge.brics.aip1.clusters.shared.accounts"):
        report = await control.diagnostics(path) or {}
        assert report["agent_name"] == "accounts"
    [failed] = report["failed_jobs"]
    assert (failed["destination"], failed["error_message"]) == ("shared.accounts", "the directory is down")
    portal = await control.diagnostics("brics") or {}
    [failed] = [row for row in portal["failed_jobs"] if row["destination"] == "bridge.brics"]
    assert failed["count"] == 1 and failed["instruction"].startswith("submit ")


async def test_diagnostics_that_cannot_be_had(chain: Facility) -> None:
    control = chain.controls["bridge"]
    with pytest.raises(Unroutable):
        await control.diagnostics("nobody")
    with pytest.raises(Unroutable):
        await control.diagnostics(".".join("abcdefghijklmnopqrstuvwxyzabcdefghijkl"))
    clock = asyncio.get_running_loop().time
    began = clock()
    assert await control.diagnostics("brics.nobody") is None
    assert clock() - began < 1.5
    chain.network.cut("bridge", "brics")
    await until(lambda: not chain.agents["bridge"].core.board("brics@default").linked)
    assert await control.diagnostics("brics") is None


async def test_wire_of_diagnostics(facility: Facility) -> None:
    control = facility.add("brics", "Portal", "bridge", "aip1")
    bridge, provider = facility.stranger("bridge", "Bridge", "brics"), facility.stranger("aip1", "Provider", "brics")
    await facility.start()
    bridge.say("DiagnosticsRequest", {"destination": ""})
    assert (await bridge.hears("DiagnosticsResponse"))["report"]["agent_name"] == "brics"
    bridge.say("DiagnosticsRequest", {"destination": "aip1.clusters"})
    assert await provider.hears("DiagnosticsRequest") == {"destination": "clusters"}
    told = (await control.diagnostics("") or {}) | {"agent_name": "clusters", "note": [1]}
    for name in ("recent_logs", "notification_statistics"):
        del told[name]
    provider.say("DiagnosticsResponse", {"report": {"agent_name": "clusters"}})
    provider.say("DiagnosticsResponse", {"report": told | {"agent_name": "somebody"}})
    provider.say("DiagnosticsResponse", {"report": told})
    assert (await bridge.hears("DiagnosticsResponse"))["report"] == told
    assert remainder(["aip1"]) == "aip1"  # its own name: some agents refuse "" from a neighbour


# --- restart ----------------------------------------------------------------------------------------------------------


async def test_soft_restart_drops_links_and_loses_nothing(facility: Facility) -> None:
    gate = asyncio.Event()

    async def wait(run: Any, instruction: Any) -> list[str]:
        await gate.wait()
        return []

    whole_chain(facility)
    facility.agents["accounts"]._handlers = {GetUsers: wait}
    await facility.start()
    asking = asyncio.create_task(facility.run("brics.aip1.clusters.shared get_users demo.brics"))
    await until(lambda: facility.agents["accounts"].core.active)
    went: list[str] = []
    control = facility.controls["aip1"]
    control.disconnected = went.append  # type: ignore[method-assign]
    said = await facility.controls["bridge"].restart("soft", "brics.aip1")
    assert "aip1" in said
    await until(lambda: sorted(went) == ["brics@default", "clusters@default"])
    await until(facility.linked)
    gate.set()
    assert (await asking)["state"] == "Complete"


async def test_hard_restart_commits_and_asks_the_owner(chain: Facility) -> None:
    await chain.controls["bridge"].restart("hard", "brics.aip1.clusters")
    await asyncio.wait_for(chain.controls["clusters"].restart_requested.wait(), WAIT_SECONDS)
    assert chain.agents["clusters"].ledger.idle
    others = [name for name, control in chain.controls.items() if control.restart_requested.is_set()]
    assert others == ["clusters"]


async def test_hard_restart_with_a_broken_ledger_ends_as_well(chain: Facility) -> None:
    ledger = chain.agents["shared"].ledger
    real = ledger.submit

    def refuse(*args: Any) -> None:
        raise CommitFailed("the disk is full")

    ledger.submit = refuse  # type: ignore[method-assign]
    await chain.controls["shared"].restart("hard", "")
    await asyncio.sleep(0)
    ledger.submit = real  # type: ignore[method-assign]
    await asyncio.wait_for(chain.controls["shared"].restart_requested.wait(), WAIT_SECONDS)


async def test_wire_of_a_restart(facility: Facility) -> None:
    control = facility.add("aip1", "Provider", "brics", "clusters")
    portal, platform = facility.stranger("brics", "Portal", "aip1"), facility.stranger("clusters", "Platform", "aip1")
    await facility.start()
    portal.say("Restart", {"restart_type": "soft", "destination": "clusters.shared"})
    assert await platform.hears("Restart") == {"restart_type": "soft", "destination": "shared"}
    portal.say("Restart", {"restart_type": "hard", "destination": "clusters"})
    assert await platform.hears("Restart") == {"restart_type": "hard", "destination": "clusters"}
    for body in ({"restart_type": "warm", "destination": ""}, {}, {"restart_type": "hard", "destination": "nobody"}):
        portal.say("Restart", body)
    portal.say("HealthCheck", {})
    await portal.hears("HealthResponse")  # the link is still there
    assert not control.restart_requested.is_set() and not portal.of("disconnected")
    portal.say("Restart", {"restart_type": "soft", "destination": ""})  # as agents up to 0.32.2 say "you"
    await portal.hears("disconnected")


async def test_a_restart_that_cannot_be_passed_on_yet(chain: Facility) -> None:
    control = chain.controls["bridge"]
    with pytest.raises(InvalidJob):
        await control.restart("warm", "brics")
    with pytest.raises(Unroutable):
        await control.restart("soft", "nobody")
    chain.network.cut("bridge", "brics")
    await until(lambda: not chain.agents["bridge"].core.board("brics@default").linked)
    assert "is away" in await control.restart("hard", "brics")
    chain.network.mend("bridge", "brics")
    await asyncio.wait_for(chain.controls["brics"].restart_requested.wait(), WAIT_SECONDS)


# --- notifications ----------------------------------------------------------------------------------------------------


def note(destination: str, event: str = "UserAdded", argument: Any = "alice.demo.brics", **more: Any) -> Json:
    return {"notification": {"id": "1", "destination": destination, "event": {event: argument}, **more}}


async def test_events_from_below_come_to_the_software(chain: Facility) -> None:
    heard: list[Json] = []
    chain.controls["bridge"].on_notification = heard.append
    said = note("shared.clusters.aip1.brics", domain="greatwestern", extra={"x": 1})
    chain.agents["shared"].send("clusters@default", {"Notify": said})
    await until(lambda: heard)
    assert heard == [said["notification"]]
    statistics = chain.controls["brics"].notifications
    assert (statistics["received"], statistics["sent"], statistics["failed"]) == (1, 1, 0)


async def test_the_software_speaks_to_the_south_and_to_the_north(facility: Facility) -> None:
    control = facility.add("bridge", "Bridge", "brics")
    portal = facility.add("brics", "Portal", "bridge", "aip1", "allocator")
    provider = facility.stranger("aip1", "Provider", "brics")
    allocator = facility.stranger("allocator", "Portal", "brics")
    await facility.start()
    facility.agents["brics"].core.offer(["cluster1.brics.allocator"], 0.0)
    control.notify_from_bridge("brics.aip1.clusters.shared user_changed alice.demo.brics")
    south = (await provider.hears("Notify"))["notification"]
    assert (south["destination"], south["event"]) == ("brics.aip1.clusters.shared", {"UserChanged": "alice.demo.brics"})
    control.notify_from_bridge("cluster1.brics.allocator award_accepted demo.allocator")
    north = (await allocator.hears("Notify"))["notification"]
    assert (north["destination"], north["event"]) == ("cluster1.brics.allocator", {"AwardAccepted": "demo.allocator"})
    for lost in ("allocator.brics.cluster1", "cluster2.brics.allocator", "aip1.brics", "a.b.brics"):
        control.notify_from_bridge(f"{lost} user_added alice.demo.brics")
    await until(lambda: portal.notifications["failed"] == 4)
    assert control.notifications["sent"] == 6
    assert not provider.of("Notify") and not allocator.of("Notify")
    with pytest.raises(GrammarError):
        control.notify_from_bridge("brics.aip1 forward [x]")


async def test_another_portal_reaches_the_software_through_an_offering(facility: Facility) -> None:
    control = facility.add("bridge", "Bridge", "brics")
    portal = facility.add("brics", "Portal", "bridge", "allocator", "aip1")
    allocator = facility.stranger("allocator", "Portal", "brics")
    facility.stranger("aip1", "Provider", "brics")
    heard: list[Json] = []
    control.on_notification = heard.append
    await facility.start()
    facility.agents["brics"].core.offer(["cluster1.brics.allocator"], 0.0)
    allocator.say("Notify", note("allocator.brics.cluster1", "AwardChanged", "demo.allocator"))
    await until(lambda: heard)
    assert heard[0]["destination"] == "allocator.brics.cluster1"
    for wrong in (
        note("allocator.brics.aip1"),
        note("allocator.brics.cluster2"),
        note("bridge.brics", "Forward", note("brics.aip1")["notification"]),
        note("brics.allocator"),
        note("x"),
        {"notification": {}},
        {},
    ):
        allocator.say("Notify", wrong)
    await until(lambda: portal.notifications["failed"] == 7)
    assert len(heard) == 1


async def test_a_notification_with_nowhere_to_go(facility: Facility) -> None:
    control = facility.add("bridge", "Bridge", "brics")
    portal = facility.add("brics", "Portal", "bridge", "aip1")
    instance = facility.add("aip1", "Instance", "brics")
    with pytest.raises(Unavailable):  # it has never seen a portal
        control.notify_from_bridge("brics.aip1 user_added alice.demo.brics")
    await facility.start()
    facility.agents["bridge"].core.types.clear()
    facility.agents["brics"].core.types.pop("bridge@default")
    facility.agents["aip1"].send("brics@default", {"Notify": note("aip1.brics")})
    await until(lambda: portal.notifications["failed"] == 1)
    facility.agents["brics"].send("aip1@default", {"Notify": note("brics.aip1")})  # arrives, and that is all
    facility.agents["brics"].send("aip1@default", {"Notify": note("brics.aip1.x")})
    await until(lambda: instance.notifications["received"] == 2)
    assert instance.notifications["failed"] == 1


async def test_notifications_wait_a_while_for_a_link(facility: Facility) -> None:
    control = facility.add("bridge", "Bridge", "brics")
    portal = facility.add("brics", "Portal", "bridge", "aip1")
    facility.stranger("aip1", "Provider", "brics")
    heard: list[Json] = []
    control.on_notification = heard.append
    await facility.start()
    facility.network.cut("bridge", "brics")
    board = facility.agents["brics"].core.board("bridge@default")
    await until(lambda: not board.linked)
    clock = facility.agents["brics"].clock
    facility.agents["brics"].clock = lambda: clock() - 2 * HOLD_SECONDS
    portal.received("aip1@default", "Notify", note("aip1.brics", "UserRemoved"))
    facility.agents["brics"].clock = clock
    for number in range(MAX_HELD):
        portal.received("aip1@default", "Notify", note("aip1.brics", number=number))
    assert portal.notifications["failed"] == 1  # the first has waited too long
    with pytest.raises(Unavailable):
        portal.received("aip1@default", "Notify", note("aip1.brics"))
    with pytest.raises(Unavailable):
        portal.received("aip1@default", "Notify", note("aip1.brics", "Later", "x" * MAX_HELD_BYTES))
    facility.network.mend("bridge", "brics")
    await until(lambda: len(heard) == MAX_HELD)
    assert [each["number"] for each in heard] == list(range(MAX_HELD))


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_other_commands_are_passed_over(facility: Facility) -> None:
    facility.add("aip1", "Provider", "brics")
    portal = facility.stranger("brics", "Portal", "aip1")
    await facility.start()
    portal.say("PortalRoutes", {"routes": [{"portal": "brics", "route": "brics"}], "withdrawn": []})
    portal.say("Dance", {"x": 1})
    portal.say("HealthResponse", [])
    portal.say("HealthCheck", {})
    assert (await portal.hears("HealthResponse"))["health"]["agent_type"] == "Provider"


CLIENT = """
import json, sys
import openportal as op
op.load_config(sys.argv[1])
health, report = op.health(), op.diagnostics("brics.aip1.clusters.shared.accounts")
print(json.dumps([health.is_healthy(), health.keys(), report.status, report.detail.agent_name]))
"""


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_published_client_reads_both(chain: Facility, version: str, tmp_path: Path) -> None:
    await chain.run("brics.aip1.clusters.shared is_protected_user alice.demo.brics")
    control = chain.controls["bridge"]
    async with serving() as bridge:
        bridge.agent.health = control.health  # type: ignore[method-assign, assignment]
        bridge.agent.diagnostics = control.diagnostics  # type: ignore[method-assign, assignment]
        config = tmp_path / "bridge.toml"
        config.write_text(f'url = "{bridge.url}"\n[key]\ndata = "{KEY.hex()}"\n')
        python = await asyncio.to_thread(client_python, version)
        child = await asyncio.create_subprocess_exec(
            python, "-I", "-c", CLIENT, config, cwd=tmp_path, env={**os.environ, "RUST_BACKTRACE": "0"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(child.communicate(), CHILD_MAX_SECONDS)
    assert child.returncode == 0, err.decode()
    assert json.loads(out) == [True, ["bridge"], "ok", "accounts"]


HEALTH_FIELDS = """
    name agent_type connected active_jobs pending_jobs running_jobs completed_jobs duplicate_jobs successful_jobs
    expired_jobs errored_jobs inflight_jobs queued_jobs worker_count memory_bytes cpu_percent system_memory_total
    system_cpus job_time_min_ms job_time_max_ms job_time_mean_ms job_time_median_ms job_time_count total_completed
    total_failed total_expired total_slow start_time current_time uptime_seconds engine version last_updated peers
"""
REPORT_FIELDS = """
    agent_name generated_at failed_jobs slowest_jobs expired_jobs running_jobs warnings recent_logs
    notification_statistics
"""


def test_required_fields() -> None:
    """What readers of the network refuse to do without."""
    assert set(HealthInfo.__struct_fields__) == set(HEALTH_FIELDS.split())
    assert list(DiagnosticsReport.__struct_fields__) == REPORT_FIELDS.split()


async def test_the_clock_of_a_neighbour_is_looked_at_and_named_when_jobs_expire(
    facility: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "FIRST_LOOK_SECONDS", 0.0)
    control = facility.add("clusters", "Platform", "aip1", "shared")
    above = facility.stranger("aip1", "Provider", "clusters")
    facility.stranger("shared", "Instance", "clusters")
    await facility.start()
    assert await above.hears("HealthCheck") == {"visited": ["clusters", "shared"], "alone": True}
    behind = moment(control.agent.clock() - 100).isoformat()
    above.say("HealthResponse", {"health": control.own_health() | {"name": "aip1", "current_time": behind}})
    await until(lambda: control.clocks.seen)
    assert control.own_health()["neighbours"]["aip1@default"]["skew_seconds"] == pytest.approx(-100, abs=2)
    job = Job(ID, 1, 1, 2, 2, "aip1.clusters.shared get_users demo.brics", State.PENDING)
    above.say("Put", {"job": job.to_wire()})
    answer = await above.hears("Update")
    assert "or the clocks differ; the clock of aip1 is " in answer["job"]["result"]
    assert answer["job"]["result"].endswith(" s behind ours")


async def test_a_leaf_looks_at_the_clock_of_an_agent_of_ours(
    facility: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another make would ask everybody above it for the leaf's sake; ours says that it keeps a log."""
    monkeypatch.setattr(control_module, "FIRST_LOOK_SECONDS", 0.0)
    leaf = facility.add("accounts", "Account", "shared")
    instance = facility.stranger("shared", "Instance", "accounts")
    await facility.start()
    await asyncio.sleep(0.05)
    assert instance.of("HealthCheck") == []
    mark = {"id": ID, "generation": 1, "units": 7, "head": "ab" * 32}
    instance.say("Register", {"agent": "Instance", "engine": "templemeads", "version": "0.94.0", "ledger": mark})
    assert await instance.hears("HealthCheck") == {"visited": ["accounts"], "alone": True}
    behind = moment(leaf.agent.clock() - 100).isoformat()
    instance.say("HealthResponse", {"health": leaf.own_health() | {"name": "shared", "current_time": behind}})
    await until(lambda: leaf.clocks.seen)
    job = Job(ID, 1, 1, 2, 2, "shared.accounts get_users demo.brics", State.PENDING)
    instance.say("Put", {"job": job.to_wire()})
    assert "or the clocks differ; the clock of shared is " in (await instance.hears("Update"))["job"]["result"]


async def test_whoever_is_asked_alone_asks_nobody(facility: Facility) -> None:
    facility.add("clusters", "Platform", "aip1", "shared")
    above = facility.stranger("aip1", "Provider", "clusters")
    below = facility.stranger("shared", "Instance", "clusters")
    await facility.start()
    above.say("HealthCheck", {"visited": ["aip1"], "alone": True})
    assert (await above.hears("HealthResponse"))["health"]["name"] == "clusters"
    assert below.of("HealthCheck") == []
