"""Power loss under a bridge, in a mount namespace of its own.

    unshare --mount python -m tests.faults.powerloss FOLDER --images N [--unsafe]

A real facility runs with the bridge's ledger on a recorded disk (`recorded_disk.py`). A client notes each 200 and each
outcome that it was told, on the same record. Then the power goes at N moments: each image is mounted, the log is
verified, and what was promised by then is looked up. The last line of the output is JSON: how many images, and on how
many of them something promised is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openportal.cli.facility import CHAIN, Facility, Member
from openportal.errors import LedgerError
from openportal.templemeads.events import EVENTS, Ended, Sent
from openportal.templemeads.ledger import Settings, open_reader
from tests.faults import recorded_disk
from tests.faults.recorded_disk import Crash, crash_at, read_steps
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of, until

DISK_BYTES = 104 * 1024 * 1024  # with less free than 64 MiB a bridge takes no jobs
JOBS = 40
SEED = 20261124
MOUNT_TRIES = 10
MOUNT_PAUSE_SECONDS = 0.2


def command(*words: str | Path) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr}")
    return done.stdout.strip()


def mounted(image: Path, mount: Path) -> None:
    """Mount an image; another program may take the loop device that `mount` has just found free."""
    for _ in range(MOUNT_TRIES - 1):
        try:
            command("mount", "-o", "loop", image, mount)
        except RuntimeError:
            time.sleep(MOUNT_PAUSE_SECONDS)
        else:
            return
    command("mount", "-o", "loop", image, mount)


@dataclass
class UnsafeFacility(Facility):
    """A facility whose bridge does not wait for the disk."""

    def command(self, member: Member) -> list[str]:
        words = super().command(member)
        if member.name != "bridge":
            return words
        return [sys.executable, str(Path(__file__).with_name("unsafe_bridge.py")), *words[1:]]


@dataclass
class RecordedDisk:
    """A recorded disk with a file system on it, mounted at `mount`."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "base.img"

    @property
    def mount(self) -> Path:
        return self.folder / "mount"

    @property
    def mark(self) -> Path:
        return self.folder / "fuse" / "mark"

    @property
    def record(self) -> Path:
        return self.folder / "record"

    @contextmanager
    def mounted(self) -> Iterator[None]:
        for name in ("fuse", "mount"):
            (self.folder / name).mkdir(parents=True)
        with self.base.open("wb") as file:
            file.truncate(DISK_BYTES)
        command("mkfs.ext4", "-q", "-F", "-m", "0", self.base)
        live = shutil.copy(self.base, self.folder / "live.img")
        server = subprocess.Popen([sys.executable, recorded_disk.__file__, live, self.record, self.folder / "fuse"])
        try:
            until(self.mark.exists, "the recorded disk is there")
            loop = command("losetup", "--find", "--show", self.folder / "fuse" / "disk.img")
            try:
                command("mount", loop, self.mount)
                try:
                    yield
                finally:
                    command("umount", self.mount)
            finally:
                command("losetup", "--detach", loop)
        finally:
            server.terminate()
            server.wait(20)


async def promised(facility: Facility, mark: Path) -> None:
    """Users are added, and each thing that the client is told is marked when it is told."""
    load = Load(facility.client_file)
    handle = os.open(mark, os.O_WRONLY)

    async def one(number: int) -> None:
        before = set(load.accepted)
        await load.run(f"add_user u{number}.demo.brics")
        for id in set(load.accepted) - before:
            os.write(handle, f"accepted {id}\n".encode())

    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    for start in range(1, JOBS, 4):
        await asyncio.gather(*(one(number) for number in range(start, start + 4)))
        told = set(load.ended)
        await load.wait_for_all(30)
        for id in set(load.ended) - told:
            os.write(handle, f"ended {id}\n".encode())
    os.close(handle)
    await load.close()
    assert len(load.ended) > JOBS // 2


async def recorded(disk: RecordedDisk, facility: Facility) -> None:
    with disk.mounted():
        facility.lay_out({"bridge": {"ledger": {"path": str(disk.mount / "ledger")}}})
        with facility:
            facility.start()
            facility.wait_ready()
            await promised(facility, disk.mark)


def lost(crash: Crash, folder: Path) -> list[str]:
    """What was promised and is not in the log that a crash leaves."""
    image, mount = folder / "crash.img", folder / "crash"
    mount.mkdir(exist_ok=True)
    image.write_bytes(crash.image)
    mounted(image, mount)
    try:
        known = known_in(mount / "ledger")
    except (LedgerError, sqlite3.Error) as error:
        return [f"{error}: {what}" for what in crash.promised]
    finally:
        command("umount", "-l", mount)
    return [what for what in crash.promised if what not in known]


def known_in(ledger: Path) -> set[str]:
    if not ledger.exists():
        return set()
    with open_reader(Settings(path=ledger), EVENTS) as reader:
        if not reader.verify().ok:
            return set()
        events = [recorded.event for recorded in reader.records()]
    sent = {f"accepted {event.id}" for event in events if isinstance(event, Sent)}
    return sent | {f"ended {event.id}" for event in events if isinstance(event, Ended)}


def losses(disk: RecordedDisk, images: int) -> int:
    """At how many of so many moments something is lost."""
    steps, rng = list(read_steps(disk.record)), random.Random(SEED)
    first = next(index for index, step in enumerate(steps) if step.kind == recorded_disk.MARK)
    base = disk.base.read_bytes()
    moments = [rng.randrange(first + 1, len(steps) + 1) for _ in range(images)]
    found = [bool(lost(crash_at(base, steps, moment, rng), disk.folder)) for moment in moments]
    return sum(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--unsafe", action="store_true")
    options = parser.parse_args()
    disk = RecordedDisk(options.folder / "disk")
    facility = (UnsafeFacility if options.unsafe else Facility)(options.folder / "facility")
    asyncio.run(recorded(disk, facility))
    print(json.dumps({"images": options.images, "lost": losses(disk, options.images)}))


if __name__ == "__main__":
    main()
