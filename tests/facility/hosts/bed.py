"""Several systemd hosts on one machine, on a network of their own.

    with Bed(folder, ("portal", "site", "node")) as bed:
        bed.ssh("node", "id alice.demo")

Each host is a `systemd-nspawn --boot` with systemd as process 1, sshd, a static address and an overlay over the common
disk (see root), so it can be rebooted, and broken, like a machine. All are on one bridge in one network namespace whose
name is made from our pid: there is no way out and nobody else's address is in the way. Whoever talks to the hosts
enters the namespace (`bed.enter`). The hosts are ended by pid, when the block ends or when we die.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.facility.hosts.root import DEBIAN, Root, install_tools
from tests.inotify import allow_instances

NETWORK = "10.87.0"
FIRST_ADDRESS = 11
CGROUPS = Path("/sys/fs/cgroup")
UP_SECONDS = 60.0
DOWN_SECONDS = 20.0
POLL_SECONDS = 0.1
# nspawn wants a pure cgroup v2 tree, a folder of its own in it, and a place for its sockets. It exits with 133 when its
# guest reboots. systemd in the guest reads SIGRTMIN+4 as "power off".
RUN = r"""
set -eu
host=$1 root=$2 group=$3 name=$4; shift 4
umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$group"; echo $$ > "/sys/fs/cgroup/$group/cgroup.procs"
mkdir -p /run/systemd; mount -t tmpfs -o mode=755 tmpfs /run/systemd
mount -t overlay overlay -o "lowerdir=$root,upperdir=$host/upper,workdir=$host/work" "$host/root"
trap 'ending=1; kill -TERM $child' TERM
code=133 ending=
while [ $code = 133 ] && [ -z "$ending" ]; do
  systemd-nspawn --quiet --keep-unit --register=no --console=pipe "--machine=$name" -D "$host/root" --boot \
    --network-bridge=br0 --resolv-conf=off --timezone=off --link-journal=no "$@" & child=$!
  code=0; wait $child || code=$?
