"""The bridge agent, with a portal that says what the test wants."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from openportal.bridge import agent as module
from openportal.bridge.agent import MAX_NOTIFICATIONS, BridgeBackend, BridgeRole
from openportal.bridge.backend import Json
from openportal.bridge.signals import AT_ONCE_MAX_SIGNALS
from openportal.errors import CommitFailed, GrammarError, InvalidJob, JobError, RunError, Unavailable
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.events import EVENTS, Received, Sent
from openportal.templemeads.job import DEFAULT_LIFETIME_SECONDS, SUBMIT_LIFETIME_SECONDS
from openportal.templemeads.ledger import Event, Settings, open_reader

PORTAL, KEY = "brics@default", "waldur"
WAIT_SECONDS = 5.0
LOOK = "is_existing_user alice.demo.brics"
AWARD = "brics.bridge.cluster1 create_project demo.allocator {}"


async def until(what: Callable[[], Any]) -> Any:
    """The first true value of `what`."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not (value := what()):  # noqa: ASYNC110  # what is waited for is anything
            await asyncio.sleep(0.002)
    return value


class Portal:
    """A portal that answers nothing by itself."""

    def __init__(self, network: MemoryNetwork, agent_type: str = "Portal") -> None:
        self.type, self.bridge = agent_type, Peer("bridge", "default")
        self.puts: list[Json] = []
        self.updates: list[Json] = []
        self.links = network.exchange("brics", [self.bridge], self)

    def connected(self, peer: Peer) -> None:
        self.say("Register", {"agent": self.type})

    def disconnected(self, peer: Peer, reason: str) -> None:
        pass

    def received(self, peer: Peer, text: str) -> None:
        [(kind, body)] = json.loads(text).items()
        if kind in ("Put", "Update"):
            (self.puts if kind == "Put" else self.updates).append(body["job"])
        elif kind == "Sync":
            self.puts += body["state"]["jobs"]

    def say(self, kind: str, body: Json) -> None:
        self.links.send(self.bridge, json.dumps({kind: body}))

    def put(self, command: str) -> str:
        now = int(time.time())
        job = {"id": str(uuid4()), "created": now, "changed": now, "expires": now + 60, "version": 2}
        self.say("Put", {"job": {**job, "command": command, "state": "Pending"}})
        return str(job["id"])

    async def answer(self, result: str, result_type: str = "String", **more: Any) -> Json:
        """Answer the next job; returns it as it was put."""
        job: Json = await until(lambda: self.puts and self.puts.pop(0))
        done = {"state": "Complete", "version": job["version"] + 1000, "result": result, "result_type": result_type}
        self.say("Update", {"job": job | done | more})
        return job


class Told:
    """Whom the software's signals go to."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.notifications: list[str] = []

    async def job(self, id: str) -> bool:
        self.jobs.append(id)
        return True

    def notification(self, id: str) -> None:
        self.notifications.append(id)


class Bridge:
    """The bridge agent with its backend, and the portal's end of its link."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.network = folder, MemoryNetwork()
        self.portal = Portal(self.network)
        self.make()

    def make(self) -> None:
        role = BridgeRole(lambda: self.agent.core.offerings)
        settings, peers = Settings(path=self.folder / "ledger"), [Peer("brics", "default")]
        self.agent = Agent(
            "bridge", role, role.handlers(), settings, peers, lambda one: self.network.exchange("bridge", peers, one)
        )
        self.agent.control = AgentControl(self.agent)
        self.backend = BridgeBackend(self.agent, self.agent.control)

    async def start(self, *, portal: bool = True) -> None:
        await self.agent.start()
        if portal:
            await self.portal.links.start()
            await until(self.backend.portal)

    def log(self) -> list[Event]:
        """What is on the disk."""
        with open_reader(Settings(path=self.folder / "ledger"), EVENTS) as reader:
            return [recorded.event for recorded in reader.records()]

    async def held(self, command: str = AWARD) -> str:
        id = self.portal.put(command)
        await until(lambda: any(entry.job.id == id for _, entry in self.agent.core.open_jobs()))
        await self.agent.committed()
        return id


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    bridge = Bridge(tmp_path)
    yield bridge
    await bridge.backend.end()
    await bridge.portal.links.stop()
    await bridge.agent.stop()


def lifetime(job: Json) -> int:
    return int(job["expires"] - job["created"])


