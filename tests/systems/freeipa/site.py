"""A site on the bed: the agent's service account as the documentation makes it, and agents that use it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openportal.agents.account.freeipa.agent import FreeIpaAccounts
from openportal.agents.account.freeipa.directory import Directory
from openportal.agents.account.freeipa.servers import Servers
from openportal.agents.account.freeipa.settings import Settings
from openportal.cli.facility import MEMBERS, Facility, Member
from openportal.paddington.secretstore import seal_secret
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.machine import ADDRESSES, full_name, hosts_file

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "freeipa.md"
AGENT, PASSWORD = "op-agent", "AgentSecret123"
VARIABLE, SEALING = "IPA_TEST_SECRETS", "a long password of the secrets"


def documented(heading: str) -> str:
    """The first block of commands below a heading of the documentation."""
    text = DOCUMENTATION.read_text().partition(f"## {heading}\n")[2]
    found = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert found is not None, heading
    return found[1]


def make_service_account(bed: Bed) -> None:
    """Run what the documentation tells a site to run."""
    script = f"set -e; PASSWORD={PASSWORD}\n{documented('The service account')}"
    bed.hosts["srv"].run("bash", "-s", text=script)


@contextmanager
def found_names() -> Iterator[None]:
    """Let this process find the servers by name, as an entry in /etc/hosts would."""
    usual = socket.getaddrinfo
    addresses = {full_name(host): address for host, address in ADDRESSES.items()}

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return usual(addresses.get(name, name), *rest, **options)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = usual


def extras(bed: Bed, **more: str) -> dict[str, str]:
    """What the agent's file says; underscores in `more` stand for hyphens."""
    usual = {"freeipa-server": full_name("srv"), "freeipa-user": AGENT, "freeipa-ca-file": str(bed.ca_file)}
    return usual | {name.replace("_", "-"): value for name, value in more.items()}


@dataclass
class Leaf:
    """The leaf of an agent, without the agent around it."""

    accounts: FreeIpaAccounts
    directory: Directory
    servers: Servers

    def handlers(self) -> Mapping[Any, Any]:
        return self.accounts.handlers()


def leaf(bed: Bed, password: str = PASSWORD, environ: Mapping[str, str] | None = None, **more: str) -> Leaf:
    settings = Settings.of(extras(bed, **more), password, environ or {})
    servers = Servers(settings)
    directory = Directory(settings, servers)
    return Leaf(FreeIpaAccounts(directory), directory, servers)


class IpaFacility(Facility):
    """A facility whose account agent is `op-freeipa` and finds the servers by its own /etc/hosts.

    `elsewhere` are addresses of servers that are not their own.
    """

    def __init__(self, folder: Path, bed: Bed, **elsewhere: str) -> None:
        members = [m if m.name != "acct" else Member("acct", "op-freeipa", "Account", m.dials) for m in MEMBERS]
        super().__init__(folder, tuple(members), environment={VARIABLE: SEALING})
        self._bed = bed
        self._hosts = folder / "hosts"
        self._hosts.write_text(hosts_file(**elsewhere))

    def command(self, member: Member) -> list[str]:
        usual = super().command(member)
        if member.command != "op-freeipa":
            return usual
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(self._hosts), *usual]

    def lay_out_with(self, **more: str) -> None:
        """Write the files; `more` are further extras of the account agent."""
        sealed = {"freeipa-password": seal_secret(PASSWORD, SEALING), "sandbox": ""}
        table = extras(self._bed, **more) | sealed
        self.lay_out({"acct": {"extras": table, "service": {"encryption": {"Environment": {"key": VARIABLE}}}}})