done
wait
"""


class Bed:
    """Hosts by name; `roots` are the disks of those that do not begin with the plain one.

    With a domain they know each other by their full names, too.
    """

    def __init__(
        self, folder: Path, hosts: Sequence[str], roots: Mapping[str, Root] | None = None, domain: str = ""
    ) -> None:
        self.folder = folder
        self.space = f"opf{os.getpid()}"
        self.addresses = {name: f"{NETWORK}.{FIRST_ADDRESS + number}" for number, name in enumerate(hosts)}
        self.key = folder / "key"
        self.known_hosts = folder / "known_hosts"
        self._domain = domain
        self._roots = {name: (roots or {}).get(name, DEBIAN) for name in hosts}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    # --- the whole ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Bed:
        install_tools()
        allow_instances()
        self.folder.mkdir(parents=True, exist_ok=True)
        for root in set(self._roots.values()):
            root.folder()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        try:
            self._make_network()
            self.start(self.addresses)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self.stop(list(self._running))
        subprocess.run(["ip", "netns", "delete", self.space], check=False)
        _remove_group(self._group())
        shutil.rmtree(self.folder / "hosts", ignore_errors=True)  # hundreds of megabytes that nobody looks at again

    def _make_network(self) -> None:
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        for words in (
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {NETWORK}.1/24 dev br0",
            "link set br0 up",
        ):
            subprocess.run(["ip", "-n", self.space, *words.split()], check=True)

    # --- one host -----------------------------------------------------------------------------------------------------

    def start(self, names: Iterable[str]) -> None:
        """Boot these hosts and wait until they let us in; a new one is made from the bare disk."""
        names = list(names)
        for name in names:
            self._prepare(name)
            self._running[name] = self._boot(name)
        for name in names:
            self.wait_for(name)

    def stop(self, names: Iterable[str]) -> None:
        """Power these hosts off; their disks stay."""
        found = [(name, self._running.pop(name)) for name in names]
        for _, process in found:
            process.send_signal(signal.SIGTERM)
        for name, process in found:
            try:
                process.wait(DOWN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _remove_group(self._group(name))

    def reboot(self, names: Sequence[str]) -> None:
        """Reboot these hosts, all at once, and wait until they let us in again."""
        before = {name: self._boot_id(name) for name in names}
        for name in names:
            self._ssh(name, "systemctl reboot")
        for name in names:
            deadline = time.monotonic() + UP_SECONDS
            while self._boot_id(name) in ("", before[name]):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{name} did not come back")
                time.sleep(POLL_SECONDS)

    def _boot_id(self, name: str) -> str:
        """Another one after each boot; empty if the host does not answer."""
        return self._ssh(name, "cat /proc/sys/kernel/random/boot_id").stdout

    def destroy(self, name: str) -> None:
        """Lose a host with all that was on its disk; `start` then makes a bare one, with another host key."""
        self.stop([name])
        shutil.rmtree(self.host(name))

    def host(self, name: str) -> Path:
        """Where the disk and the console of a host are."""
        return self.folder / "hosts" / name

    def disk(self, name: str) -> Path:
        """What a host has written to its disk, beyond the bare one."""
        return self.host(name) / "upper"

    def _group(self, name: str = "") -> Path:
        """The control group of a host, or the one above them all."""
        unified = CGROUPS / "unified"
        return (unified if unified.exists() else CGROUPS) / self.space / name

    def _prepare(self, name: str) -> None:
        host, disk = self.host(name), self.disk(name)
        if not disk.exists():
            for folder in (host / "work", host / "root", disk / "etc/ssh", disk / "etc/systemd/network"):
                folder.mkdir(parents=True)
            for folder in (disk, disk / "etc", disk / "etc/ssh"):
                folder.chmod(0o755)
            self._write_disk(name, disk)
        self._write_known_hosts()

    def _write_disk(self, name: str, disk: Path) -> None:
        full = f"{{0}}.{self._domain} {{0}}" if self._domain else "{0}"
        hosts = [f"{address} {full.format(each)}" for each, address in self.addresses.items()]
        network = f"[Match]\nName=host0\n[Network]\nAddress={self.addresses[name]}/24\nLinkLocalAddressing=no\n"
        (disk / "etc/hostname").write_text(f"{name}\n")
        (disk / "etc/hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        (disk / "etc/systemd/network/10-host0.network").write_text(network)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", disk / "etc/ssh/ssh_host_ed25519_key"], check=True
        )
        home = disk / "root" / ".ssh"
        home.mkdir(parents=True, mode=0o700)
        home.parent.chmod(0o700)
        shutil.copyfile(self.key.with_suffix(".pub"), home / "authorized_keys")

    def _write_known_hosts(self) -> None:
        lines = []
        for name, address in self.addresses.items():
            public = self.disk(name) / "etc/ssh/ssh_host_ed25519_key.pub"
            if public.exists():
                lines.append(f"{address},{name} {' '.join(public.read_text().split()[:2])}\n")
        self.known_hosts.write_text("".join(lines))

    def _boot(self, name: str) -> subprocess.Popen[bytes]:
        group = f"{self.space}/{name}"
        inside = ["unshare", "--mount", "--propagation", "private", "bash", "-c", RUN, "bash"]
        words = [self.host(name), self._roots[name].folder(), group, name]
        command = ["setpriv", "--pdeathsig", "TERM", *self.enter, *inside, *words]
        with (self.host(name) / "console.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def wait_for(self, name: str) -> None:
        """Wait until a host lets us in."""
        deadline = time.monotonic() + UP_SECONDS
        while self._ssh(name, "true").returncode != 0:
            if time.monotonic() > deadline or self._running[name].poll() is not None:
                console = (self.host(name) / "console.log").read_text(errors="replace")
                raise RuntimeError(f"{name} does not answer:\n{console[-2000:]}")
            time.sleep(POLL_SECONDS)

    # --- reaching them ------------------------------------------------------------------------------------------------

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a command so that it is on the network of the hosts."""
        return ("nsenter", f"--net=/run/netns/{self.space}")

    @property
    def ssh_options(self) -> tuple[str, ...]:
        known = f"UserKnownHostsFile={self.known_hosts}"
        return ("-i", str(self.key), "-o", known, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes")

    def put(self, name: str, file: Path, where: str) -> None:
        """Copy a file of this machine to a host."""
        command = ["ssh", *self.ssh_options, f"root@{self.addresses[name]}", f"cat > {where}"]
        with file.open("rb") as content:
            subprocess.run([*self.enter, *command], stdin=content, check=True)

    def ssh(self, name: str, command: str, stdin: str = "") -> str:
        """What a shell command prints on a host, as root. Raises RuntimeError with what it complained of."""
        done = self._ssh(name, command, stdin)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {command!r} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def _ssh(self, name: str, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        ssh = ["ssh", "-o", "ConnectTimeout=5", *self.ssh_options, f"root@{self.addresses[name]}", command]
        return subprocess.run([*self.enter, *ssh], input=stdin, capture_output=True, text=True, check=False)


def _remove_group(group: Path) -> None:
    """Remove a control group that nobody is in any more."""
    for folder in sorted(group.rglob("*/"), reverse=True) if group.exists() else ():
        if folder.is_dir():
            folder.rmdir()
    if group.exists():
        group.rmdir()
