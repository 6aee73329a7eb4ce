"""Hosts that stay up between commands: molecule makes them with one and uses them with the next.

    python -m tests.facility.hosts.keep up FOLDER NAME=ROOT …     boots them, and writes FOLDER/instances.json
    python -m tests.facility.hosts.keep down FOLDER

A `Bed` lives as long as its process, so `up` leaves one behind that keeps it; its pid is FOLDER/keeper. Who has a bed
of its own `lends` it: `up` then finds the hosts there and `down` leaves them, so that several scenarios share them.
FOLDER/net leads to the network of the hosts, FOLDER/instances.json says of each what molecule's default driver asks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.facility.hosts.bed import Bed
from tests.facility.hosts.ipa import DOMAIN, WITH_IPA
from tests.facility.hosts.root import DEBIAN, ENROLLABLE, WITH_KEEPING, WITH_SLURM

ROOTS = {
    "debian": DEBIAN, "slurm": WITH_SLURM, "keeping": WITH_KEEPING, "ipa": WITH_IPA, "enrollable": ENROLLABLE,
}  # fmt: skip
SSH_PORT = 22
UP_SECONDS = 600.0  # a disk may have to be made first
DOWN_SECONDS = 60.0
POLL_SECONDS = 0.1


def lend(bed: Bed, folder: Path) -> None:
    """Write into a folder what it takes to reach the hosts of a bed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net").symlink_to(f"/run/netns/{bed.space}")
    instances = [
        {"instance": name, "address": address, "user": "root", "port": SSH_PORT, "identity_file": str(bed.key)}
        for name, address in bed.addresses.items()
    ]
    whole = folder / "instances.json.new"
    whole.write_text(json.dumps(instances))
    whole.rename(folder / "instances.json")


def missing(folder: Path, names: set[str]) -> set[str] | None:
    """Which of these hosts are not there; None if there is no bed at all."""
    file = folder / "instances.json"
    if not file.exists():
        return None
    return names - {instance["instance"] for instance in json.loads(file.read_text())}


def up(folder: Path, words: list[str]) -> str:
    """Have these hosts; says what was done. Raises RuntimeError if other ones are there."""
    roots = dict(word.split("=") for word in words)
    lacking = missing(folder, set(roots))
    if lacking:
        raise RuntimeError(f"The hosts in {folder} are without {', '.join(sorted(lacking))}: destroy them first.")
    if lacking is not None:
        return "there"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (folder / "keeper.log").open("wb") as log:
        command = [sys.executable, "-m", __spec__.name, "keep", str(folder), *words]
        keeper = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    _wait_for(lambda: keeper.poll() is not None or missing(folder, set()) is not None, UP_SECONDS)
    if keeper.poll() is not None:
        raise RuntimeError(f"The hosts did not come up:\n{(folder / 'keeper.log').read_text()}")
    return "made"


def keep(folder: Path, words: list[str]) -> None:
    """Boot the hosts and keep them until SIGTERM."""
    roots = {name: ROOTS[root] for name, root in (word.split("=") for word in words)}
    (folder / "keeper").write_text(str(os.getpid()))
    with Bed(folder / "bed", tuple(roots), roots, DOMAIN) as bed:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        lend(bed, folder)
        signal.sigwait({signal.SIGTERM})
    shutil.rmtree(folder)


def down(folder: Path) -> str:
    """End the hosts that `up` made; says what was done."""
    keeper = folder / "keeper"
    if not keeper.exists():
        return "not ours"
    os.kill(int(keeper.read_text()), signal.SIGTERM)
    _wait_for(lambda: not folder.exists(), DOWN_SECONDS)
    return "ended"


def _wait_for(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing after {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def main() -> None:
    command, folder, *words = sys.argv[1:]
    if command == "keep":
        keep(Path(folder), words)
    else:
        print(up(Path(folder), words) if command == "up" else down(Path(folder)))


if __name__ == "__main__":
    main()
