"""The demonstration: a facility of eight processes, killed in the middle of its work, finishing all the same.

The published client asks; sandbox leaves answer slowly enough to be interrupted. Everything that is printed at the end
is counted from what the client was told, from the agents' ledgers and from the sandbox's own record of its effects.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from openportal.agents.sandbox.store import SETTINGS_FILE, SandboxStore
from openportal.cli import trace
from openportal.cli.facility import CHAIN, Facility
from openportal.cli.published import client_python
from openportal.templemeads.events import EVENTS, Ended, Sent
from openportal.templemeads.ledger import Recorded, Settings, open_reader

CLIENT_VERSION = "0.94.0"
CLIENT_PROGRAM = Path(__file__).with_name("demo_client.py")
CLIENTS = 4
SLOW_SECONDS = 0.25
PATIENCE_SECONDS = 110.0
SHOWN_RESUMED = 6
PROJECT = "demo.brics"
COMPLETE = "complete"  # as the published client prints it


@dataclass
class Story:
    """What the clients were told so far."""

    asked: dict[str, str] = field(default_factory=dict)  # job -> instruction
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    wanted: int = 0  # how many were to be asked

    def hear(self, words: dict[str, Any]) -> None:
        if "asked" in words:
            self.asked[words["asked"]] = words["instruction"]
        else:
            self.ended[words["ended"]] = words

    @property
    def done(self) -> int:
        return sum(words["state"] == COMPLETE for words in self.ended.values())


class Clients:
    """The processes of the published client; their lines come out of one queue."""

    def __init__(self, python: Path, file: Path) -> None:
        self._command = [str(python), "-I", str(CLIENT_PROGRAM), str(file), CHAIN]
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._processes: list[subprocess.Popen[str]] = []

    def ask(self, instructions: list[str]) -> None:
        """One more client, which asks for these."""
        process = subprocess.Popen(
            [*self._command, *instructions], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._processes.append(process)
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            self._lines.put(json.loads(text))

    def listen(self, story: Story, enough: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Hear what the clients say until so many jobs have ended, or time is up."""
        deadline = time.monotonic() + seconds
        while len(story.ended) < enough and time.monotonic() < deadline:
            try:
                story.hear(self._lines.get(timeout=0.2))
            except queue.Empty:
                if all(process.poll() is not None for process in self._processes) and self._lines.empty():
                    return

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def run_demo(folder: Path, users: int, console: Console) -> int:
    """Tell the story; 0 if nothing was lost and nothing was done twice."""
    console.print("[bold]The published client comes first[/] (an environment of its own, made on first use).")
    python = client_python(CLIENT_VERSION)
    with Facility(folder) as facility:
        facility.lay_out()
        facility.sandbox.mkdir()
        (facility.sandbox / SETTINGS_FILE).write_text(json.dumps({"slow_seconds": SLOW_SECONDS}))
        console.print("[bold]Eight agents[/], each a process with its own keys and its own event log:")
        facility.start()
        facility.wait_ready()
        for name, process in facility.processes.items():
            console.print(f"  {name:9} process {process.pid}")
        clients = Clients(python, facility.client_file)
        try:
            story = play(facility, clients, users, console)
        finally:
            clients.close()
        facility.stop()
        return account(facility, story, console)


