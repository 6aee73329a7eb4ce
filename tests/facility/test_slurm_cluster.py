"""Three bare hosts become a Slurm cluster: a job runs on both nodes, is in the accounts, and REST takes a token."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.facility.controller import INVENTORIES, Controller, Run
from tests.facility.hosts.bed import Bed
from tests.facility.hosts.root import WITH_SLURM
from tests.facility.secrets_seen import ProcessList, open_files, spellings

pytestmark = [pytest.mark.systems, pytest.mark.facility]

HOSTS = ("ctl", "n1", "n2")
KEYS = ("etc/munge/munge.key", "etc/slurm/jwt.key")
JOB_SECONDS = 60
ASK = """
import sys, urllib.request
headers = {"X-SLURM-USER-NAME": "root", "X-SLURM-USER-TOKEN": sys.stdin.readline().strip()}
request = urllib.request.Request("http://127.0.0.1:6820/slurm/v0.0.42/ping", headers=headers)
print(urllib.request.urlopen(request).read().decode())
"""


@dataclass(frozen=True)
class Cluster:
    """The hosts, and what each run of the rollout said."""

    bed: Bed
    controller: Controller
    runs: tuple[Run, Run, Run]
    processes: ProcessList

    def keys(self) -> list[str]:
        return [(self.bed.disk("ctl") / key).read_text() for key in KEYS]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Bed(tmp_path_factory.mktemp("bed"), HOSTS, dict.fromkeys(HOSTS, WITH_SLURM)) as bed:
        controller = Controller(bed, INVENTORIES / "slurm.yml", {})
        with ProcessList() as processes:
            bare = controller.play("ansible/slurm.yml", "--check", "--diff")
            first = controller.play("ansible/slurm.yml", "--diff", "-vvv")
            second = controller.play("ansible/slurm.yml", "--diff")
        yield Cluster(bed, controller, (bare, first, second), processes)


def test_the_second_run_has_nothing_to_do(cluster: Cluster) -> None:
    assert all(count > 0 for run in cluster.runs[:2] for count in run.changed.values())
    assert cluster.runs[2].changed == dict.fromkeys(HOSTS, 0)


def test_a_job_of_a_user_runs_on_both_nodes_and_is_in_the_accounts(cluster: Cluster) -> None:
    for host in HOSTS:
        cluster.bed.ssh(host, "useradd --create-home --uid 3000 alice")
    for words in ("account proj1 cluster=testcl", "user alice account=proj1"):
        cluster.bed.ssh("ctl", f"timeout 20 sacctmgr -i add {words} </dev/null")
    said = cluster.bed.ssh("ctl", "cd /tmp && su alice -c 'sbatch --parsable -N2 -o /tmp/out --wrap \"srun hostname\"'")
    deadline = time.monotonic() + JOB_SECONDS
    ask = f"sacct -j {said.strip()} -X -n -P -o user,account,state,nnodes"
    while "COMPLETED" not in (told := cluster.bed.ssh("ctl", ask)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert told.strip() == "alice|proj1|COMPLETED|2"
    assert sorted(cluster.bed.ssh("n1", "cat /tmp/out").split()) == ["n1", "n2"]


def test_rest_answers_to_a_token(cluster: Cluster) -> None:
    token = cluster.bed.ssh("ctl", "scontrol token username=root lifespan=60").partition("=")[2]
    pings = json.loads(cluster.bed.ssh("ctl", f"python3 -c '{ASK}'", token))["pings"]
    assert [(ping["hostname"], ping["responding"]) for ping in pings] == [("ctl", True)]


def test_the_keys_are_kept_and_are_nowhere_else(cluster: Cluster) -> None:
    keys = cluster.keys()
    assert len(set(keys)) == 2
    assert (cluster.bed.disk("n2") / KEYS[0]).read_text() == keys[0]
    assert not (cluster.bed.disk("n2") / KEYS[1]).exists()
    secrets = {spelling for key in keys for spelling in spellings(key)}
    seen = [run.output.encode() for run in cluster.runs] + list(cluster.processes.seen)
    seen += [cluster.bed.ssh(host, "journalctl --output=export --all").encode() for host in HOSTS]
    home = Path(cluster.controller.environment["ANSIBLE_HOME"])
    files = [path for host in HOSTS for path in open_files(cluster.bed.disk(host))]
    seen += [path.read_bytes() for path in (*files, *(path for path in home.rglob("*") if path.is_file()))]
    assert [text[:200] for text in seen if any(secret in text for secret in secrets)] == []


def test_a_lost_node_gets_the_keys_again(cluster: Cluster) -> None:
    keys = cluster.keys()
    cluster.bed.destroy("n2")
    cluster.bed.start(["n2"])
    run = cluster.controller.play("ansible/slurm.yml")
    assert run.changed["n2"] > 0
    assert (run.changed["ctl"], run.changed["n1"]) == (0, 0)
    assert cluster.keys() == keys
    assert cluster.bed.ssh("ctl", "sinfo -h -r -t idle -o %D").strip() == "2"
