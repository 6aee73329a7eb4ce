"""The demonstration and the training facility as whole processes, and the account that a story ends with."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.demo import Story, account, totals, unanswered
from openportal.cli.facility import MEMBERS, Facility
from openportal.errors import ConfigError
from openportal.templemeads.events import EVENTS, Ended, Received, Sent, Started, board_stream
from openportal.templemeads.ledger import Event, Ledger, Recorded, Settings
from tests.processes.waiting import until

PROGRAM = Path(sys.executable).with_name("openportal")
WAIT_MAX_SECONDS = 240
USERS = 12
NEVER = 4_000_000_000


# --- the account ------------------------------------------------------------------------------------------------------


def story(*states: str, wanted: int = 0) -> Story:
    """As many jobs as there are states; an empty one has not ended."""
    told = Story(wanted=wanted or len(states))
    for number, state in enumerate(states, 1):
        told.hear({"asked": f"j{number}", "instruction": f"add_user user{number}.demo.brics"})
        if state:
            told.hear({"ended": f"j{number}", "state": state, "result": "there is no room"})
    return told


@pytest.fixture
def facility(tmp_path: Path) -> Facility:
    """A facility that never ran, and its sandbox with two effects."""
    facility = Facility(tmp_path / "facility")
    store = SandboxStore(facility.sandbox)
    store.put("users/demo.brics", "user1", {"state": "active"}, "create user")
    store.put("users/demo.brics", "user2", {"state": "active"}, "create user")
    return facility


def told(facility: Facility, of: Story) -> tuple[int, str]:
    """The exit code of the account, and what it says."""
    output = io.StringIO()
    return totals(facility, of, 1, Console(file=output, width=200)), output.getvalue()


def cells(text: str) -> dict[str, int]:
    """The table of the account."""
    head, row = (re.split(r"\s*[┃│]\s*", line)[1:-1] for line in text.splitlines() if line[:1] in tuple("┃│"))
    return dict(zip(head, map(int, row), strict=True))


def test_all_is_well(facility: Facility) -> None:
    code, text = told(facility, story("complete", "complete"))
    assert cells(text) == {"asked": 2, "done": 2, "resumed": 1, "lost": 0, "effects": 2, "done twice": 0}
    assert code == 0


def test_a_job_that_failed_is_lost_and_told_with_its_reason(facility: Facility) -> None:
    code, text = told(facility, story("complete", "error"))
    assert (cells(text)["done"], cells(text)["lost"], code) == (1, 1, 1)
    assert "add_user user2.demo.brics: there is no room" in text


def test_a_job_that_never_ended_is_lost(facility: Facility) -> None:
    code, text = told(facility, story("complete", ""))
    assert (cells(text)["asked"], cells(text)["lost"], code) == (2, 1, 1)


def test_a_job_that_could_not_even_be_asked_is_lost(facility: Facility) -> None:
    code, text = told(facility, story("complete", wanted=3))
    assert (cells(text)["asked"], cells(text)["lost"], code) == (1, 2, 1)


def test_an_effect_that_happened_twice_is_told(facility: Facility) -> None:
    store = SandboxStore(facility.sandbox)
    store.put("users/demo.brics", "user1", None, "forget it")
    store.put("users/demo.brics", "user1", {"state": "active"}, "create user")
    code, text = told(facility, story("complete"))
    assert (cells(text)["effects"], cells(text)["done twice"], code) == (4, 1, 1)


async def write(facility: Facility, name: str, *events: tuple[str, Event]) -> None:
    ledger = Ledger.open(Settings(path=facility.ledger(name), owner=name), EVENTS)
    list(ledger.replay())
    ledger.submit([(board_stream(f"{peer}@default"), event) for peer, event in events], 1000.0, lambda: None)
    await ledger.drain()
    ledger.close()


async def test_the_account_tells_where_a_job_went_on(facility: Facility) -> None:
    user = "user1.demo.brics"
    for member in MEMBERS:
        events: tuple[tuple[str, Event], ...] = ()
        if member.name == "shared":
            step = Sent(
                "s1", 0, NEVER, 1, user, "shared.fs add", via="clusters@default", parent="j1", step="filesystem"
            )
            again = (("clusters", Started("j1")), ("clusters", Started("j1", 2)), ("fs", step))
            events = (("clusters", Received("j1", 0, NEVER, 1, user, f"shared add_user {user}")), *again)
        await write(facility, member.name, *events)
    output = io.StringIO()
    assert account(facility, story("complete"), Console(file=output, width=200)) == 0
    assert "(1 jobs)" in output.getvalue()
    assert f"{user}   attempt 2: 0 steps were done, went on with filesystem" in output.getvalue()
    assert f"What became of {user}" in output.getvalue()
    assert cells(output.getvalue())["resumed"] == 1


def test_a_job_whose_200_was_cut_off_counts_if_it_did_not_end() -> None:
    def asked(id: str) -> Sent:
        return Sent(id, 0, NEVER, 1, None, "bridge.brics submit …", client="default")

    def log(*events: Event) -> list[Recorded]:
        return [Recorded(n, n, 0.0, "board:brics@default", n, event) for n, event in enumerate(events, 1)]

    known = story("complete")
    assert unanswered(log(asked("j1"), asked("x"), Ended("x", 1001)), known) == 0
    assert unanswered(log(asked("j1"), asked("x")), known) == 1


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started hears SIGINT, even if we do not (in the background of a shell script)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Child:
    """The command as a process whose temporary folders are below `temporary`."""

    def __init__(self, folder: Path, *words: object) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._output = folder / "output"
        with self._output.open("wb") as file:
            self.process = subprocess.Popen(
                [PROGRAM, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, "TMPDIR": str(self.temporary), "COLUMNS": "120"},
            )

    @property
    def said(self) -> str:
        return self._output.read_text()

    def has_said(self, words: str) -> None:
        until(lambda: words in self.said or self.process.poll() is not None, words, WAIT_MAX_SECONDS)
        assert words in self.said

    def ended(self) -> int:
        return self.process.wait(WAIT_MAX_SECONDS)

    def left(self) -> list[int]:
        """Processes that have our folder among their words."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._is_of(entry)]

    def _is_of(self, process: Path) -> bool:
        try:
            return str(self.temporary).encode() in (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WAIT_MAX_SECONDS)
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def child(tmp_path: Path, interruptible: None, request: pytest.FixtureRequest) -> Iterator[Child]:
    child = Child(tmp_path, *request.param)
    yield child
    child.close()


