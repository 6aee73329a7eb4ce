"""Both ends of each pair have the same keys, no other file has them, no user can open an invite, and they run."""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
import testinfra
from testinfra.host import Host

testinfra_hosts = ["ansible://openportal"]
PAIRS = 7


def keys(table: object) -> Iterator[str]:
    """Every key of a pair in an agent's file."""
    if isinstance(table, Mapping):
        yield from (value for name, value in table.items() if name == "data")
        yield from (key for value in table.values() for key in keys(value))
    elif isinstance(table, list):
        yield from (key for value in table for key in keys(value))


@pytest.fixture(scope="module")
def files(request: pytest.FixtureRequest) -> dict[str, dict[str, object]]:
    """The files of all agents, by name."""
    inventory = request.config.getoption("--ansible-inventory")
    found = {}
    for host in testinfra.get_hosts(testinfra_hosts, ansible_inventory=inventory):
        for path in host.check_output("ls /etc/openportal/*.toml").split():
            found[path] = tomllib.loads(host.file(path).content_string)
    return found


def test_each_key_is_in_two_files(files: dict[str, dict[str, object]]) -> None:
    counted = Counter(key for file in files.values() for key in keys(file["service"]))
    assert len(counted) == 2 * PAIRS  # an inner and an outer one
    assert set(counted.values()) == {2}


def test_what_opens_invites_is_root_s_alone(host: Host) -> None:
    """It is there if the host was ready for an invite and none came: what an invite was opened with is removed."""
    assert host.check_output("find /run/openportal -type f '(' ! -perm 0600 -o ! -user root ')'") == ""


def test_the_agents_run_and_will_after_a_boot(host: Host) -> None:
    units = host.check_output(
        "ls /etc/systemd/system | grep -o '^openportal-agent@[^.]\\+\\.service' | sort -u"
    ).split()
    assert units
    for unit in units:
        service = host.service(unit)
        assert (service.is_running, service.is_enabled) == (True, True), unit
