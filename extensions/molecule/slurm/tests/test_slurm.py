"""The node is idle, its accounts are open, a job runs, and the keys are their owners' alone."""

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://slurm"]
DAEMONS = {"ctl": ("munge", "mariadb", "slurmdbd", "slurmctld", "slurmrestd"), "n1": ("munge", "slurmd")}
KEYS = {
    "ctl": {"/etc/munge/munge.key": "munge", "/etc/slurm/jwt.key": "slurm"},
    "n1": {"/etc/munge/munge.key": "munge"},
}


@pytest.fixture
def name(host: Host) -> str:
    return host.check_output("hostname")


def test_the_daemons_run_and_will_after_a_boot(host: Host, name: str) -> None:
    for daemon in DAEMONS[name]:
        assert (host.service(daemon).is_running, host.service(daemon).is_enabled) == (True, True), daemon


def test_the_keys_are_where_they_must_be_and_nowhere_else(host: Host, name: str) -> None:
    for path in ("/etc/munge/munge.key", "/etc/slurm/jwt.key"):
        file, owner = host.file(path), KEYS[name].get(path)
        assert (file.user, file.mode) == (owner, 0o400) if owner else not file.exists


def test_the_password_less_database_is_not_open_to_others(host: Host, name: str) -> None:
    if name == "ctl":
        assert host.file("/etc/slurm/slurmdbd.conf").mode == 0o600
        assert host.run("setpriv --reuid nobody --regid nogroup --clear-groups mariadb slurm_acct_db -e status").rc != 0


def test_the_node_is_idle_and_runs_a_job(host: Host, name: str) -> None:
    assert host.check_output("sinfo -h -o %n:%t") == "n1:idle"
    if name == "ctl":
        host.run("timeout 20 sacctmgr -i add account test; timeout 20 sacctmgr -i add user root account=test")
        assert host.check_output("timeout 60 srun -A test hostname") == "n1"
