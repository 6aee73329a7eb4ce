"""The server answers, the agent's account comes in and may do what it needs and no more, and no password was left."""

from collections.abc import Iterator

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://freeipa_server"]
AS_AGENT = "KRB5CCNAME=/run/agent.cache"


@pytest.fixture
def agent(host: Host) -> Iterator[Host]:
    """The server's host, with a ticket of the agent's account."""
    host.run_expect([0], f"printf canary-3e7a91-agent | {AS_AGENT} kinit op-agent")
    yield host
    host.run_expect([0], f"{AS_AGENT} kdestroy")


def test_its_services_run(host: Host) -> None:
    states = {line.partition(": ")[2] for line in host.check_output("ipactl status").splitlines()}
    assert states == {"RUNNING"}


def test_the_account_may_make_groups_of_the_agents_and_no_others(agent: Host) -> None:
    assert agent.run(f"{AS_AGENT} ipa user-show op-agent").rc == 0
    refused = agent.run(f"{AS_AGENT} ipa group-add strangers")
    assert "Insufficient access" in refused.stderr
    refused = agent.run(f"{AS_AGENT} ipa user-del admin")
    assert refused.rc != 0


def test_no_certificate_and_no_password_was_left(host: Host) -> None:
    assert host.check_output("ls /root") == ""
    assert host.run("grep -rl canary-3e7a91 /var/log /etc /root /tmp").stdout == ""
