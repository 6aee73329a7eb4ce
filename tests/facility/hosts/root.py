"""The disks that test hosts begin with: a small Debian with systemd and sshd, made once and kept.

They lie below `~/.cache/openportal/roots/`, named after what is in them, and are only ever read: each host writes into
an overlay of its own. Nothing on them is of this project; a host starts as bare as one that a site would hand over.
Hosts reach no package archive, so what a role would install of the distribution is there already, and not set up.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BARE = (
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo", "iproute2", "procps",
    "ca-certificates", "python3", "python3-venv", "python3-apt",
)  # fmt: skip
SLURM = (
    "slurmctld", "slurmd", "slurmdbd", "slurm-client", "slurmrestd", "slurm-wlm-mysql-plugin", "slurm-wlm-jwt-plugin",
    "munge", "mariadb-server",
)  # fmt: skip
KEEPING = ("postgresql", "nftables", "prometheus")
IPA_CLIENT = (
    "freeipa-client", "sssd", "libpam-sss", "libnss-sss", "libsss-sudo", "bind9-dnsutils",
)  # fmt: skip
TOOLS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ssh-keygen": "openssh-client"}
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "getty@.service", "console-getty.service", "systemd-networkd-wait-online.service", "systemd-resolved.service",
)  # fmt: skip
SSHD = "UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
STAMP = ".made"
SERVICES = (
    "munge", "slurmctld", "slurmd", "slurmdbd", "slurmrestd", "mariadb", "postgresql", "nftables", "prometheus",
    "prometheus-node-exporter",
    "apache2", "krb5-kdc", "krb5-admin-server", "gssproxy", "certmonger", "oddjobd", "sssd", "nscd", "chrony",
)  # fmt: skip


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


@dataclass(frozen=True)
class Root:
    """A disk: a release of Debian, and what is on it beside what every host has."""

    suite: str
    packages: tuple[str, ...] = ()

    def folder(self) -> Path:
        """Where it is; made first (a minute or two) if it is not there or was not finished."""
        parts = repr((self, BARE, MASKED, SSHD)).encode()
        name = f"{self.suite}-{hashlib.sha256(parts).hexdigest()[:12]}"
        return made_once(cache_folder() / name, self._make)

    def _make(self, root: Path) -> None:
        install_tools()
        include = f"--include={','.join((*BARE, *self.packages))}"
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", include, self.suite, str(root)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        _make_bare(root)


DEBIAN = Root("bookworm")
WITH_SLURM = Root("trixie", SLURM)  # 24.11; that of bookworm answers no REST call that counts
ENROLLABLE = Root("trixie", (*SLURM, *IPA_CLIENT))
WITH_KEEPING = Root("bookworm", KEEPING)  # a database, a packet filter, and what watches


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


def _make_bare(root: Path) -> None:
    """What makes the disk one of a test host, and takes off it what must not be the same on two."""
    (root / "etc/ssh/sshd_config.d/tests.conf").write_text(SSHD)
    (root / "etc/machine-id").write_text("")
    for key in (*(root / "etc/ssh").glob("ssh_host_*"), root / "etc/munge/munge.key"):
        key.unlink(missing_ok=True)
    for name in ("etc/resolv.conf", "etc/hostname"):
        (root / name).unlink(missing_ok=True)
    systemctl = ["systemctl", f"--root={root}", "--quiet"]
    subprocess.run([*systemctl, "enable", "systemd-networkd.service"], check=True)
    subprocess.run([*systemctl, "mask", *MASKED], check=True)
    for unit in SERVICES:
        if (root / f"usr/lib/systemd/system/{unit}.service").exists():
            subprocess.run([*systemctl, "disable", f"{unit}.service"], check=True)
