"""The release is there, whole, and current; a host has nothing else of it, and nobody but root can change it."""

from testinfra.host import Host

testinfra_hosts = ["ansible://openportal"]
RELEASE = "/opt/openportal/releases/0.1.0"


def test_the_declared_release_is_current(host: Host) -> None:
    assert host.file("/opt/openportal/current").linked_to == RELEASE
    assert host.check_output("/opt/openportal/current/bin/openportal --version").split()[-1] == "0.1.0"


def test_what_it_was_installed_from_is_gone(host: Host) -> None:
    assert host.file(f"{RELEASE}/.installed").exists
    assert not host.file("/opt/openportal/sources/0.1.0").exists


def test_only_root_can_change_it(host: Host) -> None:
    assert host.check_output("find /opt/openportal ! -type l '(' -perm /022 -o ! -user root ')'") == ""
