"""Hosts of a small network on this machine: systemd in containers, each in a network namespace of its own. Root only.

    this process ── ipa0 ──┐ 10.213.0.254
                          br0 (namespace `ipa`)
       ┌───────────────────┼──────────────────┐
    ipa-srv 10.213.0.1   ipa-srv2 .3        ipa-cli .2

A host is a root filesystem that is only read, an overlay folder for what it writes, and the process of its container.
It ends when it is halted, and when this process ends in whatever way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.inotify import allow_instances

HERE = Path(__file__).parent
FABRIC = "ipa"
GATEWAY = "10.213.0.254"
DOMAIN = "ipa.test"
ADDRESSES: dict[str, str] = {"srv": "10.213.0.1", "cli": "10.213.0.2", "srv2": "10.213.0.3"}
BOOT_SECONDS = 120.0
HALT_SECONDS = 60.0
POLL_SECONDS = 0.1
SETTLED = ("running", "degraded")
POWER_OFF = signal.SIGRTMIN + 4
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*command: str | Path, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command; raises with its words when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if check and done.returncode != 0:
        tail = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(map(str, command))} ended with code {done.returncode}:\n{tail}")
    return done  # type: ignore[no-any-return]


def full_name(host: str) -> str:
    return f"{host}.{DOMAIN}"


def hosts_file(**elsewhere: str) -> str:
    """What /etc/hosts says on every host, and to whoever must find them; `elsewhere` are other ways to some."""
    lines = [f"{address} {full_name(host)} {host}" for host, address in (ADDRESSES | elsewhere).items()]
    return "\n".join(["127.0.0.1 localhost", *lines, ""])


class Network:
    """The bridge, and this process's way into it."""

    def __enter__(self) -> Network:
        self.remove()
        allow_instances()
        for command in (
            f"netns add {FABRIC}",
            f"-n {FABRIC} link set lo up",
            f"-n {FABRIC} link add br0 type bridge",
            f"-n {FABRIC} link set br0 up",
            f"link add {FABRIC}0 type veth peer name up0 netns {FABRIC}",
            f"-n {FABRIC} link set up0 master br0 up",
            f"addr add {GATEWAY}/24 dev {FABRIC}0",
            f"link set {FABRIC}0 up",
        ):
            run("ip", *command.split())
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """All of it, also what a session that was killed left behind."""
        for host in ADDRESSES:
            run("ip", "netns", "del", namespace(host), check=False)
        run("ip", "netns", "del", FABRIC, check=False)
        run("ip", "link", "del", f"{FABRIC}0", check=False)

    def attach(self, host: str) -> None:
        """Give a host its namespace and address."""
        own = namespace(host)
        for command in (
            f"netns add {own}",
            f"-n {own} link set lo up",
            f"-n {FABRIC} link add {host} type veth peer name host0 netns {own}",
            f"-n {FABRIC} link set {host} master br0 up",
            f"-n {own} addr add {ADDRESSES[host]}/24 dev host0",
            f"-n {own} link set host0 up",
        ):
            run("ip", *command.split())

    def cut(self, host: str) -> None:
        """Nothing reaches the host any more, and nobody is told."""
        run("ip", "-n", FABRIC, "link", "set", host, "down")

    def mend(self, host: str) -> None:
        run("ip", "-n", FABRIC, "link", "set", host, "up")

    def part(self, one: str, other: str) -> None:
        """These two no longer hear each other; everybody else hears both."""
        for host, far in ((one, other), (other, one)):
            run("ip", "-n", namespace(host), "route", "add", "blackhole", f"{ADDRESSES[far]}/32")

    def unite(self, one: str, other: str) -> None:
        for host, far in ((one, other), (other, one)):
            run("ip", "-n", namespace(host), "route", "del", "blackhole", f"{ADDRESSES[far]}/32", check=False)


def namespace(host: str) -> str:
    return f"{FABRIC}-{host}"


@dataclass
class Host:
    """A host: `root` is only read, `folder` takes what it writes."""

    name: str
    root: Path
    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def upper(self) -> Path:
        """What differs from the root."""
        return self.folder / "upper"

    def unpack(self, snapshot: Path) -> None:
        """Start from what was written when the snapshot was made."""
        self.upper.mkdir(parents=True)
        run("tar", "--xattrs", "--xattrs-include=*", "--acls", "--zstd", "-C", self.upper, "-xf", snapshot)

    def pack(self, snapshot: Path) -> None:
        """Keep what was written; the host must be halted."""
        fresh = snapshot.with_suffix(".new")
        run("tar", "--xattrs", "--xattrs-include=*", "--acls", "--zstd", "-C", self.upper, "-cf", fresh, ".")
        fresh.rename(snapshot)

    def boot(self, network: Network) -> None:
        """Start the container; returns before its services are up."""
        network.attach(self.name)
        for folder in ("upper/etc", "work", "root"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        (self.upper / "etc/hosts").write_text(hosts_file())
        (self.upper / "etc/hostname").write_text(full_name(self.name) + "\n")
        command = [HERE / "boot.sh", self.name, self.root, self.folder, full_name(self.name), namespace(self.name)]
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )

    def wait_settled(self) -> None:
        """Wait until its systemd has started what is to be started."""
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            if self.is_up() and self.run("systemctl", "is-system-running", check=False).stdout.strip() in SETTLED:
                return
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"{self.name} did not start: {(self.folder / 'console.log').read_text()[-2000:]}")

    def is_up(self) -> bool:
        return self.init() is not None

    def init(self) -> int | None:
        """The process id of its systemd, seen from here."""
        assert self._process is not None
        found = next((pid for pid in children(self._process.pid) if command_of(pid) == "systemd"), None)
        if found is None and self._process.poll() is not None:
            raise RuntimeError(
                f"{self.name} ended ({self._process.returncode}): {(self.folder / 'console.log').read_text()[-2000:]}"
            )
        return found

    def run(self, *command: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        inside = ("nsenter", "-t", str(self.init()), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "/usr/bin/env", "-i")
        environment = ("HOME=/root", f"PATH={PATH}", "LC_ALL=C.UTF-8", "TERM=dumb")
        return run(*inside, *environment, *command, check=check, input=text)

    def halt(self) -> None:
        """Power off, and wait until the container is gone."""
        if self._process is None:
            return
        init = next((pid for pid in children(self._process.pid) if command_of(pid) == "systemd"), None)
        if init is not None:
            os.kill(init, POWER_OFF)
        try:
            self._process.wait(HALT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def children(pid: int, task: str = "") -> list[int]:
    """The processes that a process has started, in one of its threads."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{task or pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