def play(facility: Facility, clients: Clients, users: int, console: Console) -> Story:
    """Ask, kill one, ask on, kill all, and wait for everything."""
    story = Story(wanted=1 + users)
    console.print(f"\n[bold]openportal {CLIENT_VERSION}[/] asks for a project and {users} users.")
    clients.ask([f"add_project {PROJECT}"])
    clients.listen(story, 1)
    names = [f"add_user user{number:02}.{PROJECT}" for number in range(1, users + 1)]
    for number in range(CLIENTS):
        clients.ask(names[number::CLIENTS])
    clients.listen(story, 1 + users // 4)
    kill_one(facility, story, console)
    clients.listen(story, 1 + users // 2)
    kill_all(facility, story, console)
    clients.listen(story, 1 + users)
    console.print(f"All are up again: {story.done} of {len(story.asked)} done.")
    return story


def kill_one(facility: Facility, story: Story, console: Console) -> None:
    pid = facility.processes["shared"].pid
    facility.kill(["shared"])
    open_jobs = len(story.asked) - len(story.ended)
    console.print(f"\n[red]kill -9 {pid}[/]: the instance [bold]shared[/] is gone, {open_jobs} jobs are under way.")
    time.sleep(1)
    facility.start(["shared"])
    console.print(f"[green]shared is started again[/] as process {facility.processes['shared'].pid}.")


def kill_all(facility: Facility, story: Story, console: Console) -> None:
    names = list(facility.processes)
    facility.kill(names)
    console.print(
        f"\n[red]kill -9 of all {len(names)} agents[/], with {len(story.asked) - len(story.ended)} jobs under way."
    )
    time.sleep(1)
    facility.start(names)
    console.print("[green]All are started again.[/]")


# --- the account ------------------------------------------------------------------------------------------------------


def account(facility: Facility, story: Story, console: Console) -> int:
    """What became of everything, from the ledgers and the sandbox."""
    records = {member.name: read(facility.ledger(member.name)) for member in facility.members}
    again = trace.resumed(records["shared"])
    console.print(f"\n[bold]Taken up again by the instance[/] ({len(again)} jobs), from its ledger:")
    for one in again[:SHOWN_RESUMED]:
        rest = f"went on with {one.went_on_with}" if one.went_on_with else "had only to answer"
        console.print(
            f"  {one.subject:18} attempt {one.attempt}: {one.steps_done} steps were done, {rest}", soft_wrap=True
        )
    if again:
        show_timeline(records, story, max(again, key=lambda one: one.went_on_with != "").subject, console)
    return totals(facility, story, len(again), console, unanswered(records["bridge"], story))


def unanswered(records: list[Recorded], story: Story) -> int:
    """Jobs that the bridge accepted, whose 200 was cut off on its way to the client, and that have not ended once."""
    accepted = {r.event.id for r in records if isinstance(r.event, Sent) and r.event.client is not None}
    ends = Counter(r.event.id for r in records if isinstance(r.event, Ended))
    return sum(ends[id] != 1 for id in accepted - story.asked.keys())


def read(folder: Path) -> list[Recorded]:
    with open_reader(Settings(path=folder), EVENTS) as reader:
        return list(reader.records())


def show_timeline(records: dict[str, list[Recorded]], story: Story, user: str, console: Console) -> None:
    """Every step of one user's job over all agents."""
    job = next(id for id, instruction in story.asked.items() if instruction.endswith(f" {user}"))
    console.print(f"\n[bold]What became of {user}[/], agent by agent:")
    for line in trace.timeline(records, job):
        board = line.peer.partition("@")[0]
        at = time.strftime("%H:%M:%S", time.localtime(line.at)) + f".{int(line.at % 1 * 1000):03}"
        console.print(f"  {at} {line.agent:9} {board:9} {line.event:9} {line.words}", soft_wrap=True)


def totals(facility: Facility, story: Story, again: int, console: Console, unheard: int = 0) -> int:
    effects = Counter((e.action, e.target) for e in SandboxStore(facility.sandbox).effects())
    twice = sum(count > 1 for count in effects.values())
    lost = max(story.wanted, len(story.asked)) - story.done + unheard
    table = Table("asked", "done", "resumed", "lost", "effects", "done twice", title="The account")
    table.add_row(str(len(story.asked)), str(story.done), str(again), str(lost), str(sum(effects.values())), str(twice))
    console.print("")
    console.print(table)
    for words in story.ended.values():
        if words["state"] != COMPLETE:
            console.print(f"[red]{story.asked[words['ended']]}: {words['result']}[/]")
    return 1 if lost or twice else 0
