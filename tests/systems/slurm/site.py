"""A facility of real agents on a real Slurm: accounts by the shadow tools inside it, directories in a sandbox."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openportal.cli.facility import MEMBERS, Facility, Member
from openportal.cli.published import client_python
from tests.processes.waiting import until
from tests.systems.slurm.cluster import NAME, NODE_CPUS, NODE_GPUS, NODE_MEMORY_MB, Cluster

DRIVER = Path(__file__).parent.with_name("client_driver.py")
CLIENT = "0.94.0"
CHILD_MAX_SECONDS = 120
PATIENCE_SECONDS = 90.0
SHADOW_TOOLS = ("useradd", "groupadd", "groupdel", "usermod", "gpasswd", "getent")
SLURM_TOOLS = ("sacctmgr", "sacct", "scontrol", "scancel")
NODE_BILLING = 160
DEFAULT_NODE = json.dumps({"cpus": NODE_CPUS, "gpus": NODE_GPUS, "mem": NODE_MEMORY_MB, "billing": NODE_BILLING})


def slurm_extras(cluster: Cluster, **more: str) -> dict[str, str]:
    """The settings of an op-slurm whose tools run inside."""
    tools = {tool: f"{cluster.prefix} {tool}" for tool in SLURM_TOOLS}
    return {"slurm-default-node": DEFAULT_NODE, "sandbox": "", **tools, **more}


def rest_extras(cluster: Cluster, folder: Path) -> dict[str, str]:
    """The settings of an op-slurm by slurmrestd alone; the tokens are signed with the cluster's key."""
    key = folder / "jwt.key"
    key.write_text(cluster.shell("cat /etc/slurm/jwt.key"))
    return {"slurm-server": f"unix:{cluster.rest_socket}", "slurm-user": "root", "token-key": str(key)}


def tables(cluster: Cluster, scheduler: str, **more: str) -> Mapping[str, Mapping[str, Any]]:
    """What makes the leaves of a facility work on the cluster."""
    shadow = {tool: f"{cluster.prefix} {tool}" for tool in SHADOW_TOOLS}
    return {"acct": {"extras": {"sandbox": "", **shadow}}, scheduler: {"extras": slurm_extras(cluster, **more)}}


@contextmanager
def running(
    folder: Path, cluster: Cluster, members: tuple[Member, ...] = MEMBERS, scheduler: str = "slurm", **more: str
) -> Iterator[Facility]:
    """A facility on the cluster; `more` are settings of its `scheduler`."""
    with Facility(folder, members=members) as facility:
        facility.lay_out(tables(cluster, scheduler, **more))
        facility.start()
        facility.wait_ready(PATIENCE_SECONDS)
        yield facility
        facility.check()


def ask(facility: Facility, *instructions: str) -> dict[str, str]:
    """The results of instructions, by the published client. All of them must succeed."""
    outcomes = ask_for_outcomes(facility, *instructions)
    assert [outcome for outcome in outcomes if outcome[1]] == []
    return {instruction: result for instruction, _, result in outcomes}


def ask_for_outcomes(facility: Facility, *instructions: str) -> list[list[str]]:
    """Of each instruction its text, its error or None, and its result, by the published client."""
    with asking(facility, *instructions) as child:
        output, errors = child.communicate(timeout=CHILD_MAX_SECONDS)
    assert child.returncode == 0, errors
    outcomes: list[list[str]] = json.loads(output)
    return outcomes


def asking(facility: Facility, *instructions: str) -> subprocess.Popen[str]:
    """The published client while it asks for instructions, one after the other."""
    command = [client_python(CLIENT), "-I", DRIVER, facility.client_file, *instructions]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=facility.folder, stdout=pipe, stderr=pipe, text=True)


# --- jobs of users ----------------------------------------------------------------------------------------------------


def submit(cluster: Cluster, user: str, *options: str, command: str = "sleep 2") -> str:
    """Submit a job as a user; its number."""
    words = ["sbatch", "--parsable", "--chdir=/tmp", "--output=/dev/null", *options, f"--wrap='{command}'"]
    return cluster.shell(" ".join(words), user).strip()


def state_of(cluster: Cluster, job: str) -> str:
    """The state of a job as the controller has it."""
    return cluster.shell(f"scontrol show job {job} | grep -o 'JobState=[A-Z_]*'").strip().removeprefix("JobState=")


def reason_of(cluster: Cluster, job: str) -> str:
    return cluster.shell(f"squeue --noheader --jobs={job} --format=%r").strip()


def wait_for(cluster: Cluster, job: str, *states: str) -> None:
    try:
        until(lambda: state_of(cluster, job) in states, f"job {job} is {' or '.join(states)}", PATIENCE_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{cluster.shell(f'scontrol show job {job}; sinfo -l')}") from error


def accounted(cluster: Cluster, account: str) -> list[dict[str, str]]:
    """What sacct says about every attempt of the jobs of an account, once it knows the end of all."""
    fields = ("JobID", "User", "Account", "State", "Start", "End", "ElapsedRaw", "AllocTRES")
    command = (
        f"sacct -nPXaD --accounts={account} --starttime=uts{int(time.time()) - 86_400} --format={','.join(fields)}"
    )

    def rows() -> list[dict[str, str]]:
        return [dict(zip(fields, line.split("|"), strict=True)) for line in cluster.shell(command).splitlines()]

    def are_ended() -> bool:
        return bool(rows()) and all(row["End"] != "Unknown" for row in rows())

    until(are_ended, f"sacct shows the end of {account}'s jobs", PATIENCE_SECONDS)
    return rows()


def node_seconds(row: Mapping[str, str]) -> int:
    """What a line of sacct comes to: the largest share of a node times its seconds, rounded up."""
    held = dict(item.split("=") for item in row["AllocTRES"].split(","))
    memory = held.get("mem", "0M")
    megabytes = float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]]
    whole = {"cpu": NODE_CPUS, "gres/gpu": NODE_GPUS, "billing": NODE_BILLING}
    shares = [int(held.get(name, 0)) / amount for name, amount in whole.items()]
    seconds = int(row["ElapsedRaw"]) * max(*shares, megabytes / NODE_MEMORY_MB)
    return int(-(-seconds // 1))


def associations(cluster: Cluster, account: str) -> list[list[str]]:
    """Account, user, parent and limits of an account's associations, straight from slurmdbd."""
    where = f"where account={account} cluster={NAME} format=Account,User,ParentName,GrpTRESMins"
    return [line.split("|") for line in cluster.shell(f"sacctmgr -nP show assoc {where}").splitlines()]
