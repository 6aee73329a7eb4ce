"""Ten bare hosts become a facility: portal and bridge, a site's services, FreeIPA, and a Slurm that knows its users.

The published client makes a project and a user, the user's job runs on the nodes, and its usage comes back. Then a node
is lost and made anew, and all hosts are rebooted at once, and the same holds again. One facility for all of it.
"""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.facility.controller import Controller, Run
from tests.facility.hosts.bed import Bed
from tests.facility.hosts.ten import CANARIES, HOSTS, ten_hosts
from tests.facility.secrets_seen import ProcessList, open_files, secrets_in, spellings

pytestmark = [pytest.mark.systems, pytest.mark.facility]

CHAIN = "brics.aip1.clusters.shared"
NODES = ("node1", "node2")
ENROLLED = ("instance", "files", "ctl", *NODES)
UNCHANGED = dict.fromkeys(HOSTS, 0)
JOB_SECONDS = 120
READY_SECONDS = "180"
KEYS = ("etc/munge/munge.key", "etc/slurm/jwt.key")
ASK = f"""
import json, sys, openportal
openportal.load_config("/etc/openportal-client/client.toml")
for instruction in json.load(sys.stdin):
    job = openportal.run("{CHAIN} " + instruction, 60000)
    print(json.dumps(job.error_message if job.is_error else str(job.result)))
"""


PING = """
import sys, urllib.request
headers = {"X-SLURM-USER-NAME": "root", "X-SLURM-USER-TOKEN": sys.stdin.readline().strip()}
request = urllib.request.Request("http://127.0.0.1:6820/slurm/v0.0.42/ping", headers=headers)
print(urllib.request.urlopen(request).read().decode())
"""


@dataclass(frozen=True)
class Facility:
    """The hosts after the rollout, what each run of it said, and the command lines that were seen meanwhile."""

    bed: Bed
    controller: Controller
    check: Run
    touched: list[str]
    first: Run
    second: Run
    processes: ProcessList

    def ask(self, *instructions: str) -> list[str]:
        """What the published client is told on the bridge's host."""
        said = self.bed.ssh("bridge", f"/opt/client/bin/python -I -c '{ASK}'", json.dumps(instructions))
        return [json.loads(line) for line in said.splitlines()]

    def keys(self) -> list[str]:
        """Those of munge and of Slurm's tokens."""
        return [(self.bed.disk("ctl") / key).read_text() for key in KEYS]

    def run_job(self, user: str, seconds: int) -> str:
        """Let a user run a job on both nodes, from the login host; returns its id when it has ended well."""
        steps = f"srun sleep {seconds}; srun hostname -s"
        script = f"cd /tmp && sbatch --parsable --exclusive -N2 -o /tmp/out-%j --wrap '{steps}'"
        job = self.bed.ssh("files", f"su {user} -s /bin/bash -c {json.dumps(script)}").strip()
        deadline = time.monotonic() + JOB_SECONDS
        ask = f"sacct -j {job} -X -n -P -o user,account,state,nnodes"
        while not (told := self.bed.ssh("ctl", ask).strip()).endswith("|COMPLETED|2") and time.monotonic() < deadline:
            time.sleep(1)
        assert told == f"{user}|brics.demo|COMPLETED|2"
        return job


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory, mixed_bundle: Path, client_wheel: Path) -> Iterator[Facility]:
    with ten_hosts(tmp_path_factory.mktemp("ten"), mixed_bundle) as (bed, controller):
        with ProcessList() as processes:
            check = controller.play("ansible/site.yml", "--check", "--diff")
            touched = [host for host in HOSTS for path in WRITTEN if (bed.disk(host) / path).exists()]
            first = controller.play("ansible/site.yml", "--diff", "-vvv")
            second = controller.play("ansible/site.yml", "--diff")
        bed.put("bridge", client_wheel, f"/root/{client_wheel.name}")
        bed.ssh("bridge", "python3 -m venv /opt/client && /opt/client/bin/pip install -q --no-index /root/*.whl")
        yield Facility(bed, controller, check, touched, first, second, processes)


WRITTEN = ("opt/openportal", "etc/openportal", "etc/slurm/slurm.conf", "etc/ipa/default.conf", "usr/sbin/ipactl")


def test_a_look_at_bare_hosts_changes_nothing(facility: Facility) -> None:
    assert facility.touched == []
    assert set(facility.check.changed) == set(HOSTS)
    assert all(count > 0 for count in facility.check.changed.values())


def test_the_second_run_has_nothing_to_do(facility: Facility) -> None:
    assert set(facility.first.changed) == set(HOSTS)
    assert facility.second.changed == UNCHANGED


def test_check_sends_a_job_through(facility: Facility) -> None:
    run = facility.controller.play("ansible/check.yml")
    assert re.search(rf"failed: null\s+path: {CHAIN}", run.output)