# --- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sent", "seconds"),
    [
        (f"brics.aip1 {LOOK}", f"bridge.brics submit brics.aip1 {LOOK}", SUBMIT_LIFETIME_SECONDS),
        (f"bridge.brics.aip1 {LOOK}", f"bridge.brics submit brics.aip1 {LOOK}", SUBMIT_LIFETIME_SECONDS),
        ("bridge.brics get_offerings", "bridge.brics get_offerings", DEFAULT_LIFETIME_SECONDS),
    ],
)
async def test_a_command_is_wrapped_for_the_portal_or_goes_to_it(
    bridge: Bridge, command: str, sent: str, seconds: int
) -> None:
    await bridge.start()
    id = await bridge.backend.run(command, KEY)
    assert [(event.id, event.client) for event in bridge.log() if isinstance(event, Sent)] == [(id, KEY)]
    job = await bridge.portal.answer("true", "bool")
    assert (job["command"], lifetime(job)) == (sent, seconds)
    ended = await bridge.backend.job(id, WAIT_SECONDS)
    assert ended is not None and (ended["state"], ended["result"]) == ("Complete", "true")


async def test_commands_that_are_refused(bridge: Bridge) -> None:
    await bridge.start()
    for command, error, sentence in (
        ("", GrammarError, "at least 2 agents"),
        ("brics.aip1 dance", GrammarError, "dance"),
        (f"aip1.clusters {LOOK}", InvalidJob, "aip1.clusters has to begin with brics .* or with bridge.brics"),
        (f"bridge.aip1 {LOOK}", InvalidJob, "bridge.aip1 has to begin with brics"),
        (f"bridge.aip1.clusters {LOOK}", InvalidJob, "aip1.clusters has to begin with brics"),
        (
            "brics.aip1 add_user alice.demo.allocator",
            InvalidJob,
            "Commands involving 'alice.demo.allocator' can only be issued via the portal 'allocator', not 'brics'",
        ),
    ):
        with pytest.raises(error, match=sentence):
            await bridge.backend.run(command, KEY)
    assert not [event for event in bridge.log() if isinstance(event, Sent)]


async def test_no_portal_is_known(bridge: Bridge) -> None:
    await bridge.start(portal=False)
    assert bridge.backend.portal() is None
    for work in (bridge.backend.run(f"brics.aip1 {LOOK}", KEY), bridge.backend.offerings("get", [])):
        with pytest.raises(Unavailable, match="no portal has ever connected to bridge"):
            await work


async def test_a_job_for_a_portal_that_is_down_is_accepted_and_waits_for_it(bridge: Bridge) -> None:
    await bridge.start()
    await bridge.portal.links.stop()
    await until(lambda: bridge.backend.portal() is None)
    id = await bridge.backend.run(f"brics.aip1 {LOOK}", KEY)
    assert id in [event.id for event in bridge.log() if isinstance(event, Sent)]
    job = await bridge.backend.job(id, 0.0)
    assert job is not None and job["state"] == "Pending"
    await bridge.agent.stop()
    bridge.make()
    bridge.portal = Portal(bridge.network)
    await bridge.start()
    assert (await bridge.portal.answer("true", "bool"))["id"] == id
    ended = await bridge.backend.job(id, WAIT_SECONDS)
    assert ended is not None and ended["result"] == "true"


async def test_a_job_that_the_disk_does_not_take_is_not_accepted(bridge: Bridge) -> None:
    await bridge.start()

    def failing() -> None:
        raise OSError("no space left on the device")

    bridge.agent.ledger._backend.commit = failing  # type: ignore[method-assign]
    with pytest.raises(CommitFailed):
        await bridge.backend.run(f"brics.aip1 {LOOK}", KEY)
    assert bridge.portal.puts == []


async def test_a_job_that_nobody_knows(bridge: Bridge) -> None:
    await bridge.start()
    id = str(uuid4())
    assert await bridge.backend.job(id, WAIT_SECONDS) is None
    assert await bridge.backend.fetch_job(id) is None
    assert bridge.backend.fetch_notification(id) is None


# --- offerings --------------------------------------------------------------------------------------------------------


