"""Agents by file and folder, who writes a ledger, what a reader may meet, and what comes while one watches."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from openportal.cli.facility import Facility
from openportal.cli.ledgers import Watch, configs, is_started, opened, rebuilt, source_of, sources, writer_pid
from openportal.cli.wanted import Wanted
from openportal.errors import ConfigError, LedgerError
from openportal.paddington.config import AgentConfig
from openportal.templemeads.events import (
    AGENT_STREAM,
    EVENTS,
    AgentStarted,
    AgentStopped,
    Ended,
    Intended,
    Received,
    Sent,
    Started,
    board_stream,
)
from openportal.templemeads.ledger import ERASED, Event, Ledger, Settings
from openportal.templemeads.ledger.sqlite import FILE_NAME
from openportal.templemeads.state import AgentState

ALICE = "alice.demo.brics"
NEVER = 4_000_000_000


def received(id: str, subject: str = ALICE) -> Received:
    return Received(id, 0, NEVER, 1, subject, f"shared.acct add_user {subject}")


def sent(id: str, parent: str) -> Sent:
    return Sent(
        id, 0, NEVER, 1, ALICE, f"shared.acct add_user {ALICE}", via="clusters@default", parent=parent, step="s"
    )


class Writer:
    """Writes the ledger of one agent, as the agent would."""

    def __init__(self, config: AgentConfig) -> None:
        self._ledger = Ledger.open(Settings(path=config.ledger.path, owner=config.service.name), EVENTS)
        list(self._ledger.replay())
        self._now = 1000.0

    async def write(self, peer: str, *events: Event) -> None:
        self._now += 1
        stream = board_stream(f"{peer}@default") if peer else AGENT_STREAM
        self._ledger.submit([(stream, event) for event in events], self._now, lambda: None)
        await self._ledger.drain()

    def close(self) -> None:
        self._ledger.close()


@pytest.fixture
def facility(tmp_path: Path) -> Facility:
    """Files of agents that never ran, with a broken one among them."""
    facility = Facility(tmp_path / "facility")
    facility.lay_out()
    (facility.folder / "invite_brics_default.toml").write_text('name = "brics"\n')
    return facility


@pytest.fixture
def shared(facility: Facility) -> AgentConfig:
    [found] = configs([facility.config("shared")])
    return found


@pytest.fixture
def acct(facility: Facility) -> AgentConfig:
    [found] = configs([facility.config("acct")])
    return found


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
async def writers(shared: AgentConfig, acct: AgentConfig) -> AsyncIterator[dict[str, Writer]]:
    found = {config.service.name: Writer(config) for config in (shared, acct)}
    yield found
    for writer in found.values():
        writer.close()


# --- which agents -----------------------------------------------------------------------------------------------------


def test_a_folder_stands_for_the_agents_in_it(facility: Facility) -> None:
    names = sorted(member.name for member in facility.members)
    assert [config.service.name for config in configs([facility.folder])] == names
    some = [facility.config("shared"), facility.config("acct")]
    assert [config.service.name for config in configs(some)] == ["shared", "acct"]
    assert len(configs([*some, facility.folder, facility.folder / ".." / "facility"])) == len(names)


def test_what_is_no_agents_file_is_refused_by_name(facility: Facility, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bridge-client\.toml"):
        configs([facility.client_file])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no agent's file"):
        configs([tmp_path / "empty"])
    with pytest.raises(ConfigError, match="does not exist"):
        configs([tmp_path / "nothing"])


async def test_ledgers_are_found_by_file_by_folder_and_without_their_agents_file(
    writers: dict[str, Writer], facility: Facility, shared: AgentConfig
) -> None:
    await writers["shared"].write("", AgentStarted("1", 2))
    folder = facility.ledger("shared")
    by_file = sources([facility.config("shared")])
    assert [source.name for source in by_file] == ["shared"]
    assert [(one.name, one.place) for one in sources([folder])] == [("shared", str(folder))]
    assert sources([folder / FILE_NAME]) == sources([folder])  # also while it is written: its log lies beside it
    assert len(sources([facility.folder, facility.config("shared"), folder])) == len(facility.members)
    facility.config("shared").unlink()
    assert sorted(one.name for one in sources([facility.folder])) == sorted(one.name for one in facility.members)
    with pytest.raises(ConfigError, match="does not exist"):
        sources([facility.folder / "nothing"])


# --- one ledger -------------------------------------------------------------------------------------------------------


def test_an_agent_that_never_ran_has_no_ledger_and_no_writer(shared: AgentConfig) -> None:
    assert not is_started(shared)
    assert writer_pid(source_of(shared).settings) is None
    with pytest.raises(LedgerError, match="there is no ledger"), opened(source_of(shared).settings):
        pass


async def test_who_writes_is_known_while_it_does(shared: AgentConfig) -> None:
    writer = Writer(shared)
    await writer.write("", AgentStarted("1", 2))
    assert writer_pid(source_of(shared).settings) == os.getpid()
    writer.close()
    assert writer_pid(source_of(shared).settings) is None
    assert is_started(shared)


async def test_a_database_that_is_none_is_told_in_a_sentence(shared: AgentConfig) -> None:
    writer = Writer(shared)
    writer.close()
    assert shared.ledger.path is not None
    for rest in shared.ledger.path.glob(f"{FILE_NAME}*"):
        rest.write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError, match="cannot be read"), opened(source_of(shared).settings):
        pass


async def test_boards_are_rebuilt_with_their_open_jobs(shared: AgentConfig) -> None:
    writer = Writer(shared)
    await writer.write("clusters", received("job1"), received("job2"))
    await writer.write("acct", sent("step1", "job1"))
    await writer.write("acct", Ended("step1", 2, ALICE))
    await writer.write("clusters", Ended("job1", 2, ALICE, result='"x"', result_type="String"))
    writer.close()
    with opened(source_of(shared).settings) as reader:
        assert open_on(rebuilt("shared", reader)) == {"clusters@default": ["job2"], "acct@default": []}
        before = {at: open_on(rebuilt("shared", reader, until=at)) for at in (1001.0, 1002.0, 1004.0)}
    assert before == {
        1001.0: {},
        1002.0: {"clusters@default": ["job1", "job2"]},
        1004.0: {"clusters@default": ["job1", "job2"], "acct@default": []},
    }


async def test_boards_are_rebuilt_from_the_newest_checkpoint_before_a_time(shared: AgentConfig) -> None:
    settings = source_of(shared).settings
    ledger = Ledger.open(settings, EVENTS)
    list(ledger.replay())
    state = AgentState("shared", [])
    for number in range(3):
        event = received(f"job{number}")
        state.apply(board_stream("clusters@default"), event, time.time())
        ledger.submit([(board_stream("clusters@default"), event)], time.time(), lambda: None)
        await ledger.drain()
        if number == 1:
            before = time.time()
            ledger.save_checkpoint(msgspec.json.encode(state.image()))
    ledger.close()
    with opened(settings) as reader:
        assert reader.checkpoint(before) is None
        assert reader.checkpoint(time.time()) == (2, reader.checkpoint()[1])
        everything = {"clusters@default": ["job0", "job1", "job2"]}
        assert open_on(rebuilt("shared", reader)) == open_on(rebuilt("shared", reader, until=time.time())) == everything
        assert open_on(rebuilt("shared", reader, until=before)) == {"clusters@default": ["job0", "job1"]}


def open_on(state: AgentState) -> dict[str, list[str]]:
    """The open jobs of each board."""
    return {peer: sorted(board.open) for peer, board in state.boards.items()}


async def test_an_erased_person_is_not_shown(shared: AgentConfig) -> None:
    ledger = Ledger.open(Settings(path=shared.ledger.path, owner="shared"), EVENTS)
    list(ledger.replay())
    events = [received("job"), Intended("job", 1, "create user", ALICE, "users/alice"), Ended("job", 2, ALICE, ALICE)]
    ledger.submit([(board_stream("clusters@default"), event) for event in events], 1.0, lambda: None)
    await ledger.drain()
    assert ledger.erase_subject(ALICE)
    ledger.close()
    lines = Watch([source_of(shared)], Wanted(), False, print).lines()
    assert [line.words for line in lines] == [ERASED, f"effect 1: create user {ERASED}", f"complete: {ERASED}"]
    assert Watch([source_of(shared)], Wanted(user=ALICE), False, print).lines() == []


# --- watching ---------------------------------------------------------------------------------------------------------


def test_of_a_ledger_that_is_not_there_one_hears_once(shared: AgentConfig, complaints: list[str]) -> None:
    watch = Watch([source_of(shared)], Wanted(), False, complaints.append)
    assert watch.lines() == []
    assert watch.lines() == []
    assert len(complaints) == 1
    assert complaints[0].startswith("shared: there is no ledger")
    assert watch.unread == {source_of(shared).place}


async def test_what_comes_later_is_seen_once(shared: AgentConfig, complaints: list[str]) -> None:
    watch = Watch([source_of(shared)], Wanted(), False, complaints.append)
    watch.lines()
    writer = Writer(shared)
    await writer.write("", AgentStarted("1", 2))
    assert [line.event for line in watch.lines()] == ["AgentStarted"]
    assert watch.lines() == []
    await writer.write("", AgentStopped("asked"))
    assert [line.event for line in watch.lines()] == ["AgentStopped"]
    writer.close()
    assert watch.unread == set()


async def test_agents_of_two_sites_may_share_a_name(tmp_path: Path, shared: AgentConfig) -> None:
    other = Facility(tmp_path / "other")
    other.lay_out()
    both = [shared, *configs([other.config("shared")])]
    for config in both:
        writer = Writer(config)
        await writer.write("", AgentStarted("1", 2))
        writer.close()
    watch = Watch([source_of(config) for config in both], Wanted(), False, print)
    assert [(line.agent, line.position) for line in watch.lines()] == [("shared", 1)] * 2
    assert watch.lines() == []


async def test_a_family_grows_while_one_watches(
    writers: dict[str, Writer], shared: AgentConfig, acct: AgentConfig, complaints: list[str]
) -> None:
    watch = Watch([source_of(acct), source_of(shared)], Wanted(jobs=["job"]), True, complaints.append)
    await writers["shared"].write("clusters", received("job"), received("other"))
    assert [line.job for line in watch.lines()] == ["job"]
    await writers["shared"].write("acct", sent("step", "job"))
    await writers["acct"].write("shared", received("step"))
    assert [(line.agent, line.job) for line in watch.lines()] == [("acct", "step"), ("shared", "step")]
    await writers["acct"].write("shared", Started("step"))
    await writers["shared"].write("clusters", Started("other"))
    assert [(line.agent, line.event) for line in watch.lines()] == [("acct", "Started")]
    assert watch.lines() == []


async def test_one_of_the_family_may_be_read_before_it_is_known_to_be(
    writers: dict[str, Writer], shared: AgentConfig, acct: AgentConfig, complaints: list[str]
) -> None:
    watch = Watch([source_of(shared), source_of(acct)], Wanted(jobs=["job"]), True, complaints.append)
    await writers["acct"].write("shared", received("step"))
    assert watch.lines() == []
    await writers["shared"].write("clusters", received("job"))
    await writers["shared"].write("acct", sent("step", "job"))
    assert sorted((line.agent, line.job) for line in watch.lines()) == [
        ("acct", "step"),
        ("shared", "job"),
        ("shared", "step"),
    ]
    assert watch.lines() == []


async def test_a_family_is_whole_even_if_only_a_part_of_its_time_is_wanted(
    writers: dict[str, Writer], shared: AgentConfig, acct: AgentConfig
) -> None:
    await writers["shared"].write("clusters", received("job"))  # at 1001
    await writers["shared"].write("acct", sent("step", "job"))  # at 1002
    for event in (received("step"), Started("step"), Ended("step", 2, ALICE)):  # at 1001, 1002, 1003
        await writers["acct"].write("shared", event)
    found = Watch([source_of(shared), source_of(acct)], Wanted(jobs=["job"], since=1003), True, print).lines()
    assert [(line.agent, line.event) for line in found] == [("acct", "Ended")]
    found = Watch([source_of(shared), source_of(acct)], Wanted(jobs=["job"], until=1002), True, print).lines()
    assert [(line.agent, line.event) for line in found] == [("acct", "Received"), ("shared", "Received")]
    found = Watch([source_of(shared), source_of(acct)], Wanted(jobs=["job"], peer="acct"), True, print).lines()
    assert [(line.agent, line.event) for line in found] == [("shared", "Sent")]
