from __future__ import annotations

import ssl

import pytest

from openportal.agents.account.freeipa.settings import Settings
from openportal.errors import ConfigError


def of(**extras: str) -> Settings:
    named = {"freeipa-server": "a.test"} | {name.replace("_", "-"): value for name, value in extras.items()}
    return Settings.of(named, "secret", {})


def test_defaults() -> None:
    found = of()
    assert found.servers == {"a.test": 2}
    assert found.write_server == "a.test"
    assert found.who.user == "admin"
    assert "secret" not in repr(found)
    assert found.window_seconds == 30.0
    assert found.concurrent_writes == 2
    assert found.require_class is False
    assert found.trust.verify_mode is ssl.CERT_REQUIRED
    assert found.policy.managed == "openportal"


def test_everything_set() -> None:
    found = of(
        freeipa_server="https://a.test/ipa, B.test,a.test", freeipa_user="op", freeipa_write_server="b.test",
        freeipa_replication_window="12.5", freeipa_concurrent_writes="4", system_groups="hpc,x",
        instance_groups="shared:mpi", managed_group="other",
    )  # fmt: skip
    assert found.servers == {"a.test": 4, "b.test": 2}
    assert found.write_server == "b.test"
    assert (found.window_seconds, found.concurrent_writes) == (12.5, 4)
    assert found.policy.system == ("hpc", "x")
    assert found.policy.of_peer("shared@default") == ("op_shared_default", "mpi")
    assert found.policy.managed == "openportal"  # its name is the network's


@pytest.mark.parametrize(
    ("extras", "words"),
    [
        ({"freeipa_server": " , "}, "freeipa-server is not set"),
        ({"freeipa_server": "http://a.test"}, "not the name of a FreeIPA master"),
        ({"freeipa_write_server": "c.test"}, "not one of freeipa-server"),
        ({"freeipa_replication_window": "-1"}, "freeipa-replication-window must be a number from 0"),
        ({"freeipa_concurrent_writes": "many"}, "freeipa-concurrent-writes must be a number from 1"),
        ({"freeipa_ca_file": "/nowhere/ca.crt"}, "freeipa-ca-file or SSL_CERT_FILE"),
        ({"system_groups": "-x"}, "not a group name"),
    ],
)
def test_what_is_wrong_is_named(extras: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        of(**extras)


def test_the_password_is_needed() -> None:
    with pytest.raises(ConfigError, match="freeipa-password"):
        Settings.of({"freeipa-server": "a"}, None, {})


def test_the_environment(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"OPENPORTAL_ALLOW_INVALID_SSL_CERTS": "Yes", "OPENPORTAL_REQUIRE_MANAGED_CLASS": "1"}
    found = Settings.of({"freeipa-server": "a"}, "x", environ)
    assert found.require_class is True
    assert found.trust.verify_mode is ssl.CERT_NONE
    assert "NOT verified" in caplog.text
