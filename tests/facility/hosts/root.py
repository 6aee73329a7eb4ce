"""The disk that every test host begins with: a small Debian 12 with systemd and sshd, made once and kept.

It lies below `~/.cache/openportal/roots/`, named after what is in it, and is only ever read: each host writes into an
overlay of its own. Nothing on it is of this project; a host starts as bare as one that a site would hand over.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo", "iproute2", "procps",
    "ca-certificates", "python3", "python3-venv", "python3-apt",
)  # fmt: skip
TOOLS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ssh-keygen": "openssh-client"}
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "getty@.service", "console-getty.service", "systemd-networkd-wait-online.service", "systemd-resolved.service",
)  # fmt: skip
SSHD = "UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
STAMP = ".made"


def cache_folder() -> Path:
    """`~/.cache/openportal/roots`, or below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "openportal" / "roots"


def install_tools() -> None:
    """The commands that make and boot hosts; their packages are installed if one is missing."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600"]
        subprocess.run([*apt, "update", "-q"], check=True)
        subprocess.run([*apt, "install", "-qy", "--no-install-recommends", *missing], check=True)


def debian_root() -> Path:
    """The folder of the disk; made first (a minute or two) if it is not there or was not finished."""
    wanted = hashlib.sha256(repr((SUITE, PACKAGES, MASKED, SSHD)).encode()).hexdigest()[:12]
    return made_once(cache_folder() / f"{SUITE}-{wanted}", _make)


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills, once for all processes of the machine."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / STAMP).exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / STAMP).touch()
    return folder


def _make(root: Path) -> None:
    install_tools()
    include = f"--include={','.join(PACKAGES)}"
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", include, SUITE, str(root)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (root / "etc/ssh/sshd_config.d/tests.conf").write_text(SSHD)
    (root / "etc/machine-id").write_text("")
    for key in (root / "etc/ssh").glob("ssh_host_*"):  # each host has its own
        key.unlink()
    for name in ("etc/resolv.conf", "etc/hostname"):
        (root / name).unlink(missing_ok=True)
    systemctl = ["systemctl", f"--root={root}", "--quiet"]
    subprocess.run([*systemctl, "enable", "systemd-networkd.service"], check=True)
    subprocess.run([*systemctl, "mask", *MASKED], check=True)