@pytest.mark.processes
@pytest.mark.parametrize("child", [("demo", "--plain", "--users", USERS)], indirect=True)
def test_the_demonstration(child: Child) -> None:
    assert child.ended() == 0, child.said
    found = cells("\n".join(line for line in child.said.splitlines() if line[:1] in tuple("┃│")))
    assert (found["asked"], found["done"], found["lost"], found["done twice"]) == (USERS + 1, USERS + 1, 0, 0)
    assert found["resumed"] >= 1
    assert found["effects"] >= USERS
    assert f"({found['resumed']} jobs)" in child.said
    assert "kill -9 of all 8 agents" in child.said
    assert "\x1b" not in child.said
    assert "Traceback" not in child.said
    assert (child.left(), list(child.temporary.iterdir())) == ([], [])


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("child", [("demo", "--plain", "--users", USERS)], indirect=True)
def test_a_demonstration_that_is_interrupted_leaves_nothing(child: Child, number: signal.Signals) -> None:
    child.has_said("the instance shared is gone")
    child.process.send_signal(number)
    assert child.ended() == 1
    assert (child.left(), list(child.temporary.iterdir())) == ([], [])
    assert "Traceback" not in child.said


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("child", [("facility",)], indirect=True)
def test_a_facility_to_train_on_runs_until_it_is_interrupted(child: Child, number: signal.Signals) -> None:
    child.has_said("Ctrl-C ends it.")
    assert len(child.left()) == len(MEMBERS)
    child.process.send_signal(number)
    assert child.ended() == 0
    assert (child.left(), list(child.temporary.iterdir())) == ([], [])


@pytest.mark.processes
def test_an_agent_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Facility(tmp_path / "facility") as facility:
        facility.lay_out({"acct": {"extras": {"sandbox": "/dev/null/nowhere"}}})
        facility.start(["acct"])
        facility.processes["acct"].wait(WAIT_MAX_SECONDS)
        with pytest.raises(ConfigError, match=r"(?s)acct ended with code 1:\n.*nowhere"):
            facility.wait_ready()
