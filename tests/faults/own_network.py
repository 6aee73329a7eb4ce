"""A network namespace for a test and the agents it starts, in which packets can be dropped.

The thread that asks moves into a new namespace: the sockets that it opens and the processes that it starts are there.
Nothing has to be cleaned up: the namespace and its rules end with the last process in it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
TABLE = "inet faults"


@functools.cache
def nft() -> str:
    """The program; it is installed where it is missing."""
    if shutil.which("nft") is None:
        for words in (("update", "-q"), ("install", "-qy", "nftables")):
            subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", *words], check=True)
    found = shutil.which("nft")
    assert found is not None
    return found


@contextmanager
def own_network() -> Iterator[None]:
    """Inside, this thread has a loopback interface of its own and no other."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        checked(libc.unshare(CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            checked(libc.setns(before, CLONE_NEWNET))
    finally:
        os.close(before)


def checked(code: int) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def dropped(port: int, ways: Sequence[str]) -> Iterator[None]:
    """While inside, no packet reaches the listener at a port (`dport`), or comes from it (`sport`)."""
    rules = "".join(f"    tcp {way} {port} counter drop\n" for way in ways)
    table = f"table {TABLE} {{\n  chain arriving {{\n    type filter hook input priority 0\n{rules}  }}\n}}\n"
    subprocess.run([nft(), "-f", "-"], input=table.encode(), check=True)
    try:
        yield
    finally:
        subprocess.run([nft(), f"delete table {TABLE}"], check=True)
