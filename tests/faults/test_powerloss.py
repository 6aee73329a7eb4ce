"""What a bridge said was accepted, or had ended, is in its log on every disk that a power loss may leave.

`powerloss.py` records and looks; the same facility with synchronous=OFF shows that this bites.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import recorded_disk
from tests.faults.recorded_disk import crash_at

ROOT = Path(__file__).parents[2]
FEW_IMAGES = 40
IMAGES = 200
LONG_IMAGES = 2_000
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/libfuse.so.2")
PACKAGES = ("libfuse2", "e2fsprogs", "util-linux")


@pytest.fixture(scope="module")
def packages() -> None:
    if not LIBRARY.exists() or shutil.which("mkfs.ext4") is None:
        for words in (("update", "-q"), ("install", "-qy", *PACKAGES)):
            subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", *words], check=True)


def losses(folder: Path, images: int, *options: str) -> int:
    """At how many of so many moments something that was promised is lost."""
    words = ["unshare", "--mount", sys.executable, "-m", "tests.faults.powerloss", str(folder), "--images", str(images)]
    done = subprocess.run([*words, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{found['images']} crash images, something promised is lost on {found['lost']}")
    assert found["images"] == images
    return int(found["lost"])


@pytest.mark.processes
@pytest.mark.systems
@pytest.mark.parametrize("images", [pytest.param(FEW_IMAGES, marks=pytest.mark.smoke), IMAGES])
def test_nothing_promised_is_lost(packages: None, tmp_path: Path, images: int) -> None:
    assert losses(tmp_path, images) == 0


@pytest.mark.processes
@pytest.mark.systems
@pytest.mark.long
def test_nothing_promised_is_lost_at_many_more_moments(packages: None, tmp_path: Path) -> None:
    assert losses(tmp_path, LONG_IMAGES) == 0


@pytest.mark.processes
@pytest.mark.systems
@pytest.mark.smoke
def test_this_would_tell_if_commits_were_not_synced(packages: None, tmp_path: Path) -> None:
    assert losses(tmp_path, FEW_IMAGES, "--unsafe") > 0


def test_a_crash_keeps_what_was_flushed() -> None:
    base = bytes(4 * recorded_disk.SECTOR_BYTES)
    one, two = b"1" * recorded_disk.SECTOR_BYTES, b"2" * recorded_disk.SECTOR_BYTES
    steps = [
        recorded_disk.Step(recorded_disk.WRITE, 0, one),
        recorded_disk.Step(recorded_disk.FLUSH),
        recorded_disk.Step(recorded_disk.MARK, 0, b"one\n"),
        recorded_disk.Step(recorded_disk.WRITE, recorded_disk.SECTOR_BYTES, two),
    ]
    crashes = [crash_at(base, steps, 4, random.Random(seed)) for seed in range(20)]
    assert all(crash.image.startswith(one) and crash.promised == ["one"] for crash in crashes)
    assert {crash.image[recorded_disk.SECTOR_BYTES :].startswith(two) for crash in crashes} == {True, False}


def test_a_write_is_torn_unless_it_is_the_superblock_s() -> None:
    base, data = bytes(4 * recorded_disk.SUPERBLOCK_BYTES), b"1" * 2 * recorded_disk.SECTOR_BYTES

    def found(offset: int) -> set[int]:
        steps = [recorded_disk.Step(recorded_disk.WRITE, offset, data)]
        return {crash_at(base, steps, 1, random.Random(seed)).image.count(b"1") for seed in range(20)}

    assert found(1024) == {0, len(data)}
    assert found(2 * recorded_disk.SUPERBLOCK_BYTES) == {0, recorded_disk.SECTOR_BYTES, len(data)}
