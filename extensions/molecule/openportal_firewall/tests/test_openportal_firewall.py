"""The agent's port is reached from the host of its declared peer and from nowhere else; other ports are let alone."""

from collections.abc import Iterator

import pytest
import testinfra
from testinfra.host import Host

testinfra_hosts = ["ansible://keeper"]
AGENT, OTHER = 8041, 8765
SERVE = "systemd-run --collect --unit=probe-{0} python3 -m http.server {0}"


@pytest.fixture(scope="module")
def peers(request: pytest.FixtureRequest) -> dict[str, Host]:
    """The hosts that knock, by name."""
    inventory = request.config.getoption("--ansible-inventory")
    return {n: testinfra.get_host(f"ansible://{n}", ansible_inventory=inventory) for n in ("one", "two")}


@pytest.fixture
def address(host: Host) -> Iterator[str]:
    """Where the host is reached; something listens on the agent's port and on another one."""
    for port in (AGENT, OTHER):
        host.run_expect([0], SERVE.format(port))
        host.run_expect([0], f"timeout 30 sh -c 'until ss -Hltn sport = :{port} | grep -q .; do sleep 0.1; done'")
    yield host.check_output("hostname -I").split()[0]
    host.run_expect([0], f"systemctl stop probe-{AGENT} probe-{OTHER}")


def test_the_filter_is_there_and_will_be_after_a_boot(host: Host) -> None:
    filtering = host.service("openportal-firewall")
    assert (filtering.is_running, filtering.is_enabled) == (True, True)
    assert f"tcp dport {AGENT} counter" in host.check_output("nft list table inet openportal")


def test_only_the_declared_peer_comes_through(peers: dict[str, Host], address: str) -> None:
    knock = "timeout 2 bash -c '</dev/tcp/{}/{}'"
    reached = {(name, port) for name in peers for port in (AGENT, OTHER)
               if peers[name].run(knock.format(address, port)).rc == 0}  # fmt: skip
    assert reached == {("one", AGENT), ("one", OTHER), ("two", OTHER)}