async def test_offerings_are_those_that_the_portal_accepted(bridge: Bridge) -> None:
    await bridge.start()
    asking = asyncio.ensure_future(bridge.backend.offerings("sync", ["cluster1.brics.allocator"]))
    job = await bridge.portal.answer('["cluster1.brics.allocator"]', "Destinations")
    assert job["command"] == "bridge.brics sync_offerings cluster1.brics.allocator"
    assert await asking == ["cluster1.brics.allocator"] == bridge.agent.core.offerings
    asking = asyncio.ensure_future(bridge.backend.offerings("get", []))
    assert (await bridge.portal.answer("[]", "Destinations"))["command"] == "bridge.brics get_offerings"
    assert await asking == [] == bridge.agent.core.offerings
    with pytest.raises(GrammarError):
        await bridge.backend.offerings("add", ["cluster1"])


@pytest.mark.parametrize("answer", ["{}", "[1]", "none", '"x"'])
async def test_an_answer_about_offerings_that_cannot_be_read(bridge: Bridge, answer: str) -> None:
    await bridge.start()
    asking = asyncio.ensure_future(bridge.backend.offerings("get", []))
    await bridge.portal.answer(answer)
    with pytest.raises(RunError, match="cannot be read"):
        await asking


async def test_offerings_that_the_portal_refuses_or_is_silent_about(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bridge.start()
    asking = asyncio.ensure_future(bridge.backend.offerings("get", []))
    error = {"kind": "unsupported", "message": "not here"}
    await bridge.portal.answer("not here", "Error", state="Error", error=error)
    with pytest.raises(JobError, match="not here") as refused:
        await asking
    assert refused.value.wire_kind == "unsupported"
    monkeypatch.setattr(module, "OFFERINGS_WAIT_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="brics has not answered about the offerings yet"):
        await bridge.backend.offerings("get", [])


# --- the portal's software --------------------------------------------------------------------------------------------


async def test_the_software_is_told_of_a_job_that_is_on_the_disk(bridge: Bridge) -> None:
    await bridge.start()
    found: list[list[str]] = []
    told = Told()
    bridge.backend.begin(told)  # type: ignore[arg-type]
    held = bridge.agent.on_held

    def on_held(job: Any) -> None:
        found.append([event.id for event in bridge.log() if isinstance(event, Received)])
        held(job)

    bridge.agent.on_held = on_held
    id = bridge.portal.put(AWARD)
    await until(lambda: told.jobs)
    assert (told.jobs, found) == ([id], [[id]])


async def test_what_waited_before_the_software_was_there_is_told_first(bridge: Bridge) -> None:
    await bridge.start()
    id = await bridge.held()
    told = Told()
    bridge.backend.begin(told)  # type: ignore[arg-type]
    await until(lambda: told.jobs == [id])
    assert [job["id"] for job in await bridge.backend.unfinished()] == [id]
    fetched = await bridge.backend.fetch_job(id)
    assert fetched is not None and (fetched["command"], fetched["state"]) == (AWARD, "Pending")


async def test_the_software_sees_no_job_that_is_not_on_the_disk(bridge: Bridge) -> None:
    await bridge.start()

    def failing() -> None:
        raise OSError("no space left on the device")

    bridge.agent.ledger._backend.commit = failing  # type: ignore[method-assign]
    id = bridge.portal.put(AWARD)
    await until(lambda: bridge.agent.core.active)
    for asking in (bridge.backend.unfinished(), bridge.backend.fetch_job(id)):
        with pytest.raises(CommitFailed):
            await asking


async def test_the_software_can_wait_for_a_job(bridge: Bridge) -> None:
    await bridge.start()
    assert await bridge.backend.unfinished(0.01) == []
    waiting = asyncio.create_task(bridge.backend.unfinished(20.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    id = await bridge.held()
    assert [job["id"] for job in await waiting] == [id]
    assert [job["id"] for job in await bridge.backend.unfinished(20.0)] == [id]


async def test_the_software_answers_once(bridge: Bridge) -> None:
    await bridge.start()
    id = await bridge.held()
    job = await bridge.backend.fetch_job(id)
    assert job is not None
    with pytest.raises(InvalidJob, match="is Pending: complete it or mark it as failed"):
        await bridge.backend.send_result(job)
    done = job | {"state": "Complete", "result": "null", "result_type": "None", "version": job["version"] + 1000}
    with pytest.raises(InvalidJob, match="is not waiting for an answer"):
        await bridge.backend.send_result(done | {"id": str(uuid4())})
    with pytest.raises(InvalidJob, match="not a job"):
        await bridge.backend.send_result(done | {"version": "x"})
    await bridge.backend.send_result(done)
    assert [update["state"] for update in await until(lambda: bridge.portal.updates)] == ["Complete"]
    with pytest.raises(InvalidJob, match="it was answered before, or it expired"):
        await bridge.backend.send_result(done)
    assert await bridge.backend.unfinished() == []


async def test_a_job_of_a_client_is_not_the_softwares_to_answer(bridge: Bridge) -> None:
    await bridge.start()
    id = await bridge.backend.run(f"brics.aip1 {LOOK}", KEY)
    job = await bridge.backend.job(id, 0.0)
    assert job is not None
    with pytest.raises(InvalidJob, match="is not waiting for an answer"):
        await bridge.backend.send_result(job | {"state": "Complete", "result": "true", "result_type": "bool"})
    assert await bridge.backend.unfinished() == []


async def test_the_sender_of_a_job_hears_that_the_software_could_not_be_told(bridge: Bridge) -> None:
    await bridge.start()
    id = await bridge.held()
    bridge.backend.gave_up(id, "http://localhost answered 500")
    bridge.backend.gave_up(str(uuid4()), "nobody has it")
    [update] = await until(lambda: bridge.portal.updates)
    assert (update["id"], update["state"], update["error"]["kind"]) == (id, "Error", "run")
    assert update["result"].endswith("could not be told of this job: http://localhost answered 500")


async def test_to_stop_is_not_to_give_up(bridge: Bridge) -> None:
    await bridge.start()

    class Silent(Told):
        async def job(self, id: str) -> bool:
            self.jobs.append(id)
            await asyncio.Event().wait()
            raise AssertionError

    told = Silent()
    bridge.backend.begin(told)  # type: ignore[arg-type]
    ids = [await bridge.held(AWARD.replace("demo", f"p{number}")) for number in range(AT_ONCE_MAX_SIGNALS + 2)]
    await until(lambda: len(told.jobs) == len(ids))
    await bridge.backend.end()
    bridge.agent.on_held(bridge.agent.core.board(PORTAL).open[ids[0]].job)
    assert len(bridge.backend._signals) == 0
    assert {job["id"] for job in await bridge.backend.unfinished()} == set(ids)


async def test_only_the_last_notifications_are_kept(bridge: Bridge) -> None:
    bridge.backend.notified({"id": "0"})
    assert bridge.backend.fetch_notification("0") == {"id": "0"}
    told = Told()
    bridge.backend.signaller = told  # type: ignore[assignment]
    for number in range(1, MAX_NOTIFICATIONS + 1):
        bridge.backend.notified({"id": str(number)})
    assert bridge.backend.fetch_notification("0") is None
    assert bridge.backend.fetch_notification("1") == {"id": "1"}
    assert told.notifications == [str(number) for number in range(1, MAX_NOTIFICATIONS + 1)]
    bridge.backend.told("1", sent=False)
    assert bridge.backend.fetch_notification("1") == {"id": "1"}


async def test_what_a_portal_may_ask_of_a_bridge(bridge: Bridge) -> None:
    await bridge.start()
    bridge.agent.core.offer(["cluster1.brics.allocator"], 0.0)
    ids = [bridge.portal.put(f"brics.bridge {text}") for text in ("sync_offerings []", LOOK)]
    await until(lambda: len(bridge.portal.updates) == 2)
    told = {update["id"]: update for update in bridge.portal.updates}
    assert told[ids[0]]["result"] == '["cluster1.brics.allocator"]'
    assert told[ids[1]]["error"]["kind"] == "unsupported"


async def test_jobs_of_another_neighbour_are_refused(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    bridge.portal.type = "Provider"
    await bridge.agent.start()
    await bridge.portal.links.start()
    await until(lambda: bridge.agent.core.types)
    bridge.portal.put(AWARD)
    [update] = await until(lambda: bridge.portal.updates)
    assert (update["error"]["kind"], await bridge.backend.unfinished()) == ("unsupported", [])
    await bridge.portal.links.stop()
    await bridge.agent.stop()


async def test_the_control_plane_is_asked(bridge: Bridge) -> None:
    await bridge.start()
    health = await bridge.backend.health()
    report = await bridge.backend.diagnostics("")
    assert health is not None and health["name"] == "bridge"
    assert report is not None and report["agent_name"] == "bridge"
    assert "drops its links" in await bridge.backend.restart("soft", "")
    with pytest.raises(GrammarError):
        await bridge.backend.notify("nonsense")
