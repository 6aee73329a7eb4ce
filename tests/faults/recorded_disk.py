"""A disk that remembers in which order it was written and flushed, so that a power loss can be had at any moment.

    python recorded_disk.py IMAGE RECORD MOUNTPOINT

serves a FUSE file system at MOUNTPOINT until it is unmounted. It holds `disk.img`, which is IMAGE and is meant for a
loop device, and `mark`: a line written there is noted among the writes, and says what somebody was promised by then.

A crash image is what a disk with a volatile cache may hold when the power goes: every write before the last flush, and
of those after it some. Which ones, a random number generator decides, sector by sector; but what goes to the first
4096 bytes is written as a whole or not at all, as ext4 takes for granted of its superblock: a torn one is not mounted.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

HEADER = struct.Struct("<cQI")
WRITE, FLUSH, MARK = b"W", b"F", b"M"
SECTOR_BYTES = 512
SUPERBLOCK_BYTES = 4096


class Step(NamedTuple):
    """One thing that happened to the disk: a write at an offset, a flush, or a mark."""

    kind: bytes
    offset: int = 0
    data: bytes = b""


def write_step(record: BinaryIO, step: Step) -> None:
    record.write(HEADER.pack(step.kind, step.offset, len(step.data)) + step.data)


def read_steps(record: Path) -> Iterator[Step]:
    raw, at = record.read_bytes(), 0
    while at + HEADER.size <= len(raw):
        kind, offset, size = HEADER.unpack_from(raw, at)
        at += HEADER.size
        yield Step(kind, offset, raw[at : at + size])
        at += size


class Crash(NamedTuple):
    """A moment at which the power went, and what had been promised by then."""

    image: bytes
    promised: list[str]


def crash_at(base: bytes, steps: Sequence[Step], moment: int, rng: random.Random) -> Crash:
    """What the disk may hold if the power goes after the first `moment` steps."""
    image, marks = bytearray(base), b""
    flushed = max((index for index, step in enumerate(steps[:moment]) if step.kind == FLUSH), default=-1)
    for index, step in enumerate(steps[:moment]):
        if step.kind == MARK:
            marks += step.data
        elif step.kind == WRITE:
            size = SUPERBLOCK_BYTES if step.offset < SUPERBLOCK_BYTES else SECTOR_BYTES
            for start in range(0, len(step.data), size):
                if index < flushed or rng.random() < 0.5:
                    at = step.offset + start
                    piece = step.data[start : start + size]
                    image[at : at + len(piece)] = piece
    promised = marks.decode().splitlines(keepends=True)  # the last line may have been written in two parts
    return Crash(bytes(image), [line.rstrip() for line in promised if line.endswith("\n")])


def serve(image: Path, record: Path, mountpoint: Path) -> None:
    from fuse import FUSE, FuseOSError, Operations  # needs libfuse, which only the serving process has to have

    class Disk(Operations):  # type: ignore[misc]
        def __init__(self) -> None:
            self.image = os.open(image, os.O_RDWR)
            self.size = os.fstat(self.image).st_size
            self.record = record.open("wb", buffering=0)

        def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            sizes = {"/disk.img": self.size, "/mark": 0}
            if path not in sizes:
                raise FuseOSError(errno.ENOENT)
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": sizes[path]}

        def readdir(self, path: str, handle: int) -> list[str]:
            return [".", "..", "disk.img", "mark"]

        def truncate(self, path: str, length: int, handle: int | None = None) -> None:
            pass

        def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
            return os.pread(self.image, size, offset)

        def write(self, path: str, data: bytes, offset: int, handle: int) -> int:
            if path == "/mark":
                write_step(self.record, Step(MARK, 0, data))
            else:
                os.pwrite(self.image, data, offset)
                write_step(self.record, Step(WRITE, offset, data))
            return len(data)

        def fsync(self, path: str, datasync: int, handle: int) -> None:
            if path == "/disk.img":
                write_step(self.record, Step(FLUSH))

    FUSE(Disk(), str(mountpoint), foreground=True, nothreads=True)


if __name__ == "__main__":
    serve(*map(Path, sys.argv[1:4]))
