"""Every agent has one sealed backup with the operator, one went back to its own and runs, and no host kept a copy."""

import json
import os
from pathlib import Path

from testinfra.host import Host

testinfra_hosts = ["ansible://openportal"]
AGENTS = {"one": ("brics", "bridge", "aip1"), "two": ("clusters", "shared", "acct", "fs", "slurm")}
RESTORED = "slurm"
STATS = "/opt/openportal/current/bin/openportal ledger stats --json /etc/openportal/{}.toml"


def test_every_agent_has_a_backup_that_is_sealed(host: Host) -> None:
    kept = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "kept"
    for agent in AGENTS[host.check_output("hostname")]:
        (file,) = (kept / agent).iterdir()
        assert file.read_bytes().startswith(b"openportal sealed 1\n")


def test_one_went_back_as_a_new_generation_and_runs(host: Host) -> None:
    for agent in AGENTS[host.check_output("hostname")]:
        (ledger,) = json.loads(host.check_output(STATS.format(agent)))
        assert ledger["generation"] == (2 if agent == RESTORED else 1)
        assert host.service(f"openportal-agent@{agent}").is_running


def test_nothing_of_it_stays_on_a_host(host: Host) -> None:
    assert host.check_output("find / -xdev '(' -name 'openportal-backup-*' -o -name '*.backup' ')'") == ""
