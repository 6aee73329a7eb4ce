"""Who rolls out: the clone and its playbooks, and what a test wants to know of a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.facility.hosts.bed import Bed

ROOT = Path(__file__).parent.parent.parent
INVENTORIES = Path(__file__).parent / "inventories"
RUN_MAX_SECONDS = 1800


@dataclass(frozen=True)
class Run:
    """A playbook that was run: what it printed and what it did, by host."""

    code: int
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Host -> ok, changed, unreachable, failed, …"""
        lines = re.findall(r"^(\S+)\s+: (ok=\d+ .*)$", self.output, re.MULTILINE)
        return {host: {word: int(n) for word, n in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, on the hosts of the bed."""
        return {host: counts["changed"] for host, counts in self.recap.items() if host != "localhost"}


@dataclass(frozen=True)
class Controller:
    """Runs playbooks of the clone on the hosts of a bed, as an operator would.

    `variables`, and the files of variables, overrule the inventory.
    """

    bed: Bed
    inventory: Path
    variables: Mapping[str, str]
    files: tuple[Path, ...] = ()

    def play(self, playbook: str, *options: str) -> Run:
        """Run a playbook to its end; raises AssertionError with its output if it fails."""
        run = self.try_play(playbook, *options)
        assert run.code == 0, run.output
        return run

    def try_play(self, playbook: str, *options: str) -> Run:
        """Run a playbook to its end, whatever that is."""
        variables = [word for name, value in self.variables.items() for word in ("-e", f"{name}={value}")]
        variables += [word for file in self.files for word in ("-e", f"@{file}")]
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", self.inventory, playbook]
        done = subprocess.run(
            [*self.bed.enter, *command, *variables, *options],
            cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=RUN_MAX_SECONDS, check=False,
        )  # fmt: skip
        return Run(done.returncode, done.stdout)

    @property
    def environment(self) -> dict[str, str]:
        """Where the hosts are known from, and a home that holds what Ansible leaves behind.

        Its connections are kept in there too: another bed has hosts with the same addresses.
        """
        home = self.bed.folder / "home"
        home.mkdir(exist_ok=True)
        ssh = f"-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={self.bed.known_hosts}"
        own = {"ANSIBLE_SSH_ARGS": ssh, "ANSIBLE_PRIVATE_KEY_FILE": str(self.bed.key), "ANSIBLE_HOME": str(home)}
        own |= {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(home / "cp"), "TMPDIR": str(home)}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, **own, "PATH": path, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
