"""A machine of its own for each test: the real tools, on a copy of /etc in a private mount namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = ("useradd", "groupadd", "groupdel", "usermod", "gpasswd", "getent")
FILES = ("passwd", "shadow", "group", "gshadow")
HOLD = 'mount --bind "$1" /etc && echo ready && exec cat'


@dataclass(frozen=True)
class Machine:
    """What is in `etc` is its /etc; commands reach it by `prefix`."""

    etc: Path
    prefix: tuple[str, ...]

    def extras(self, **more: str) -> dict[str, str]:
        """Settings of an account agent that works on this machine."""
        return {tool: " ".join((*self.prefix, tool)) for tool in TOOLS} | more

    def run(self, *command: str) -> str:
        """Run a command there."""
        return subprocess.run((*self.prefix, *command), check=True, capture_output=True, text=True).stdout

    def entry(self, file: str, name: str) -> list[str] | None:
        """The fields of an entry of one of its files."""
        lines = (line.split(":") for line in (self.etc / file).read_text().splitlines())
        return next((fields for fields in lines if fields[0] == name), None)

    def groups_of(self, name: str) -> set[str]:
        """The supplementary groups of a user."""
        lines = (line.split(":") for line in (self.etc / "group").read_text().splitlines())
        return {fields[0] for fields in lines if name in fields[3].split(",")}

    def is_shut(self, name: str) -> bool:
        """True when the account is locked and expired."""
        fields = self.entry("shadow", name)
        assert fields is not None
        return fields[1].startswith("!") and fields[7] == "1"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    before = {name: Path("/etc", name).read_bytes() for name in FILES}
    etc = tmp_path / "etc"
    subprocess.run(("cp", "-a", "/etc", str(etc)), check=True)
    hold = ("unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "sh", str(etc))
    pipe = subprocess.PIPE
    with subprocess.Popen(hold, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        assert holder.stdout.readline() == "ready\n", "these tests need root, to have a mount namespace of their own"
        yield Machine(etc, ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"))
        holder.stdin.close()
    assert {name: Path("/etc", name).read_bytes() for name in FILES} == before
