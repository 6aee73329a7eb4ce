"""Each agent that asks for one has a database of its own, into which it comes without a password, and nobody else."""

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://openportal"]
SERVED = ("op-acct", "op-shared")
DATABASES = "SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database"
WHO = "SELECT current_user"


def asked(host: Host, user: str, role: str, database: str) -> str:
    """What a user of the host is answered who comes as a role; empty if it is not let in."""
    return str(host.run(f"setpriv --reuid {user} psql -At -U {role} -d {database} -c '{WHO}'").stdout.strip())


def test_the_server_runs_and_will_after_a_boot(host: Host) -> None:
    assert (host.service("postgresql").is_running, host.service("postgresql").is_enabled) == (True, True)


def test_the_databases_are_those_of_the_agents_that_ask(host: Host) -> None:
    said = host.check_output(f"runuser -u postgres -- psql -At -d postgres -c \"{DATABASES} WHERE datname ~ '^op-'\"")
    assert sorted(said.split()) == [f"{name}|{name}|UTF8" for name in SERVED]


@pytest.mark.parametrize("name", SERVED)
def test_root_comes_as_any_agent_and_others_do_not(host: Host, name: str) -> None:
    assert asked(host, "root", name, name) == name
    assert asked(host, "nobody", name, name) == ""


def test_an_agent_comes_as_itself_alone(host: Host) -> None:
    host.run_expect([0], "id -u op-shared || useradd --system --no-create-home op-shared")
    assert asked(host, "op-shared", "op-shared", "op-shared") == "op-shared"
    assert asked(host, "op-shared", "op-acct", "op-acct") == ""
