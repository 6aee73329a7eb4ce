"""Three bare hosts become a facility: the published client asks, and the node has the project and the user.

One rollout, looked at from all sides: what it would do, what it did, that it has nothing more to do, that it works, and
that no secret got anywhere else on its way.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from openportal.paddington.secretstore import open_secret
from tests.facility.controller import INVENTORIES, Controller, Run
from tests.facility.hosts.bed import Bed
from tests.facility.secrets_seen import (
    ProcessList,
    leaked,
    open_files,
    passwords,
    secrets_in,
    seen_by_nobody,
    spellings,
)

pytestmark = [pytest.mark.systems, pytest.mark.smoke]

HOSTS = ("portal", "site", "node")
CHAIN = "brics.aip1.clusters.shared"
ROOT_AGENTS = ("acct", "fs")
EXPOSURE_MAX = 2.5
CANARY = "canary-7c1f0c6b2d9e"
FILES_MIN = 500  # that anybody can read, on the barest host
CLIENT = f"""
import openportal
openportal.load_config("/etc/openportal-client/client.toml")
for command in ("add_project demo.brics", "add_user alice.demo.brics"):
    job = openportal.run("{CHAIN} " + command, 20000)
    print(job.state, job.result if job.is_error is False else job.error_message)
"""


@dataclass(frozen=True)
class Rollout:
    """The hosts after it, what each run of it said, and the command lines that were seen meanwhile."""

    bed: Bed
    controller: Controller
    bare_check: Run
    touched: dict[str, bool]
    first: Run
    second: Run
    processes: ProcessList


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Rollout]:
    with Bed(tmp_path_factory.mktemp("bed"), HOSTS) as bed:
        bed.ssh("node", "mkdir /projects")  # a volume is the site's; we only make folders in it
        controller = Controller(bed, INVENTORIES / "three.yml", {"openportal_bundle": str(bundle)})
        with ProcessList() as processes:
            bare = controller.play("ansible/site.yml", "--check", "--diff")
            touched = {host: (bed.disk(host) / "opt/openportal").exists() for host in HOSTS}
            first = controller.play("ansible/site.yml", "--diff", "-vvv")
            second = controller.play("ansible/site.yml", "--diff")
        yield Rollout(bed, controller, bare, touched, first, second, processes)


def test_a_look_at_bare_hosts_tells_what_would_change_and_changes_nothing(rollout: Rollout) -> None:
    assert rollout.touched == dict.fromkeys(HOSTS, False)
    assert all(count > 0 for count in rollout.bare_check.changed.values())
    assert "+LoadCredential=agent.toml:/etc/openportal/%i.toml" in rollout.bare_check.output


def test_the_second_run_has_nothing_to_do(rollout: Rollout) -> None:
    assert set(rollout.first.changed) == set(HOSTS)
    assert rollout.second.changed == dict.fromkeys(HOSTS, 0)


def test_check_sends_a_job_through(rollout: Rollout) -> None:
    run = rollout.controller.play("ansible/check.yml")
    assert re.search(rf"failed: null\s+path: {CHAIN}", run.output)
    assert run.changed == dict.fromkeys(HOSTS, 0)


def test_the_published_client_makes_a_project_and_a_user(rollout: Rollout, client_wheel: Path) -> None:
    bed = rollout.bed
    bed.put("portal", client_wheel, f"/root/{client_wheel.name}")
    bed.ssh("portal", "python3 -m venv /opt/client && /opt/client/bin/pip install -q --no-index /root/*.whl")
    said = bed.ssh("portal", "/opt/client/bin/python -", CLIENT)
    assert said.splitlines() == ["complete demo.brics:brics.demo", "complete alice.demo.brics:alice.demo:brics.demo"]
    assert "brics.demo" in bed.ssh("node", "id -Gn alice.demo").split()
    assert bed.ssh("node", "stat -c '%U %G %a' /home/demo/alice.demo /projects/demo").splitlines() == [
        "alice.demo brics.demo 755",
        "root brics.demo 2770",
    ]


def test_every_unit_is_locked_up(rollout: Rollout) -> None:
    exposures = {}
    for host in HOSTS:
        units = rollout.bed.ssh(host, "systemctl list-units --plain --no-legend 'openportal-agent@*'").split()
        for unit in (word for word in units if word.startswith("openportal-agent@")):
            text = rollout.bed.ssh(host, f"systemd-analyze security --no-pager {unit} | tail -1")
            exposures[unit.partition("@")[2].removesuffix(".service")] = float(text.split(":")[1].split()[0])
    assert len(exposures) == 8
    assert {name: value for name, value in exposures.items() if value > EXPOSURE_MAX} == {}


def test_nobody_but_root_can_change_what_agents_are_started_from(rollout: Rollout) -> None:
    for host in HOSTS:
        found = "find /opt/openportal /etc/systemd/system ! -type l '(' -perm /022 -o ! -user root ')'"
        assert rollout.bed.ssh(host, found) == ""


def test_agents_that_need_no_root_have_a_user_of_their_own(rollout: Rollout) -> None:
    owners = {
        agent: user
        for host in HOSTS
        for agent, user in (
            line.split()
            for line in rollout.bed.ssh(
                host,
                "for u in /etc/systemd/system/openportal-agent@*.d; do a=${u##*@}; a=${a%.service.d};"
                ' echo $a $(ps -o user= -p $(systemctl show -P MainPID "openportal-agent@$a")); done',
            ).splitlines()
        )
    }
    assert owners == {
        agent: "root" if agent in ROOT_AGENTS else f"op-{agent}"
        for agent in ("brics", "bridge", "aip1", "clusters", "shared", "acct", "fs", "slurm")
    }


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secrets(rollout: Rollout) -> set[bytes]:
    """Every key and password on any host, in every spelling."""
    files = [file for host in HOSTS for file in (rollout.bed.disk(host) / "etc/openportal").glob("*.toml")]
    found = {key for file in files for key in secrets_in(tomllib.loads(file.read_text()))}
    assert len(found) == 7 * 2 + 1  # two for each pair, and the bridge's
    opens = passwords(rollout.bed)
    assert len(opens) == 1  # one agent has secrets
    return {spelling for key in (*found, *opens, CANARY) for spelling in spellings(key)}


def test_an_agent_is_handed_what_opens_its_secrets(rollout: Rollout) -> None:
    folder = "/run/credentials/openportal-agent@slurm.service"
    password = rollout.bed.ssh("node", f"cat {folder}/OPENPORTAL_PASSWORD")
    sealed = tomllib.loads(rollout.bed.ssh("node", f"cat {folder}/agent.toml"))["extras"]["token"]
    assert open_secret(sealed, password) == CANARY


def test_both_ends_of_a_pair_have_its_keys(rollout: Rollout) -> None:
    """And nobody else: each key stands in two files."""
    files = [file for host in HOSTS for file in (rollout.bed.disk(host) / "etc/openportal").glob("*.toml")]
    keys = [key for file in files for key in secrets_in(tomllib.loads(file.read_text())["service"])]
    assert sorted({keys.count(key) for key in keys}) == [2]


def test_no_secret_was_printed(rollout: Rollout, secrets: set[bytes]) -> None:
    for run in (rollout.bare_check, rollout.first, rollout.second):
        assert not leaked(secrets, run.output.encode())


def test_no_secret_is_in_a_journal(rollout: Rollout, secrets: set[bytes]) -> None:
    for host in HOSTS:
        journal = rollout.bed.ssh(host, "journalctl --output=export --all")
        assert "openportal-agent@" in journal
        assert not leaked(secrets, journal.encode())


def test_no_secret_was_in_a_process_list(rollout: Rollout, secrets: set[bytes]) -> None:
    seen = b"\n".join(rollout.processes.seen)
    assert b"op-localaccount" in seen
    assert not leaked(secrets, seen)


def test_no_secret_is_in_a_file_that_anybody_can_read(rollout: Rollout, secrets: set[bytes]) -> None:
    for host in HOSTS:
        paths = list(open_files(rollout.bed.disk(host)))
        assert paths
        assert [path for path in paths if leaked(secrets, path.read_bytes())] == []


def test_a_user_of_a_host_finds_no_secret(rollout: Rollout, secrets: set[bytes]) -> None:
    """Neither on its disk nor in what lies in memory, such as /run."""
    bed = rollout.bed
    bed.ssh("node", "umask 022; cat > /run/canary", CANARY)
    assert seen_by_nobody(bed, "node", secrets)[0] == ["/run/canary"]
    bed.ssh("node", "rm /run/canary")
    for host in HOSTS:
        paths, read = seen_by_nobody(bed, host, secrets)
        assert (paths, read > FILES_MIN) == ([], True)


def test_no_secret_is_on_the_controller(rollout: Rollout, secrets: set[bytes]) -> None:
    folder = Path(rollout.controller.environment["ANSIBLE_HOME"])
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if leaked(secrets, path.read_bytes())] == []


def test_the_search_for_secrets_finds_them(rollout: Rollout, secrets: set[bytes]) -> None:
    """A search that finds nothing anywhere would prove nothing."""
    assert leaked(secrets, (rollout.bed.disk("portal") / "etc/openportal-client/client.toml").read_bytes())
    assert leaked(secrets, (rollout.bed.disk("site") / "etc/openportal/aip1.toml").read_bytes())
