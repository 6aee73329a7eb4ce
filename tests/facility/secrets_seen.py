"""Where a secret may have got to: printed, logged, in process lists, or open on a disk or in memory."""

from __future__ import annotations

import base64
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from tests.facility.hosts.bed import Bed

PAUSE_SECONDS = 0.05
KEY_DIGITS = 64


def spellings(secret: str) -> set[bytes]:
    """A secret as text, and if it is hexadecimal, as the bytes it stands for; each plain, in hex and in base64."""
    plain = {secret.encode()}
    if len(secret) == KEY_DIGITS:
        plain.add(bytes.fromhex(secret))
    found = set(plain)
    for each in plain:
        found |= {each.hex().encode(), each.hex().upper().encode()}
        found |= {base64.b64encode(each).rstrip(b"="), base64.urlsafe_b64encode(each).rstrip(b"=")}
    return found


def secrets_in(table: object) -> Iterator[str]:
    """Every key in a file of ours: the value of each `data`."""
    if isinstance(table, Mapping):
        for name, value in table.items():
            if name == "data" and isinstance(value, str):
                yield value
            else:
                yield from secrets_in(value)
    elif isinstance(table, list):
        for value in table:
            yield from secrets_in(value)


def open_files(folder: Path) -> Iterator[Path]:
    """The files below a folder that any user of the machine can read, by their modes and those of the folders above."""
    for path in sorted(folder.iterdir()):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IXOTH:
            yield from open_files(path)
        elif stat.S_ISREG(mode) and mode & stat.S_IROTH:
            yield path


def leaked(secrets: Iterable[bytes], data: bytes) -> bool:
    """Whether one of these spellings is in it."""
    return any(secret in data for secret in secrets)


def passwords(bed: Bed) -> set[str]:
    """What opens the sealed secrets of agents, on any host."""
    return {
        file.read_text() for host in bed.addresses for file in (bed.disk(host) / "etc/openportal").glob("*.password")
    }


# Run on a host as nobody: the files of its whole tree, memory disks included, that hold one of the spellings on stdin.
LOOK_AS_NOBODY = """
import os, stat, sys
secrets = [bytes.fromhex(line) for line in sys.stdin.read().split()]
read = 0
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/usr")]
    for path in (os.path.join(folder, name) for name in files):
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            data = open(path, "rb").read()
        except OSError:
            continue
        read += 1
        if any(secret in data for secret in secrets):
            print(path)
print("read", read)
"""


def seen_by_nobody(bed: Bed, host: str, secrets: set[bytes]) -> tuple[list[str], int]:
    """The files of a host in which a user without any rights finds a secret, and how many that one could read."""
    bed.ssh(host, "cat > /run/look.py", LOOK_AS_NOBODY)
    look = "setpriv --reuid nobody --regid nogroup --clear-groups python3 -I /run/look.py"
    try:
        *paths, last = bed.ssh(host, look, "\n".join(secret.hex() for secret in secrets)).splitlines()
    finally:
        bed.ssh(host, "rm /run/look.py")
    return paths, int(last.split()[1])


class ProcessList:
    """Remembers command line and environment of every process that it sees on this machine, its test hosts included."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> ProcessList:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            for entry in Path("/proc").glob("[0-9]*"):
                for file in ("cmdline", "environ"):
                    try:
                        self.seen.add((entry / file).read_bytes())
                    except OSError:  # it has ended
                        continue
