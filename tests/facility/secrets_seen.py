"""Where a secret may have got to: printed, logged, in process lists, or open on a disk or in memory."""

from __future__ import annotations

import base64
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from tests.facility.hosts.bed import Bed

PAUSE_SECONDS = 0.1
KEY_DIGITS = 64
IN_MEMORY = ("/run", "/tmp", "/dev/shm")  # file systems that are gone with the host, so in no copy of its disk


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
    return any(secret in data for secret in secrets)


def passwords(bed: Bed) -> set[str]:
    """What opens the sealed secrets of agents, on any host."""
    return {
        file.read_text() for host in bed.addresses for file in (bed.disk(host) / "etc/openportal").glob("*.password")
    }


def open_in_memory(bed: Bed, host: str) -> bytes:
    """The files in a host's memory that any of its users can read, each after its name."""
    show = 'for f; do echo "== $f"; cat "$f"; done'
    found = f"find {' '.join(IN_MEMORY)} -xdev -type f -perm -004 -exec setpriv --reuid=nobody --regid=nogroup"
    text = bed.ssh(host, f"{found} --clear-groups sh -c '{show}' sh {{}} + 2>/dev/null | base64")
    return base64.b64decode(text)


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
