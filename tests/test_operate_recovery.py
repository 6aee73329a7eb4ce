"""What docs/operate-recovery.md shows is what happens: its commands are run on a facility that fails as it tells.

`python -m tests.test_operate_recovery` writes the output of the commands into the page; the test compares it, numbers
and ids aside.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openportal.cli.facility import CHAIN, Facility
from openportal.cli.openportal import main as operators_command
from tests.processes.load import Load
from tests.processes.waiting import accepted, ended, result_of, until

PAGE = Path(__file__).parent.parent / "docs" / "operate-recovery.md"
PROGRAM = Path(sys.executable).with_name("openportal")
SHOWN_FOLDER = "/srv/openportal"
IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{64}\b|\b[0-9a-f]{8}\b(?= generation)")
UNORDERED = "job list"  # jobs of one second come in any order

pytestmark = pytest.mark.processes


class Night:
    """The facility, and what goes wrong with it before the commands of each section."""

    def __init__(self, folder: Path) -> None:
        self.facility = Facility(folder / "openportal")
        self.job = ""

    def begin(self) -> None:
        self.facility.lay_out()
        self.facility.start()
        self.facility.wait_ready()
        asyncio.run(self.ask("add_project demo.brics", "add_user alice.demo.brics"))
        until(lambda: (self.facility.ledger("acct") / "operator").exists(), "the account agent is up")

    async def ask(self, *instructions: str) -> None:
        load = Load(self.facility.client_file)
        for instruction in instructions:
            result_of(await ended(load, f"{CHAIN} {instruction}"))
        await load.close()

    def slurm_is_down(self) -> None:
        self.facility.kill(["slurm"])
        asyncio.run(self.ask_for_bob())
        until(lambda: "slurm" in self.run("job", "list", str(self.facility.config("shared"))), "bob waits for slurm")
        [self.job] = re.findall(
            r"^(\S+) shared from", self.run("job", "list", str(self.facility.config("shared"))), re.M
        )
        until(lambda: "no link to slurm" in self.run("status", str(self.facility.config("shared"))), "it is told")

    async def ask_for_bob(self) -> None:
        load = Load(self.facility.client_file)
        await accepted(load, f"{CHAIN} add_user bob.demo.brics")
        await load.close()

    def ledger_is_damaged(self) -> None:
        self.facility.stop()
        with sqlite3.connect(self.facility.ledger("acct") / "ledger.sqlite") as database:
            database.execute("UPDATE stored_events SET state = replace(state, '\"l\":1', '\"l\":2') WHERE rowid = 3")
            database.execute("UPDATE stored_events SET state = CAST(state AS BLOB) WHERE rowid = 3")
        database.close()

    def stages(self) -> dict[str, Callable[[], None]]:
        return {
            "Before anything happens": self.begin,
            "An agent is down, or a link": self.slurm_is_down,
            "A ledger is damaged": self.ledger_is_damaged,
        }

    def run(self, *words: str) -> str:
        environment = {**os.environ, "SUDO_USER": "olga", "NO_COLOR": "1"}
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, env=environment, check=False)
        return done.stdout + done.stderr

    def shown(self, command: str) -> str:
        """What a command of the page prints, with the folder as the page calls it."""
        folder = str(self.facility.folder)
        words = shlex.split(command.replace("$JOB", self.job).replace(SHOWN_FOLDER, folder))
        lines = [line.rstrip() for line in self.run(*words[1:]).replace(folder, SHOWN_FOLDER).splitlines()]
        return "\n".join(lines).rstrip()


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Section, command and printed output of every command of the page."""
    section, fenced, command, output = "", False, "", list[str]()
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        if line == "```" or line.startswith("$ "):
            if command:
                yield section, command, "\n".join(output).rstrip()
            fenced = fenced != (line == "```")
            command, output = (line[2:], []) if line.startswith("$ ") else ("", [])
        elif fenced and command:
            output.append(line)


def without_numbers(output: str, command: str) -> list[str]:
    """The lines of an output, without what differs from run to run."""
    text = re.sub(
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{64}\b|\b[0-9a-f]{8}\b(?= generation)", "ID", output
    )
    text = re.sub(r"[+-]?\d+(\.\d+)?", "N", text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return sorted(lines) if UNORDERED in command else lines


def play(night: Night) -> Iterator[tuple[str, str, str]]:
    """Command, what the page shows and what came, in the order of the page."""
    stages, reached = night.stages(), ""
    for section, command, shown in blocks(PAGE.read_text()):
        if section != reached:
            reached = section
            stages.get(section, lambda: None)()
        yield command, shown, night.shown(command)


def test_the_page_shows_what_happens(tmp_path: Path) -> None:
    night = Night(tmp_path)
    with night.facility:
        for command, shown, came in play(night):
            assert without_numbers(came, command) == without_numbers(shown, command), f"{command}\n{came}"


def test_every_command_of_the_page_has_its_output() -> None:
    found = list(blocks(PAGE.read_text()))
    assert len(found) >= 10
    assert {section for section, _, _ in found} >= set(Night(Path()).stages())
    known = set(operators_command.commands)
    assert {shlex.split(command)[1] for _, command, _ in found} <= known


def rewrite() -> None:
    """Put what really happens into the page."""
    with tempfile.TemporaryDirectory() as folder:
        night = Night(Path(folder))
        with night.facility:
            came = iter([output for _, _, output in play(night)])
    lines: list[str] = []
    fenced = inside = False
    for line in PAGE.read_text().splitlines():
        fenced = fenced != (line == "```")
        if line == "```":
            inside = False
        if line.startswith("$ ") and fenced:
            lines += [line, *next(came).splitlines()]
            inside = True
        elif not inside:
            lines.append(line)
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    rewrite()
