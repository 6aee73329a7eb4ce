"""A private PostgreSQL cluster for tests: a temporary folder, a unix socket and nothing else."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

PACKAGE = "postgresql-15"
DATABASE = "ledger"
ACCOUNTS = ("postgres", "nobody")


def binaries() -> Path:
    """The newest server's binaries; the package is installed if there is none."""
    if not (found := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", "update", "-q"], check=True)
        subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-qy", PACKAGE], check=True)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent


def account() -> str | None:
    """The server refuses to run as root: another account for it, or None if we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ACCOUNTS if name in names)


@contextmanager
def cluster() -> Iterator[str]:
    """URL of an empty database of a server of our own, durable like a real one."""
    folder = Path(tempfile.mkdtemp(prefix="openportal-pg-"))
    user = account()
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=on"
    run = {"check": True, "user": user, "cwd": folder, "stdout": subprocess.DEVNULL}
    control = binaries() / "pg_ctl"
    subprocess.run([binaries() / "initdb", "-A", "trust", "-U", "ledger", "-D", data], **run)  # type: ignore[call-overload]
    subprocess.run([control, "-D", data, "-l", folder / "log", "-w", "-o", options, "start"], **run)  # type: ignore[call-overload]
    try:
        subprocess.run([binaries() / "createdb", "-h", folder, "-U", "ledger", DATABASE], **run)  # type: ignore[call-overload]
        yield f"postgresql://ledger@{quote(str(folder), safe='')}/{DATABASE}"
    finally:
        subprocess.run([control, "-D", data, "-m", "immediate", "-w", "stop"], **run)  # type: ignore[call-overload]
        shutil.rmtree(folder)