def test_a_user_that_the_client_makes_runs_a_job_and_its_usage_comes_back(facility: Facility) -> None:
    bed = facility.bed
    made = facility.ask("add_project demo.brics", "add_user alice.demo.brics")
    assert made == ["demo.brics:brics.demo", "alice.demo.brics:alice.demo:brics.demo"], made
    assert {bed.ssh(host, "id alice.demo") for host in ENROLLED} == {bed.ssh("node1", "id alice.demo")}
    assert "brics.demo" in bed.ssh("node1", "id -Gn alice.demo").split()
    assert bed.ssh("files", "stat -c '%U %G' /home/demo/alice.demo").split() == ["alice.demo", "brics.demo"]
    job = facility.run_job("alice.demo", 5)
    output = [
        bed.ssh(host, f"cd /tmp && test ! -e out-{job} || (stat -c %U out-{job}; sort out-{job})") for host in NODES
    ]
    assert "".join(output).split() == ["alice.demo", *NODES]
    begun, elapsed = bed.ssh("ctl", f"sacct -j {job} -X -n -P -o start,elapsedraw").strip().split("|")
    day = begun.partition("T")[0]
    report = facility.ask(f"get_usage_report demo.brics {day}")[0]
    assert f"  alice.demo.brics: {len(NODES) * int(elapsed)} seconds | 1 job " in report


def test_slurms_rest_answers_to_a_token(facility: Facility) -> None:
    token = facility.bed.ssh("ctl", "scontrol token username=root lifespan=60").partition("=")[2]
    pings = json.loads(facility.bed.ssh("ctl", f"python3 -c '{PING}'", token))["pings"]
    assert [(ping["hostname"], ping["responding"]) for ping in pings] == [("ctl", True)]


def test_a_lost_node_gets_the_keys_and_the_users_again(facility: Facility) -> None:
    keys = facility.keys()
    facility.bed.destroy("node2")
    facility.bed.start(["node2"])
    changed = facility.controller.play("ansible/site.yml").changed
    assert changed.pop("node2") > 0
    asked = "instance"  # the first client: the step that asks the server for the node's password is counted there
    assert {host for host, count in changed.items() if count} == {asked}
    assert facility.keys() == keys
    assert (facility.bed.disk("node2") / KEYS[0]).read_text() == keys[0]
    assert not (facility.bed.disk("node2") / KEYS[1]).exists()
    facility.run_job("alice.demo", 1)


def test_all_hosts_reboot_at_once_and_the_facility_comes_back_by_itself(facility: Facility) -> None:
    facility.bed.reboot(HOSTS)
    facility.controller.play("ansible/check.yml", "-e", f"openportal_agent_ready_seconds={READY_SECONDS}")
    deadline = time.monotonic() + int(READY_SECONDS)
    wanted = ["bob.demo.brics:bob.demo:brics.demo"]
    while (made := facility.ask("add_user bob.demo.brics")) != wanted and time.monotonic() < deadline:
        time.sleep(1)  # a FreeIPA that starts takes longer than the agents
    assert made == wanted
    facility.run_job("bob.demo", 1)
    assert facility.controller.play("ansible/site.yml").changed == UNCHANGED


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secrets(facility: Facility) -> set[bytes]:
    """Every key and password of the facility, in every spelling."""
    files = [file for host in HOSTS for file in (facility.bed.disk(host) / "etc/openportal").glob("*.toml")]
    keys = {key for file in files for key in secrets_in(tomllib.loads(file.read_text()))}
    assert len(keys) == 7 * 2 + 1  # two for each pair, and the bridge's
    keys |= set(facility.keys())
    keys |= {(facility.bed.disk("instance") / "etc/openportal/acct.password").read_text()}
    return {spelling for key in (*keys, *CANARIES) for spelling in spellings(key)}


def leaked(secrets: set[bytes], data: bytes) -> bool:
    return any(secret in data for secret in secrets)


def test_no_secret_was_printed(facility: Facility, secrets: set[bytes]) -> None:
    for run in (facility.check, facility.first, facility.second):
        assert not leaked(secrets, run.output.encode())


def test_no_secret_is_in_a_journal_or_a_log(facility: Facility, secrets: set[bytes]) -> None:
    for host in HOSTS:
        assert not leaked(secrets, facility.bed.ssh(host, "journalctl --output=export --all").encode()), host
        logs = [path for path in (facility.bed.disk(host) / "var/log").rglob("*") if path.is_file()]
        assert [path for path in logs if leaked(secrets, path.read_bytes())] == []


def test_no_secret_was_in_a_process_list(facility: Facility, secrets: set[bytes]) -> None:
    seen = b"\n".join(facility.processes.seen)
    assert b"ipa-client-install" in seen or b"ns-slapd" in seen
    assert not leaked(secrets, seen)


def test_no_secret_is_in_a_file_that_anybody_can_read(facility: Facility, secrets: set[bytes]) -> None:
    for host in HOSTS:
        paths = list(open_files(facility.bed.disk(host)))
        assert paths
        assert [path for path in paths if leaked(secrets, path.read_bytes())] == []


def test_no_secret_is_on_the_controller(facility: Facility, secrets: set[bytes]) -> None:
    home = Path(facility.controller.environment["ANSIBLE_HOME"])
    assert [path for path in home.rglob("*") if path.is_file() and leaked(secrets, path.read_bytes())] == []


def test_the_search_for_secrets_finds_them(facility: Facility, secrets: set[bytes]) -> None:
    """A search that finds nothing anywhere would prove nothing."""
    assert leaked(secrets, (facility.bed.disk("bridge") / "etc/openportal-client/client.toml").read_bytes())
    assert leaked(secrets, (facility.bed.disk("node1") / KEYS[0]).read_bytes())
