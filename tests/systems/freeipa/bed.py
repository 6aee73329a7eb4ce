"""The realm IPA.TEST on this machine: two FreeIPA servers that replicate, and a host enrolled to them.

    python -m tests.systems.freeipa.bed          boots it, says how to reach it, and ends when it is asked to

One at a time on a machine: its addresses are in what the installers wrote. Whoever finds it in use waits.
"""

from __future__ import annotations

import signal
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.systems.freeipa.build import ADMIN_PASSWORD, SERVERS, build, cache, locked
from tests.systems.freeipa.machine import ADDRESSES, Host, Network, full_name, hosts_file

UP_SECONDS = 180.0
KNOWN_SECONDS = 60.0
POLL_SECONDS = 0.2


@dataclass
class Bed:
    """The hosts, by name: `srv` and `srv2` are masters, `cli` is where users log in."""

    network: Network
    hosts: dict[str, Host]
    folder: Path

    @property
    def ca_file(self) -> Path:
        return cache() / "pki" / "ca.crt"

    def ipa(self, *arguments: str, server: str = "srv") -> str:
        """Run `ipa` on a server, as admin."""
        return self.hosts[server].run("ipa", "-n", *arguments).stdout

    def set_read_only(self, server: str, is_on: bool) -> None:
        """Let a directory refuse every change, or take them again."""
        change = f"replace: nsslapd-readonly\nnsslapd-readonly: {'on' if is_on else 'off'}"
        modify = ("ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi://%2Frun%2Fslapd-IPA-TEST.socket")
        self.hosts[server].run(*modify, text=f"dn: cn=config\nchangetype: modify\n{change}\n")

    def known(self, user: str, host: str = "cli") -> str:
        """What `id` says of a user on a host that is enrolled, once its sssd is ready to say something."""
        self.forget(host)
        deadline = time.monotonic() + KNOWN_SECONDS
        while (found := self.hosts[host].run("id", user, check=False)).returncode != 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{host} does not know {user} after {KNOWN_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        return found.stdout.strip()

    def may_log_in(self, user: str, host: str = "cli") -> bool:
        """Whether the host's access control lets the user in: root needs no password, the account must be in order."""
        self.known(user, host)
        return self.hosts[host].run("su", user, "-s", "/bin/true", check=False).returncode == 0

    def forget(self, host: str) -> None:
        """Let a host's sssd ask anew; it remembers users for an hour and a half."""
        drop = "rm -f /var/lib/sss/db/cache_* /var/lib/sss/mc/*"
        allow = "systemctl reset-failed sssd"  # or systemd says that it was started too often
        self.hosts[host].run("bash", "-c", f"systemctl stop sssd; {drop}; {allow}; systemctl start sssd")

    def wait_login(self, server: str = "srv", seconds: float = UP_SECONDS) -> None:
        """Wait until an administrator can log in."""
        deadline = time.monotonic() + seconds
        while not self.answers(server):
            if time.monotonic() > deadline:
                raise RuntimeError(f"nobody can log in to {server} after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def answers(self, server: str) -> bool:
        name = full_name(server)
        trust = ssl.create_default_context(cafile=self.ca_file)
        form = {"user": "admin", "password": ADMIN_PASSWORD}
        headers = {"Referer": f"https://{name}/ipa", "Host": name}
        try:
            with httpx.Client(verify=trust, timeout=5.0) as client:
                url = f"https://{ADDRESSES[server]}/ipa/session/login_password"
                answer = client.post(url, data=form, headers=headers, extensions={"sni_hostname": name})
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK


@contextmanager
def running(servers: tuple[str, ...] = SERVERS) -> Iterator[Bed]:
    """Boot it from the snapshots, made if they are missing; halt it at the end."""
    made = build()
    with locked("network"), tempfile.TemporaryDirectory(prefix="ipa-") as text, Network() as network:
        folder = Path(text)
        hosts = {name: Host(name, made / "server", folder / name) for name in servers}
        hosts["cli"] = Host("cli", made / "client", folder / "cli")
        try:
            for host in hosts.values():
                host.unpack(made / "installed" / f"{host.name}.tar.zst")
                host.boot(network)
            for host in hosts.values():
                host.wait_settled()
            bed = Bed(network, hosts, folder)
            for server in servers:
                bed.wait_login(server)
                hosts[server].run("kinit", "admin", text=ADMIN_PASSWORD + "\n")
            yield bed
        finally:
            for host in hosts.values():
                host.halt()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # also where whoever started us ignores the first
        signal.signal(number, signal.default_int_handler)
    with running() as bed:
        print(f"CA {bed.ca_file}, admin / {ADMIN_PASSWORD}; /etc/hosts needs:\n{hosts_file()}")
        for host in bed.hosts.values():
            print(f"{host.name}: nsenter -a -r -w -t {host.init()}")
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("ending")
