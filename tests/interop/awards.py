"""Awards between two portals, with each of the four agents theirs, and with each of them ours among theirs.

client ── office ── allocator <── brics ── bridge ── portal software
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.mixed import Answer, Client, Mixed, Software, Table
from tests.processes.software import PORTALS

OFFERING = "cluster1.brics.allocator"
THROUGH = "allocator.brics.cluster1"
NOT_OFFERED = "allocator.brics.cluster9"
CLIENT = "0.32.2"
READY_SECONDS = 60.0
OPEN_MS = 3_000
STEP_MS = 10_000
DOWN_SECONDS = 0.5
HELD_SECONDS = 60.0


@dataclass
class AwardTrial:
    """One pair of portals and what is done with it."""

    name: str
    swapped: str
    facility: Mixed
    table: Table
    software: Software = field(default_factory=Software)
    office: Software = field(default_factory=Software)

    def carry_out(self, kills: bool, idle_seconds: float) -> None:
        facility = self.facility
        facility.lay_out({"bridge": {"bridge": self.software.table}, "office": {"bridge": self.office.table}})
        ours, theirs = facility.client_file_of("bridge"), facility.client_file_of("office")
        with facility:
            facility.start()
            facility.wait_ready()
            with (
                Client(CLIENT, ours) as bridge,
                Client(CLIENT, theirs) as office,
                Client(CLIENT, ours) as self.software.client,
                Client(CLIENT, theirs) as self.office.client,
            ):
                self._drive(bridge, office, kills)
            self.software.client = self.office.client = None

    def close(self) -> None:
        self.software.close()
        self.office.close()

    def _note(self, step: str, problem: str, begin: float) -> None:
        self.table.add(self.name, CLIENT, step, problem, time.monotonic() - begin)

    def _expect(self, step: str, answer: Answer, state: str, said: str, begin: float) -> None:
        good = answer["state"] == state and said in str(answer["result"])
        self._note(step, "" if good else f"{answer['state']}: {answer['result']}", begin)

    def _drive(self, bridge: Client, office: Client, kills: bool) -> None:
        begin = time.monotonic()
        self._expect("sync_offerings", self._offer(bridge), "Complete", OFFERING, begin)
        for verb, event in (("create", "added"), ("update", "changed"), ("remove", "removed")):
            begin = time.monotonic()
            award = "" if verb == "remove" else ' {"name": "A"}'
            answer = office.run(f"{verb}_project a.allocator{award}", STEP_MS, THROUGH)
            self._expect(f"{verb}_project", answer, "Complete", "a.allocator:a.brics", begin)
            self._event(f"award_{event} a.allocator")
        begin = time.monotonic()
        answer = office.run('create_project wait.allocator {"name": "W"}', STEP_MS, THROUGH)
        self._expect("an award that has to wait", answer, "Error", "ManagedProjectPendingError", begin)
        self._not_offered(office)
        bridge.ask("notify", command=f"{OFFERING} award_accepted n.allocator")
        self._event("award_accepted n.allocator")
        if kills:
            for at, member in enumerate(PORTALS):
                self._kill(bridge, office, member.name, f"k{at}")

    def _offer(self, bridge: Client) -> Answer:
        """The software registers its offering; a portal that is not there yet makes it try again."""
        deadline = time.monotonic() + READY_SECONDS
        while (answer := bridge.ask("offerings", sync=[OFFERING]))["state"] != "Complete":
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        return answer

    def _event(self, event: str) -> None:
        begin = time.monotonic()
        seen = self.office.has_seen(event)
        self._note(event.partition(" ")[0], "" if seen else f"not told, but of {self.office.events}", begin)

    def _not_offered(self, office: Client) -> None:
        """A portal of theirs keeps a job for what is not offered; ours refuses it."""
        begin = time.monotonic()
        answer = office.run("create_project x.allocator {}", OPEN_MS, NOT_OFFERED)
        if "brics" in self.facility.theirs:
            self._expect("not offered (stays open)", answer, "Open", "", begin)
        else:
            self._expect("not offered", answer, "Error", "cluster9", begin)

    # --- kills --------------------------------------------------------------------------------------------------------

    def _kill(self, bridge: Client, office: Client, victim: str, stem: str) -> None:
        """An award waits for the software while an agent on its way is killed; then it is granted."""
        begin = time.monotonic()
        self.software.answers = False
        held = len(self.software.jobs)
        opened = office.run(f'create_project {stem}.allocator {{"name": "K"}}', 0, THROUGH)
        while len(self.software.jobs) == held and time.monotonic() < begin + STEP_MS / 1000:
            time.sleep(0.05)
        self.facility.kill([victim])
        time.sleep(DOWN_SECONDS)
        self.facility.start([victim])
        self.facility.wait_ready()
        # Answers before the offerings: sync_offerings of 0.32.2 returns only after the jobs that it sets going.
        self.software.answers = True
        bridge.ask("answer_all")
        self._offer(bridge)
        answer = self._granted(bridge, office, opened["id"], victim)
        whose = "theirs" if victim in self.facility.theirs else "ours"
        wrong = "" if answer["state"] == "Complete" else f"{answer['state']}: {answer['result']}"
        self._note(f"kill {victim} ({whose})", wrong, begin)

    def _granted(self, bridge: Client, office: Client, id: str, victim: str) -> Answer:
        """What became of the job once the software has answered; an office of theirs forgets it, so a new one."""
        deadline = time.monotonic() + HELD_SECONDS
        if victim == "office" and victim in self.facility.theirs:
            return self._again(office, deadline)
        while (answer := office.ask("get", id=id, ms=200))["state"] in ("Open", "Raised"):
            if time.monotonic() > deadline:
                break
            bridge.ask("answer_all")
        return answer

    def _again(self, office: Client, deadline: float) -> Answer:
        """A bridge of theirs refuses jobs while its portal is away."""
        command = 'create_project again.allocator {"name": "K"}'
        while (answer := office.run(command, STEP_MS, THROUGH))["state"] == "Raised" and time.monotonic() < deadline:
            time.sleep(0.5)
        return answer


def award_trials(upstream: Path, folder: Path, table: Table) -> Iterator[AwardTrial]:
    names = [member.name for member in PORTALS]
    for swapped in names:
        for kind, theirs in (("one", {swapped}), ("rest", set(names) - {swapped})):
            name = f"award-{kind}-{swapped}"
            facility = Mixed(folder / name, PORTALS, upstream=upstream, theirs=frozenset(theirs), log_level="debug")
            yield AwardTrial(name, swapped, facility, table)
