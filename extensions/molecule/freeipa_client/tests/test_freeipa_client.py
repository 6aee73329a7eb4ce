"""The host is in the realm, knows its users, will after a boot, and the copy of the authority is gone."""

from testinfra.host import Host

testinfra_hosts = ["ansible://freeipa_clients"]


def test_it_knows_the_users_of_the_realm(host: Host) -> None:
    assert host.user("admin").gid == host.group("admins").gid
    assert host.run("id stranger").rc != 0


def test_it_has_a_key_of_its_own(host: Host) -> None:
    keys = host.file("/etc/krb5.keytab")
    assert (keys.user, keys.mode & 0o077) == ("root", 0)
    assert host.run("KRB5CCNAME=/run/host.cache kinit -k host/login.ipa.test && rm /run/host.cache").rc == 0


def test_sssd_runs_and_will_after_a_boot(host: Host) -> None:
    assert (host.service("sssd").is_running, host.service("sssd").is_enabled) == (True, True)


def test_it_trusts_the_authority_and_the_copy_of_it_is_gone(host: Host) -> None:
    assert host.file("/etc/ipa/ca.crt").exists
    assert not host.file("/root/freeipa-ca.crt").exists
