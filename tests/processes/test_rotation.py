"""kill -9 at every system call that puts new keys on the disk: both agents come back, with the same keys.

Two agents are introduced with their own commands. One of them runs under strace, which ends it at the n-th rename or
fsync it makes; those are the calls of `write_private`, as the ledger uses fdatasync. Then it is started again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from openportal.cli.facility import HOST, free_ports
from openportal.paddington.config import load
from openportal.paddington.ephemeral import KeyPair
from tests.processes.waiting import until

COMMANDS = {"brics": "op-portal", "aip1": "op-provider"}
POINTS = [
    # proposing: the new file is written, takes the old one's place, its folder is forced; then confirming, the same
    *[("brics", call, when) for call, whens in (("fsync", (1, 2, 3, 4)), ("rename", (1, 2))) for when in whens],
    *[("aip1", call, when) for call, whens in (("fsync", (1, 2)), ("rename", (1,))) for when in whens],
]

pytestmark = [pytest.mark.processes, pytest.mark.systems]


def words(name: str, folder: Path, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(COMMANDS[name])), "-c", str(folder / f"{name}.toml"), *arguments]


@pytest.fixture(scope="module")
def introduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of two agents that have not met, made by their own commands."""
    folder = tmp_path_factory.mktemp("introduced")
    ports = dict(zip(COMMANDS, free_ports(len(COMMANDS)), strict=True))
    for name, port in ports.items():
        address = ("--service", name, "--url", f"ws://{HOST}:{port}", "--ip", HOST, "--port", str(port))
        subprocess.run(words(name, folder, "init", *address), check=True)
    subprocess.run(words("brics", folder, "client", "--add", "aip1", "--ip", HOST), check=True, cwd=folder)
    subprocess.run(words("aip1", folder, "server", "--add", "invite_brics_default.toml"), check=True, cwd=folder)
    return folder


class Pair:
    """The processes of two agents whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        environment: Mapping[str, str] = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # which renames files too
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [*before, *words(name, self.folder, "run")]
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        self._running[name] = process
        return process

    def keys(self, name: str) -> KeyPair:
        service = load(self.folder / f"{name}.toml").service
        (peer,) = service.clients or service.servers
        return KeyPair(peer.inner_key, peer.outer_key)

    def confirmed(self) -> bool:
        (client,) = load(self.folder / "brics.toml").service.clients
        return client.spent_keys is not None and not client.next_keys and self.keys("brics") == self.keys("aip1")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture
def pair(introduced: Path, tmp_path: Path) -> Iterator[Pair]:
    folder = tmp_path / "pair"
    shutil.copytree(introduced, folder)
    pair = Pair(folder)
    yield pair
    pair.stop()


@pytest.mark.parametrize(("victim", "call", "when"), POINTS, ids=[f"{n}-{c}-{w}" for n, c, w in POINTS])
def test_both_come_back_whenever_one_is_killed(pair: Pair, victim: str, call: str, when: int) -> None:
    invited = pair.keys("brics")
    (other,) = set(COMMANDS) - {victim}
    pair.start(other)
    inject = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}")
    killed = pair.start(victim, (*inject, "-e", f"inject={call}:signal=KILL:when={when}"))
    until(lambda: killed.poll() is not None, f"{victim} to be killed at {call} {when}")
    assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), pair.log(victim)
    pair.start(victim)
    until(pair.confirmed, "the new keys to be confirmed")
    assert pair.keys("brics") != invited
    until(lambda: "linked (" in pair.log("brics"), "the link to come up")


def test_the_invite_used_again_is_reported(pair: Pair) -> None:
    invited = (pair.folder / "aip1.toml").read_bytes()
    pair.start("brics")
    honest = pair.start("aip1")
    until(pair.confirmed, "the new keys to be confirmed")
    honest.kill()
    honest.wait()
    (pair.folder / "aip1.toml").write_bytes(invited)
    pair.start("aip1")
    until(lambda: "the invite of aip1@default was used before" in pair.log("brics"), "the alarm")
    lines = [line for line in pair.log("brics").splitlines() if "was used before" in line]
    assert "error" in lines[0].lower()
